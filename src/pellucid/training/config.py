"""Config: everything that decides a training, every default written out; see `configure` for the flags of `train`.

Torch-free, so that `pellucid train --help` answers at once.
"""

import re
from collections.abc import Iterable
from math import inf, isfinite
from typing import Any, Literal, Self

from pydantic import Field, PrivateAttr, field_validator, model_validator

from pellucid.images.augmentation import Augmentation
from pellucid.images.labels import parse_map
from pellucid.images.preprocessing import Channels, Interpolation, Triple
from pellucid.images.sources import Source
from pellucid.records import Described

Mode = Literal["scratch", "probe", "finetune"]
Option = bool | float | str
Measure = Literal["accuracy", "balanced_accuracy", "loss"]


class Elsewhere(Described):
    """Images to choose the best weights by that do not lie in the data, and how those are read."""

    data: str | None = None
    """A folder or a table: all of its images, and no others, are the validation part."""
    labels: str | None = None
    """A table of their labels, beside a flat folder."""
    label_from: str | None = None
    """A pattern on their file names that captures the label."""
    map: str | None = None
    """What their labels mean, as classes of the data: 1=pm,0=nonpm."""
    path_column: str | None = None
    """Their table's column of paths. Default: path."""
    label_column: str | None = None
    """Their table's column of labels. Default: label."""
    group_column: str | None = None
    """Their table's column of groups. Default: group, where the table has it; '' for none."""
    group_from: str | None = None
    """A pattern on their paths that captures the group."""
    leave_out: tuple[str, ...] | None = None
    """A folder of them that is not read: its name, or its path below theirs. Say it again for another."""

    @property
    def source(self) -> Source:
        """How they are read. Raises UserError for a map that says nothing."""
        said = self.model_dump(exclude={"data", "map"}, exclude_none=True)
        return Source(**said, map=parse_map(self.map, "--validation-from.map"))


class Data(Described):
    """Which images, how they are read, and how they are split."""

    folder: str
    source: Source = Source()
    train: str | None = None
    """How many images the train part gets: 500, 0.8 or 80% of all, or rest. Default: rest, if another is given."""
    validation: str | None = None
    """Images of the validation part, to choose the best weights by."""
    test: str | None = None
    """Images of the test part, set apart for the final measurement."""
    per_class: bool = False
    """The counts are for each class."""
    keep_split: str | None = None
    """A manifest or a run folder whose split is extended: its images stay in their parts, new ones are divided."""
    ignore_parts: bool = False
    """Divide all of data that comes divided anew. Without it, amounts divide its train part alone."""
    skip_unreadable: bool = False
    """Leave unreadable images out and record them, instead of stopping."""
    validation_from: Elsewhere = Elsewhere()
    """Images elsewhere to choose the best weights by, with labels of their own: --validation-from.data more/."""


AMOUNTS = ("train", "validation", "test", "per_class", "keep_split", "ignore_parts")  # how data is divided


class Input(Described):
    """How images reach the network, where it should differ from what the network or its weights want."""

    size: int | None = Field(default=None, ge=8)
    """Pixels per side that the network sees."""
    resize: tuple[int, int] | int | Literal["native"] | None = None
    """The short side before the crop, or height and width (240x320); native: no resizing, crops at full resolution."""
    crops: int | None = Field(default=None, ge=1)
    """How many crops per side of each image are evaluated, evenly spread; the answers are averaged."""
    region: int | None = Field(default=None, ge=8)
    """Pixels per side of the centre over which they are spread. Default: as many crops side by side."""
    interpolation: Interpolation | None = None
    """How pixels are computed where images are resized."""
    background: tuple[int, int, int] | None = None
    """What shows through transparent pixels: red, green and blue, 0 to 255."""
    mean: Triple | None = None
    """Subtracted from red, green and blue, on the scale of 0 to 1."""
    std: Triple | None = None
    """What red, green and blue are divided by after that."""
    channels: Channels | None = None
    """The order in which the network sees them: RGB or BGR."""

    @field_validator("resize", mode="before")
    @classmethod
    def _pair(cls, given: Any) -> Any:
        """A flag is one word: 240x320."""
        found = re.fullmatch(r"\s*(\d+)\s*[x×]\s*(\d+)\s*", given) if isinstance(given, str) else None
        return (int(found[1]), int(found[2])) if found else given


class Learning(Described):
    """How weights are changed. Epochs and rates as everywhere in the field; `batch` counts images."""

    epochs: int = Field(default=20, ge=1)
    """Passes over the training images."""
    batch: int = Field(default=32, ge=1)
    """Images per step."""
    optimizer: Literal["sgd", "adamw", "solve"] = "adamw"
    """sgd (with momentum), adamw, or solve: the best head of a probe is computed, without steps. Default: of the
    recipe; for a probe solve, or adamw where epochs or rate are said.
    """
    rate: float = Field(default=1e-3, gt=0)
    """The learning rate at its highest."""
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
    """Weigh each class's loss in inverse proportion to its images."""
    balanced_sampling: bool = False
    """Draw every class equally often."""
    clip: float | None = Field(default=None, gt=0)
    """Clip gradients to this norm."""
    accumulate: int = Field(default=1, ge=1)
    """Batches per step."""
    ema: float | None = Field(default=None, gt=0, lt=1)
    """Keep a moving average of the weights, with this decay per step; in the first steps with less of it."""
    patience: int | None = Field(default=None, ge=1)
    """Stop after so many epochs without a better value."""
    best_by: Measure = "accuracy"
    """What of the validation part chooses the best weights; ties go to the lower loss."""
    one_logit: bool = False
    """Two classes: one output with binary cross-entropy; the second class is the positive one."""
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
    size = float(found[1]) * UNITS[found[2] or ""] if found else inf
    if not isfinite(size):
        raise ValueError("this is not a size: write a number and a unit, such as 20GB")
    return int(size)


LONGEST = 366 * 86_400.0  # seconds: nobody waits for more


def seconds_of(text: str) -> float:
    """`90s`, `5m`, `1h` or a number of seconds. Raises ValueError for anything else."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh]?)\s*", text.lower())
    seconds = float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]] if found else 0.0
    if not 0 < seconds <= LONGEST:
        raise ValueError("this is not a time: write 90s, 5m or 1h")
    return seconds


class FeatureSettings(Described):
    """What is the same in every epoch is computed once and cached, also for later runs: pixels, frozen features."""

    cache: Literal["auto", "off"] = "auto"
    """off: compute what is frozen anew in each epoch, and let heads start at random."""
    views: int | None = Field(default=None, ge=1)
    """Random views of each image whose features are cached, where a part is frozen; 1 is the plain image. Default: 1
    where the head is solved, otherwise 4.
    """
    most_views: int | None = Field(default=None, ge=1)
    """Another view of each image is added after each epoch, until there are so many."""
    precision: Literal["float16", "float32"] = "float16"
    """What features are cached in; float16 loses 1 part in 2,000."""
    pixels: Literal["auto", "off"] = "auto"
    """auto: decoded pixels are cached where half of the cache holds them; off: all are decoded in each epoch."""
    size: str = "20GB"
    """How much disk cached features and pixels may take, of all runs: 20GB."""
    folder: str | None = None
    """Where the cache is; default: $PELLUCID_CACHE, or the user's cache folder."""

    @field_validator("size")
    @classmethod
    def _size(cls, text: str) -> str:
        bytes_of(text)
        return text


class Machine(Described):
    """Where it runs. None of this changes what is learned, save by rounding."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto, cpu, cuda or mps."""
    devices: int = 1
    """One: training on several devices is refused until it is right."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """What is computed with; auto: bfloat16 where the device gains by it."""
    workers: int | None = Field(default=None, ge=0)
    """Processes that decode images."""
    threads: int | None = Field(default=None, ge=1)
    """Threads that torch computes with; default: its own choice."""

    @field_validator("devices", mode="before")
    @classmethod
    def _one(cls, devices: Any) -> Any:
        # Each process made a run folder, counted its own steps and validated on a share of the images.
        if str(devices) != "1":
            raise ValueError("one device trains, and --device says which: this is 1, or left out")
        return devices


class Config(Described):
    """What was asked of `train`, whole: the same config, data and machine give the same weights."""

    model: str
    """A network of `pellucid models`, timm/NAME, or one's own: FILE.py:NAME, package.module:NAME (in Python an
    nn.Module, a class or function that makes one, or a table). Default: resnet18.
    """
    mode: Mode
    """scratch: random weights, all trained. probe: all but the head frozen. finetune: all trained, or from an end
    point on. Default: finetune with weights, otherwise scratch.
    """
    weights: str
    """imagenet, none, own (as one's own module comes), a run's folder, or a file (.safetensors, .pth, .ckpt, .npz,
    .h5, .keras, .pdparams). Default: imagenet, own for one's own network, none from scratch.
    """
    layout: str = "auto"
    """Whose names the tensors in the weights file have: pellucid, torchvision, timm, tf-slim, keras, paddle. Default:
    auto.
    """
    until: str | None = None
    """The weights file ends at this end point, by our name or the file's; what comes after stays random."""
    train_from: str | None = None
    """finetune: the first end point that is trained; everything before it is frozen."""
    probe_at: str | None = None
    """Before training, solve a head at each of these end points, with commas, or at all, and tell its accuracy."""
    options: dict[str, Option] = Field(default_factory=dict)
    """The network's own settings: --options.width 0.5, --options.auxiliary. One's own takes those of its own."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Decides the split, the first weights, the order and the augmentation. Default: 0."""
    budget: str | None = None
    """How long it may take, 5m: what this machine does is measured; mode, resolution, epochs and views chosen to fit.
    """
    runs: str = "runs"
    """The folder in which the run's own folder is made. Default: runs."""
    log_every: int = Field(default=0, ge=0)
    """Tell the loss of every 20th batch, say; of all, events.jsonl has it. Default: 0, of none."""
    data: Data
    input: Input = Input()
    """How images reach the network, where it should differ from what the weights want: --input.resize native."""
    augmentation: Augmentation = Augmentation()
    """Random changes to training images: --augmentation.flip 0."""
    learning: Learning = Learning()
    """Everything about optimiser and schedule: --learning.momentum 0.9."""
    features: FeatureSettings = FeatureSettings()
    """What is the same in every epoch is cached, not computed again: --features.cache off, --features.pixels off."""
    machine: Machine = Machine()
    """Where it runs: --machine.threads 2."""
    _asked: tuple[str, ...] = PrivateAttr(default=())
    _remarks: tuple[str, ...] = PrivateAttr(default=())

    @property
    def asked(self) -> tuple[str, ...]:
        """The settings that somebody gave, by flag or recipe, as dotted names; not written into config.toml."""
        return self._asked

    @property
    def remarks(self) -> tuple[str, ...]:
        """What was decided of these settings, for those who did not ask."""
        return self._remarks

    def noting(self, asked: Iterable[str], remarks: Iterable[str] = ()) -> Self:
        """The same configuration, with what somebody asked for, and what was decided of it."""
        noted = self.model_copy()
        noted._asked, noted._remarks = tuple(asked), tuple(remarks)
        return noted

    @property
    def solvable(self) -> bool:
        """Whether a head can be solved: on cached features, and nothing but the loss comes from the images."""
        return self.features.cache == "auto" and not self.mixed and not self.options.get("auxiliary")

    @property
    def mixed(self) -> bool:
        """Whether training images are mixed with each other."""
        return bool(self.augmentation.mixup or self.augmentation.cutmix)

    @field_validator("budget")
    @classmethod
    def _budget(cls, text: str | None) -> str | None:
        if text is not None:
            seconds_of(text)
        return text

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        elsewhere, data = self.data.validation_from, self.data
        if elsewhere.data is None and (said := [name for name, value in elsewhere if value is not None]):
            where = "--validation-from.data"
            flag = where.replace("data", said[0].replace("_", "-"))
            raise ValueError(f"{flag} says how images elsewhere are read: say where, with {where}")
        if elsewhere.data is not None and (data.validation or data.ignore_parts or data.keep_split):
            raise ValueError(
                "validation_from names the validation images, which leaves nothing to validation, ignore_parts and "
                "keep_split: leave one of them out"
            )
        if self.train_from and self.mode != "finetune":
            raise ValueError(f"train_from says where fine-tuning starts: it goes with mode finetune, not {self.mode}")
        if self.mode == "scratch" and self.weights != "none":
            raise ValueError("mode scratch starts from random weights: leave weights out, or use probe or finetune")
        if self.learning.optimizer == "solve" and (self.mode != "probe" or self.features.cache == "off"):
            raise ValueError("the optimizer solve is for mode probe with its features cached: choose adamw or sgd")
        if self.learning.optimizer == "solve" and not self.solvable:
            raise ValueError(
                "the optimizer solve works on cached features; mixup, cutmix and auxiliary heads need the images: "
                "choose adamw"
            )
        slowly = self.learning.unfreeze or self.learning.norms == "kept"
        if slowly and self.mode != "finetune":
            raise ValueError("--learning.unfreeze and --learning.norms are for mode finetune, where something is kept")
        if self.until and self.weights in ("none", "imagenet", "own"):
            raise ValueError("until says where a weights file ends: it goes with a file as weights")
        learning = self.learning
        if learning.class_weights and learning.balanced_sampling:
            raise ValueError(
                "class_weights and balanced_sampling each make all classes count alike, and together they would count "
                "rare ones twice: leave one of them out"
            )
        if learning.optimizer == "sgd" and learning.nesterov and not learning.momentum:
            raise ValueError("--learning.nesterov looks ahead by the momentum, which is 0: leave one of them out")
        return self
