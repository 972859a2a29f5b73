"""What somebody asks of `train`, over a recipe, over the defaults: a whole configuration, checked.

Torch-free, so that `pellucid train --help` answers at once.
"""

import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pellucid.errors import UserError, nearest
from pellucid.images.augmentation import Augmentation
from pellucid.records import Record, read_text
from pellucid.training.config import Config, FeatureSettings, Input, Learning, Machine, Mode, Option


def configure(
    data: str | Path,
    /,
    *,
    model: str | None = None,
    mode: Mode | None = None,
    train_from: str | None = None,
    probe_at: str | None = None,
    weights: str | None = None,
    layout: str = "auto",
    until: str | None = None,
    recipe: str | None = None,
    train: str | float | None = None,
    validation: str | float | None = None,
    test: str | float | None = None,
    per_class: bool = False,
    source: str = "auto",
    label_from: str | None = None,
    map: str | dict[str, str] | None = None,
    labels: str | Path | None = None,
    group_from: str | None = None,
    path_column: str = "path",
    label_column: str = "label",
    split_column: str = "split",
    group_column: str = "group",
    skip_unreadable: bool = False,
    size: int | None = None,
    budget: str | None = None,
    epochs: int | None = None,
    batch: int | None = None,
    rate: float | None = None,
    optimizer: Literal["sgd", "adamw", "solve"] | None = None,
    views: int | None = None,
    cache_size: str | None = None,
    one_logit: bool | None = None,
    class_weights: bool | None = None,
    balanced_sampling: bool | None = None,
    seed: int = 0,
    device: Literal["auto", "cpu", "cuda", "mps"] | None = None,
    workers: int | None = None,
    runs: str | Path = "runs",
    options: Mapping[str, Option] | None = None,
    input: Input | Mapping[str, Any] | None = None,
    augmentation: Augmentation | Mapping[str, Any] | None = None,
    learning: Learning | Mapping[str, Any] | None = None,
    features: FeatureSettings | Mapping[str, Any] | None = None,
    machine: Machine | Mapping[str, Any] | None = None,
) -> Config:
    """Train a classifier on DATA.

    What is not said comes from the recipe, and what the recipe does not say from the defaults; all of it is written
    into the run's config.toml.

    Parameters
    ----------
    data
        A folder with a folder for each class, a folder of ready splits, a table, or a flat folder of images.
    model
        A network of `pellucid models`, or timm/NAME. Default: resnet18.
    mode
        scratch: random weights, all trained. probe: all but the head frozen. finetune: all trained, or from an end
        point on. Default: finetune with weights, otherwise scratch.
    train_from
        finetune: the first end point that is trained; everything before it is frozen.
    probe_at
        Before training, solve a head at each of these end points, with commas, or at all, and tell its accuracy.
    weights
        imagenet, none, or a file (.safetensors, .pth, .npz, .h5, .keras, .pdparams). Default: imagenet, unless from
        scratch.
    layout
        Whose names the tensors in the weights file have: pellucid, torchvision, timm, tf-slim, keras, paddle, or auto.
    until
        The weights file ends at this end point; what comes after stays random.
    recipe
        A recipe by name, or a TOML file of settings.
    train
        How many images to train on: 500, 0.8, 80%, or rest.
    validation
        How many images to choose the best weights by.
    test
        How many images to keep for the final measurement.
    per_class
        The counts are for each class.
    source
        How DATA is to be read, where looking at it is not enough: class-folders, split-folders, table, file-names.
    label_from
        A pattern on the file name that captures the label: '^(?P<label>[HNP])'.
    map
        What captured labels mean: P=pm,H=nonpm,N=nonpm.
    labels
        A table of labels beside a flat folder.
    group_from
        A pattern on the path that captures the group; a group is never divided.
    path_column
        The table's column of paths.
    label_column
        The table's column of labels.
    split_column
        The table's column of ready-made parts.
    group_column
        The table's column of groups.
    skip_unreadable
        Leave unreadable images out and record them, instead of stopping.
    size
        Pixels a side that the network sees.
    budget
        How long it may take, 5m: what this machine does is measured; mode, resolution, epochs and views chosen to fit.
    epochs
        Passes over the training images.
    batch
        Images a step.
    rate
        The learning rate at its highest.
    optimizer
        sgd (with momentum), adamw, or solve: the best head of a probe is computed, without steps. Default: of the
        recipe; for a probe solve, or adamw where epochs or rate are said.
    views
        Random views of each image whose features are kept, where a part is frozen; 1 is the plain image.
    cache_size
        How much disk kept features and pixels may take, of all runs: 20GB.
    one_logit
        Two classes: one output with binary cross-entropy; the second class is the positive one.
    class_weights
        Weigh each class's loss in inverse proportion to its images.
    balanced_sampling
        Draw every class equally often.
    seed
        Decides the split, the first weights, the order and the augmentation.
    device
        auto, cpu, cuda or mps.
    workers
        Processes that decode images.
    runs
        The folder in which the run's own folder is made.
    options
        The network's own settings: --options.width 0.5, --options.auxiliary true.
    input
        How images reach the network, where it should differ from what the weights want: --input.resize native.
    augmentation
        Random changes to training images: --augmentation.flip 0.
    learning
        Everything about optimiser and schedule: --learning.momentum 0.9.
    features
        What is the same in every epoch is kept, not computed again: --features.cache off, --features.pixels off.
    machine
        Where it runs: --machine.threads 2.
    """
    if budget and epochs:
        raise UserError("--budget chooses the epochs, and --epochs says them", hint="leave one of them out")
    base = _recipe(recipe) if recipe else {}
    model = model or base.get("model", "resnet18")
    chosen_weights = weights or base.get("weights")
    chosen_mode = mode or base.get("mode") or ("scratch" if chosen_weights == "none" else _default_mode(model))
    if chosen_weights is None:
        chosen_weights = "none" if chosen_mode == "scratch" else "imagenet"
    if not recipe:
        base = _recipe(chosen_mode)
    if optimizer is None and (epochs or rate) and base.get("learning", {}).get("optimizer") == "solve":
        optimizer = "adamw"  # whoever says how many epochs or how fast asks for steps
    common = {"epochs": epochs, "batch": batch, "rate": rate, "optimizer": optimizer, "one_logit": one_logit}
    common |= {"class_weights": class_weights, "balanced_sampling": balanced_sampling}
    said = {
        "model": model,
        "mode": chosen_mode,
        "weights": chosen_weights,
        "layout": layout,
        "until": until,
        "train_from": train_from,
        "probe_at": probe_at,
        "options": dict(options or {}),
        "seed": seed,
        "budget": budget,
        "runs": str(runs),
        "data": {
            "folder": str(data),
            "source": {
                "kind": source,
                "path_column": path_column,
                "label_column": label_column,
                "split_column": split_column,
                "group_column": group_column,
                "labels": None if labels is None else str(labels),
                "label_from": label_from,
                "map": parse_map(map),
                "group_from": group_from,
            },
            "train": _amount(train),
            "validation": _amount(validation),
            "test": _amount(test),
            "per_class": per_class,
            "skip_unreadable": skip_unreadable,
        },
        "input": _set(input) | _given({"size": size}),
        "augmentation": _set(augmentation),
        "learning": _set(learning) | _given(common),
        "features": _set(features) | _given({"views": views, "size": cache_size}),
        "machine": _set(machine) | _given({"device": device, "workers": workers}),
    }
    return Config.from_fields(_overlay(base, said), f"recipe {recipe}" if recipe else "this configuration")


def parse_map(text: str | Mapping[str, str] | None) -> dict[str, str]:
    """`P=pm,H=nonpm` to {"P": "pm", "H": "nonpm"}; a mapping stays as it is."""
    if text is None:
        return {}
    if not isinstance(text, str):
        return dict(text)
    pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
    if bad := [label for label, equals, name in pairs if not (equals and label.strip() and name.strip())]:
        raise UserError(f"--map does not say what {bad[0]!r} means", hint="write --map P=pm,H=nonpm,N=nonpm")
    return {label.strip(): name.strip() for label, _, name in pairs}


def recipes() -> list[str]:
    """The names that `--recipe` knows."""
    folder = resources.files("pellucid.training") / "recipes"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def _recipe(name: str) -> dict[str, Any]:
    if name in recipes():
        text = (resources.files("pellucid.training") / "recipes" / f"{name}.toml").read_text(encoding="utf-8")
    elif name.endswith(".toml") or Path(name).is_file():
        text = read_text(Path(name))
    else:
        right = nearest(name, recipes())
        raise UserError(
            f"there is no recipe {name!r}",
            [f"known are {', '.join(recipes())}, or a .toml file"],
            hint=f"did you mean {right}?" if right else "",
        )
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as cause:
        raise UserError(f"{name} is not valid TOML: {cause}") from cause
    values.pop("about", None)
    return values


def _default_mode(model: str) -> Mode:
    return "scratch" if model.startswith("small") else "finetune"


def _amount(value: str | float | None) -> str | None:
    return None if value is None else str(value)


def _set(values: Record | Mapping[str, Any] | None) -> dict[str, Any]:
    """What was said explicitly; a record's defaults are left to the recipe."""
    return values.model_dump(exclude_unset=True) if isinstance(values, Record) else dict(values or {})


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _overlay(base: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    """`said` over `base`, record by record. A None in `said` says nothing where `base` has a word."""
    joined = dict(base)
    for name, value in said.items():
        below = base.get(name)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            joined[name] = _overlay(below, value)
        elif value is not None or name not in base:
            joined[name] = value
    return joined
