"""What somebody asks of `train`, over a recipe, over the defaults: a whole configuration, checked.

Torch-free, so that `pellucid train --help` answers at once.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from pellucid.architectures.catalog import ARCHITECTURES
from pellucid.architectures.options import OF_TIMM, check_names, typed
from pellucid.errors import UserError
from pellucid.images.augmentation import Augmentation
from pellucid.images.labels import parse_map
from pellucid.networks.own import is_own, remember
from pellucid.records import Record, flat, refusal
from pellucid.spelling import as_python
from pellucid.training.config import Config, Data, Elsewhere, FeatureSettings, Input, Learning, Machine, Mode, Option
from pellucid.training.effects import idle
from pellucid.training.recipes import layers, recipes
from pellucid.training.recipes import recipe as built_in


def configure(
    data: str | Path,
    /,
    *,
    model: Any = None,
    mode: Mode | None = None,
    train_from: str | None = None,
    probe_at: str | None = None,
    weights: str | None = None,
    layout: str | None = None,
    until: str | None = None,
    recipe: str | None = None,
    train: str | float | None = None,
    validation: str | float | None = None,
    test: str | float | None = None,
    per_class: bool | None = None,
    keep_split: str | Path | None = None,
    ignore_parts: bool | None = None,
    source: str | None = None,
    label_from: str | None = None,
    map: str | dict[str, str] | None = None,
    labels: str | Path | None = None,
    group_from: str | None = None,
    path_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    group_column: str | None = None,
    leave_out: str | Sequence[str] | None = None,
    skip_unreadable: bool | None = None,
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
    seed: int | None = None,
    device: Literal["auto", "cpu", "cuda", "mps"] | None = None,
    workers: int | None = None,
    runs: str | Path | None = None,
    log_every: int | None = None,
    options: Mapping[str, Option] | None = None,
    validation_from: Elsewhere | Mapping[str, Any] | None = None,
    input: Input | Mapping[str, Any] | None = None,
    augmentation: Augmentation | Mapping[str, Any] | None = None,
    learning: Learning | Mapping[str, Any] | None = None,
    features: FeatureSettings | Mapping[str, Any] | None = None,
    machine: Machine | Mapping[str, Any] | None = None,
) -> Config:
    """Train a classifier on DATA.

    What is not said comes from the recipe; what that does not say, from the mode's own recipe or the one that it names
    (recipe = "resnet-paper"); the rest from the defaults. `none` takes back what a recipe says. All of it is written
    into the run's config.toml.

    Parameters
    ----------
    data
        A folder with a folder for each class, a folder of ready splits, a table, or a flat folder of images.
    model
        A network of `pellucid models`, timm/NAME, or one's own: FILE.py:NAME, package.module:NAME (in Python an
        nn.Module, a class or function that makes one, or a table). Default: resnet18.
    mode
        scratch: random weights, all trained. probe: all but the head frozen. finetune: all trained, or from an end
        point on. Default: finetune with weights, otherwise scratch.
    train_from
        finetune: the first end point that is trained; everything before it is frozen.
    probe_at
        Before training, solve a head at each of these end points, with commas, or at all, and tell its accuracy.
    weights
        imagenet, none, own (as one's own module comes), a run's folder, or a file (.safetensors, .pth, .ckpt, .npz,
        .h5, .keras, .pdparams). Default: imagenet, own for one's own network, none from scratch.
    layout
        Whose names the tensors in the weights file have: pellucid, torchvision, timm, tf-slim, keras, paddle. Default:
        auto.
    until
        The weights file ends at this end point, by our name or the file's; what comes after stays random.
    recipe
        A recipe of `pellucid recipes`, or a TOML file of settings; a run's config.toml is one.
    train
        How many images to train on: 500, 0.8, 80%, or rest. Default: rest, where other parts are said.
    validation
        How many images to choose the best weights by.
    test
        How many images to keep for the final measurement.
    per_class
        The counts are for each class.
    keep_split
        A run folder or a manifest whose split is extended: its images stay in their parts, new ones are divided.
    ignore_parts
        Divide all of data that comes divided anew. Without it, amounts divide its train part alone.
    source
        How DATA is to be read, where looking at it is not enough: class-folders, split-folders, table, file-names.
    label_from
        A pattern on the file name that captures the label: '^(?P<label>[HNP])'.
    map
        What captured labels mean: P=pm,H=nonpm,N=nonpm; in the place of a recipe's map as a whole.
    labels
        A table of labels beside a flat folder.
    group_from
        A pattern on the path that captures the group; a group is never divided.
    path_column
        The table's column of paths. Default: path.
    label_column
        The table's column of labels. Default: label.
    split_column
        The table's column of ready-made parts. Default: split, where the table has it; '' for none.
    group_column
        The table's column of groups. Default: group, where the table has it; '' for none.
    leave_out
        A folder of DATA that is not read: its name, at whatever level, or its path. Say it again for another.
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
        Decides the split, the first weights, the order and the augmentation. Default: 0.
    device
        auto, cpu, cuda or mps.
    workers
        Processes that decode images.
    runs
        The folder in which the run's own folder is made. Default: runs.
    log_every
        Tell the loss of every 20th batch, say; of all, events.jsonl has it. Default: 0, of none.
    options
        The network's own settings: --options.width 0.5, --options.auxiliary. One's own takes those of its own.
    validation_from
        Images elsewhere to choose the best weights by, with labels of their own: --validation-from.data more/.
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
    steps = {"epochs": epochs, "batch": batch, "rate": rate, "optimizer": optimizer, "one_logit": one_logit}
    columns: dict[str, Any] = {"path_column": path_column, "label_column": label_column}
    columns |= {"split_column": split_column, "group_column": group_column, "kind": source}
    columns |= {"leave_out": leave_out if leave_out is None or isinstance(leave_out, str) else list(leave_out)}
    columns |= {"labels": _word(labels), "label_from": label_from, "group_from": group_from}
    counts: dict[str, Any] = {"train": _word(train), "validation": _word(validation), "test": _word(test)}
    counts |= {"per_class": per_class, "skip_unreadable": skip_unreadable, "ignore_parts": ignore_parts}
    keeping = _given({"keep_split": _word(keep_split)})
    model = None if model is None else remember(model)
    words = {"model": model, "mode": mode, "weights": weights, "layout": layout, "seed": seed, "runs": _word(runs)}
    words["log_every"] = log_every
    places = _given({"until": until, "train_from": train_from, "probe_at": probe_at, "budget": budget})
    said = {
        **_given(words),
        **{name: None if word == "none" else word for name, word in places.items()},
        "options": dict(options or {}),
        "data": _given(counts)
        | {name: None if word == "none" else word for name, word in keeping.items()}
        | {"folder": str(data)}
        | {"source": _given(columns | {"map": None if map is None else parse_map(map)})}
        | {"validation_from": _joined("validation_from", validation_from, {})},
        "input": _joined("input", input, {"size": size}),
        "augmentation": _joined("augmentation", augmentation, {}),
        "learning": _joined(
            "learning", learning, steps | {"class_weights": class_weights, "balanced_sampling": balanced_sampling}
        ),
        "features": _joined("features", features, {"views": views, "size": cache_size}),
        "machine": _joined("machine", machine, {"device": device, "workers": workers}),
    }
    return _configured(said, recipe)


IN_A_SHELL = configure.__doc__ or ""  # its help as whoever types flags reads it
configure.__doc__ = as_python(IN_A_SHELL)


def _configured(said: Mapping[str, Any], recipe: str | None) -> Config:
    """Flags over a file, over the recipe that it names (or the mode's own), over the defaults: decided here alone."""
    file, named = layers(recipe)
    if "epochs" in said["learning"] and not said.get("budget"):
        file.pop("budget", None)  # epochs that are said, against time that the file allows
    remarks: list[str] = []
    named = _for_its_model(named, said.get("model", file.get("model")), remarks)
    file = _at_its_size(named or {}, file, remarks)
    by_hand = _overlay(file, _at_its_size(_overlay(named or {}, file), said, remarks))
    once = said if said.get("budget") else by_hand
    if once.get("budget") and "epochs" in once["learning"]:
        hint = "leave one of them out" if once is said or recipe is None else "a flag, --epochs or --budget, decides"
        raise UserError("--budget chooses the epochs, and --epochs says them", hint=hint)
    values = _overlay(named or {}, by_hand)
    model, weights = values.setdefault("model", "resnet18"), values.get("weights")
    mode = values.setdefault("mode", _default_mode(model, weights))
    values.setdefault("weights", "none" if mode == "scratch" else "own" if is_own(model) else "imagenet")
    usual = built_in(mode).settings if named is None and mode in recipes() else named or {}
    values = _overlay(usual, values)
    values["options"] = _options(model, values["options"])
    learning = by_hand["learning"]
    solves = values["learning"].get("optimizer") == "solve" and "optimizer" not in learning
    if solves and (learning.keys() & {"epochs", "rate"}):
        values["learning"]["optimizer"] = "adamw"  # whoever says how many epochs or how fast asks for steps
    try:
        config = Config.model_validate(values)
    except ValidationError as cause:
        ours = recipe is None or all(_says(said, error["loc"]) for error in cause.errors())
        raise refusal(Config, cause, "this configuration" if ours else f"recipe {recipe}") from cause
    flags, others = dict(flat(said)), dict(flat(_overlay(_defaults(), usual)))
    wishes = [name for name, value in flat(file) if _plain(value) != _plain(others.get(name))]
    if problems := list(idle(config, flags=flags, recipe=wishes)):
        raise UserError(
            "what is asked for here would have no effect", problems, hint="leave it out, or change the other"
        )
    return config.noting(sorted({*flags, *dict(flat(_overlay(named or {}, file)))}), remarks)


def _for_its_model(named: dict[str, Any] | None, model: str | None, remarks: list[str]) -> dict[str, Any] | None:
    """The built-in recipe `named`, without those options of its network that another `model`, said over it, has not."""
    if named is None or model is None or not (is_own(model) or model.startswith("timm/")):
        return named
    known = () if is_own(model) else OF_TIMM
    options = named.get("options", {})
    if lost := [name for name in options if name not in known]:
        remarks.append(f"what the recipe says of its own network is left out: {', '.join(lost)}")
    return {**named, "options": {name: value for name, value in options.items() if name in known}}


def _at_its_size(below: Mapping[str, Any], said: Mapping[str, Any], remarks: list[str]) -> dict[str, Any]:
    """What is `said`, and where that is a size alone: the recipe `below` resizes for its own, and is meant to show as
    much of the image at this one.
    """
    theirs, ours = below.get("input", {}), said.get("input", {})
    before, size = theirs.get("size"), ours.get("size")
    if not (isinstance(before, int) and isinstance(size, int)) or size == before:
        return dict(said)
    changes = {name: _scaled(theirs.get(name), size / before) for name in ("resize", "region") if name not in ours}
    changes = {name: value for name, value in changes.items() if value is not None}
    for name, value in changes.items():
        told = "x".join(map(str, value)) if isinstance(value, list) else value
        remarks.append(f"input.{name} is {told} at {size} pixels, so that as much of an image is seen as by the recipe")
    return {**said, "input": {**ours, **changes}}


def _scaled(side: Any, factor: float) -> int | list[int] | None:
    """Pixels a side, or of both sides; None for what is neither."""
    if isinstance(side, list) and all(isinstance(one, int) for one in side):
        return [max(1, round(one * factor)) for one in side]
    return max(1, round(side * factor)) if isinstance(side, int) else None


def _options(model: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The network's own settings, typed and checked where it is known which it has; `none` takes one back.

    What one's own network takes, its code says, which is not run yet.
    """
    if is_own(model):
        return dict(options)
    said = {name: value for name, value in options.items() if value != "none"}
    if model in ARCHITECTURES:
        return typed(model, said)
    if model.startswith("timm/"):
        check_names(model, said, OF_TIMM)
        return typed(model, said)
    return said


def _default_mode(model: str, weights: str | None) -> Mode:
    if weights is None:
        return "scratch" if model.startswith("small") or is_own(model) else "finetune"
    return "scratch" if weights == "none" else "finetune"


def _word(value: str | float | Path | None) -> str | None:
    return None if value is None else str(value)


def _joined(place: str, record: Record | Mapping[str, Any] | None, flags: Mapping[str, Any]) -> dict[str, Any]:
    """What was said explicitly, in a record and by the short flags of its fields; defaults are left to the recipe."""
    said = record.model_dump(exclude_unset=True) if isinstance(record, Record) else dict(record or {})
    short = _given(flags)
    if twice := [name for name in short if name in said and said[name] != short[name]]:
        values = [f"{place}.{name}: {short[name]} and {said[name]}" for name in twice]
        raise UserError("one setting is given two values", values, hint="leave one of them out")
    return said | short


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    """What is None was not said."""
    return {name: value for name, value in values.items() if value is not None}


def _overlay(base: Mapping[str, Any], said: Mapping[str, Any], place: str = "") -> dict[str, Any]:
    """`said` over `base`, table by table; labels are mapped by one of them alone. None is a word too: back to none."""
    joined = {name: dict(value) if isinstance(value, Mapping) else value for name, value in base.items()}
    for name, value in said.items():
        if isinstance(value, Mapping) and f"{place}{name}" != "data.source.map":
            joined[name] = _overlay(joined.get(name, {}), value, f"{place}{name}.")
        else:
            joined[name] = value
    return joined


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _says(said: Any, place: Sequence[int | str]) -> bool:
    """Whether flags gave what is found at that place, or what is above it; a rule about several settings is theirs."""
    for part in place:
        if not isinstance(said, Mapping):
            return True
        if part not in said:
            return False
        said = said[part]
    return True


def _defaults() -> dict[str, Any]:
    return Config(model="small", mode="scratch", weights="none", data=Data(folder=".")).model_dump()
