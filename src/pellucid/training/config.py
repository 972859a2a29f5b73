"""Config: everything that decides a training, every default written out; and `configure`, the flags of `train`.

Torch-free, so that `pellucid train --help` answers at once.
"""

import re
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from pellucid.errors import UserError, nearest
from pellucid.images.augmentation import Augmentation
from pellucid.images.preprocessing import Interpolation, Triple
from pellucid.images.sources import Source
from pellucid.records import Described, Record, read_text

Mode = Literal["scratch", "probe", "finetune"]
Option = bool | float | str
Measure = Literal["accuracy", "balanced_accuracy", "loss"]


class Data(Record):
    """Which images, how they are read, and how they are split."""

    folder: str
    source: Source = Source()
    train: str | None = None  # "500" images, "0.8" or "80%" of them, or "rest"
    validation: str | None = None
    test: str | None = None
    per_class: bool = False  # the counts are for each class
    skip_unreadable: bool = False


class Input(Described):
    """How images reach the network, where it should differ from what the network or its weights want."""

    size: int | None = Field(default=None, ge=8)
    """Pixels a side that the network sees."""
    resize: int | tuple[int, int] | Literal["native"] | None = None
    """The short side before the crop, or height and width; native: no resizing, crops at full resolution."""
    crops: int | None = Field(default=None, ge=1)
    """So many crops a side of each image are looked at, evenly spread, and what the network says is averaged."""
    region: int | None = Field(default=None, ge=8)
    """Pixels a side of the centre over which they are spread. Default: as many crops side by side."""
    interpolation: Interpolation | None = None
    """How pixels are computed where images are resized."""
    background: tuple[int, int, int] | None = None
    """What shows through transparent pixels: red, green and blue, 0 to 255."""
    mean: Triple | None = None
    """Subtracted from each channel, on the scale of 0 to 1."""
    std: Triple | None = None
    """What each channel is divided by after that."""


class Learning(Described):
    """How weights are changed. Epochs and rates as everywhere in the field; `batch` counts images."""

    epochs: int = Field(default=20, ge=1)
    """As --epochs."""
    batch: int = Field(default=32, ge=1)
    """As --batch."""
    optimizer: Literal["sgd", "adamw", "solve"] = "adamw"
    """As --optimizer."""
    rate: float = Field(default=1e-3, gt=0)
    """As --rate."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """sgd: how much of the last step is in the next."""
    nesterov: bool = False
    """sgd: look ahead by the momentum."""
    weight_decay: float = Field(default=0.01, ge=0)
    """How strongly weights are pulled to zero."""
    decay_norms: bool = False
    """Pull biases and norms to zero as well."""
    schedule: Literal["constant", "step", "cosine", "exponential"] = "cosine"
    """How the rate falls."""
    warm_up: float = Field(default=1.0, ge=0)
    """Epochs of linear increase, before any schedule."""
    step_epochs: int = Field(default=7, ge=1)
    """step: every so many epochs."""
    step_factor: float = Field(default=0.1, gt=0)
    """step: the rate is multiplied by this."""
    decay_epochs: int = Field(default=8, ge=1)
    """exponential: every so many epochs."""
    decay_factor: float = Field(default=0.96, gt=0)
    """exponential: the rate is multiplied by this."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """How much of each label is spread over all classes."""
    class_weights: bool = False
    """As --class-weights."""
    balanced_sampling: bool = False
    """As --balanced-sampling."""
    clip: float | None = Field(default=None, gt=0)
    """The largest norm that a gradient may have."""
    accumulate: int = Field(default=1, ge=1)
    """Batches a step."""
    ema: float | None = Field(default=None, gt=0, lt=1)
    """Keep a moving average of the weights, with this decay a step."""
    patience: int | None = Field(default=None, ge=1)
    """Stop after so many epochs without a better value."""
    best_by: Measure = "accuracy"
    """What of the validation part chooses the best weights; ties go to the lower loss."""
    one_logit: bool = False
    """As --one-logit."""
    head: Literal["solved", "random"] = "solved"
    """finetune: the head starts from its optimum on the features as they are, or at random."""
    input_rate: float = Field(default=1.0, gt=0, le=1)
    """The rate at the first end point, as a share of the rate at the head; between them it rises step by step."""
    unfreeze: int = Field(default=0, ge=0)
    """finetune: epochs until all is trained, from the head towards the input."""
    norms: Literal["learned", "kept"] = "learned"
    """finetune: batch norms measure the new images, or keep the statistics that came with the weights."""
    auxiliary_weight: float = Field(default=0.3, ge=0)
    """How much the loss of each auxiliary head counts."""


UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def bytes_of(text: str) -> int:
    """`20GB` as a number of bytes. Raises ValueError for anything else."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?B)?\s*", text.upper())
    if not found:
        raise ValueError("it is no size: write 20GB")
    return int(float(found[1]) * UNITS[found[2] or ""])


def seconds_of(text: str) -> float:
    """`90s`, `5m`, `1h` or a number of seconds. Raises ValueError for anything else."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh]?)\s*", text.lower())
    if not found or float(found[1]) <= 0:
        raise ValueError("it is no time: write 90s, 5m or 1h")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]


class FeatureSettings(Described):
    """What is the same in every epoch is computed once and kept, also for later runs: pixels, frozen features."""

    cache: Literal["auto", "off"] = "auto"
    """off: compute what is frozen anew in each epoch, and let heads start at random."""
    views: int | None = Field(default=None, ge=1)
    """As --views. Default: 1 where the head is solved, otherwise 4."""
    most_views: int | None = Field(default=None, ge=1)
    """Another view of each image is added after each epoch, until there are so many."""
    precision: Literal["float16", "float32"] = "float16"
    """What features are kept in; float16 loses 1 part in 2,000."""
    pixels: Literal["auto", "off"] = "auto"
    """auto: decoded pixels are kept where half of the cache holds them; off: photographs are decoded in each epoch."""
    size: str = "20GB"
    """As --cache-size."""
    folder: str | None = None
    """Where they are kept; default: $PELLUCID_CACHE, or the user's cache folder."""

    @field_validator("size")
    @classmethod
    def _size(cls, text: str) -> str:
        bytes_of(text)
        return text


class Machine(Described):
    """Where it runs. None of this changes what is learned, save by rounding."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """As --device."""
    devices: int = Field(default=1, ge=1)
    """How many GPUs."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """What is computed with; auto: bfloat16 where the device gains by it."""
    workers: int | None = Field(default=None, ge=0)
    """As --workers."""
    threads: int | None = Field(default=None, ge=1)
    """Threads that torch computes with; default: its own choice."""


class Config(Record):
    """What was asked of `train`, whole: the same config, data and machine give the same weights."""

    model: str
    mode: Mode
    weights: str  # "none", "imagenet", or a file
    layout: str = "auto"
    until: str | None = None  # the weights end at this end point
    train_from: str | None = None
    probe_at: str | None = None  # "all", or end points with commas: a head is solved at each
    options: dict[str, Option] = Field(default_factory=dict)  # width, dropout, ...: as the architecture takes them
    seed: int = Field(default=0, ge=0)
    budget: str | None = None  # "5m": mode, resolution, epochs and views are chosen to fit
    runs: str = "runs"  # where run folders are made
    data: Data
    input: Input = Input()
    augmentation: Augmentation = Augmentation()
    learning: Learning = Learning()
    features: FeatureSettings = FeatureSettings()
    machine: Machine = Machine()

    @property
    def solvable(self) -> bool:
        """Whether a head can be solved: on kept features, and nothing but the loss comes from the images."""
        mixed = self.augmentation.mixup or self.augmentation.cutmix
        several = self.machine.devices > 1 or self.options.get("auxiliary")
        return self.features.cache == "auto" and not mixed and not several

    @field_validator("budget")
    @classmethod
    def _budget(cls, text: str | None) -> str | None:
        seconds_of(text or "1s")
        return text

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.train_from and self.mode != "finetune":
            raise ValueError(f"train_from says where fine-tuning starts: it goes with mode finetune, not {self.mode}")
        if self.mode == "scratch" and self.weights != "none":
            raise ValueError("mode scratch starts from random weights: leave weights out, or use probe or finetune")
        if self.learning.optimizer == "solve" and (self.mode != "probe" or self.features.cache == "off"):
            raise ValueError("the optimizer solve is for mode probe with its features kept: choose adamw or sgd")
        if self.learning.optimizer == "solve" and not self.solvable:
            raise ValueError(
                "the optimizer solve works on kept features; mixup, cutmix, several devices and auxiliary heads need "
                "the images: choose adamw"
            )
        slowly = self.learning.unfreeze or self.learning.norms == "kept"
        if slowly and self.mode != "finetune":
            raise ValueError("learning.unfreeze and learning.norms are for mode finetune: there is nothing to be kept")
        if self.until and self.weights in ("none", "imagenet"):
            raise ValueError("until says where a weights file ends: it goes with a file as weights")
        return self


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
