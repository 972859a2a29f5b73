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
from pellucid.images.samples import Source
from pellucid.records import Described

Mode = Literal["scratch", "probe", "finetune"]
Option = bool | float | str
Measure = Literal["accuracy", "balanced_accuracy", "loss"]


class Elsewhere(Described):
    """Validation images that lie outside DATA, to choose the best weights by, and how those images are read."""

    data: str | None = None
    """The folder or table of the validation images. All of its images, and no others, become the validation part.
    Default: none; the validation part comes from DATA.
    """
    labels: str | None = None
    """A table that holds the labels of the validation images, where those lie in one flat folder. Default: none."""
    label_from: str | None = None
    """A regular expression for the names of the validation images' files, whose group `label` is the label. Default:
    none.
    """
    map: str | None = None
    """The class of DATA that each label of the validation images means: 1=pm,0=nonpm. Default: each label is a class.
    """
    path_column: str | None = None
    """The column of paths in the table of the validation images. Default: path."""
    label_column: str | None = None
    """The column of labels in the table of the validation images. Default: label."""
    group_column: str | None = None
    """The column of groups in the table of the validation images. '' means no column. Default: group, where the table
    has such a column.
    """
    group_from: str | None = None
    """A regular expression for the paths of the validation images, whose group `group` says which of them belong
    together. Default: none.
    """
    leave_out: tuple[str, ...] | None = None
    """A folder among the validation images that is not read: its name, at any level, or its path. Repeat this for each
    such folder. Default: none.
    """

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
    """How many images to train on: a number (500), a share of all (0.8 or 80%), or rest, which is all that the other
    parts leave. Default: 0.7 where no part's amount is given, otherwise rest; where DATA comes divided, its own parts.
    """
    validation: str | None = None
    """How many images to choose the best weights by, written as for --train. Default: 0.15 where no part's amount is
    given, otherwise none.
    """
    test: str | None = None
    """How many images to set apart for the final measurement, written as for --train. Default: rest where no part's
    amount is given, otherwise none.
    """
    per_class: bool = False
    """Let numbers in --train, --validation and --test count the images of each class, not of all classes together.
    Default: no.
    """
    keep_split: str | None = None
    """An earlier split to extend: a run folder, or the .json file that `pellucid split` wrote. Its images stay in their
    parts; only new images are divided. Default: none; all images are divided.
    """
    ignore_parts: bool = False
    """Where DATA comes divided into parts, divide all of its images anew. Otherwise amounts divide its train part
    alone.
    """
    skip_unreadable: bool = False
    """Leave out files that cannot be read, and record which. Otherwise they stop the training before it begins."""
    validation_from: Elsewhere = Elsewhere()
    """Validation images that lie outside DATA, with labels of their own: --validation-from.data more/. Default: none.
    """

    @property
    def division(self) -> dict[str, Any]:
        """How they are divided, as `split` takes it."""
        return {name: getattr(self, name) for name in AMOUNTS}


AMOUNTS = ("train", "validation", "test", "per_class", "keep_split", "ignore_parts")  # how data is divided


class Input(Described):
    """How an image becomes what the network sees. Default of each: as the weights were trained with, or else as the
    network was designed for.
    """

    size: int | None = Field(default=None, ge=8)
    """Pixels per side of the square that the network sees. Default: as the weights were trained with, or else as the
    network was designed for.
    """
    resize: tuple[int, int] | int | Literal["native"] | None = None
    """How an image is resized before the square is cut out of it. 256: its shorter side becomes 256 pixels. 240 320: it
    becomes 240 pixels high and 320 wide. native: it is not resized, which keeps the finest details.
    """
    crops: int | None = Field(default=None, ge=1)
    """The network sees a grid of squares of each image that is evaluated or predicted, spread evenly over
    --input.region; its outputs for them are averaged. The number is how many squares the grid has per side: 2 means
    four squares. Default: 1.
    """
    region: int | None = Field(default=None, ge=8)
    """Pixels per side of the image's centre over which the squares of --input.crops are spread. Default: crops times
    size, so that the squares lie side by side.
    """
    interpolation: Interpolation | None = None
    """The method that computes new pixels when an image is resized."""
    background: tuple[int, int, int] | None = None
    """The colour that shows through transparent pixels: red, green and blue, each from 0 to 255. White is 255 255 255.
    """
    mean: Triple | None = None
    """What is subtracted from red, green and blue, after these are scaled to 0..1. ImageNet's is 0.485 0.456 0.406."""
    std: Triple | None = None
    """What red, green and blue are divided by, after the mean is subtracted. ImageNet's is 0.229 0.224 0.225."""
    channels: Channels | None = None
    """The order in which the network gets the colours of a pixel."""

    @field_validator("resize", mode="before")
    @classmethod
    def _pair(cls, given: Any) -> Any:
        """A flag is one word: 240x320."""
        found = re.fullmatch(r"\s*(\d+)\s*[x×]\s*(\d+)\s*", given) if isinstance(given, str) else None
        return (int(found[1]), int(found[2])) if found else given


class Learning(Described):
    """How the weights are changed in training."""

    epochs: int = Field(default=20, ge=1)
    """How many times training goes through all training images."""
    batch: int = Field(default=32, ge=1)
    """Images per batch. The weights change after every batch, or after several: see --learning.accumulate."""
    optimizer: Literal["sgd", "adamw", "solve"] = "adamw"
    """What changes the weights: sgd (with momentum) or adamw, step by step; or solve, for mode probe: the best head is
    computed at once. Default: adamw; for mode probe solve, unless --epochs or --rate is given.
    """
    rate: float = Field(default=1e-3, gt=0)
    """The learning rate, which says how far a step moves the weights: its highest value, reached after the warm-up."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """For sgd: the share of each step that is repeated in the next step, from 0 to below 1: the nearer to 1, the longer
    earlier steps go on."""
    nesterov: bool = False
    """For sgd: use Nesterov momentum, which takes the gradient at the place where the momentum leads."""
    weight_decay: float = Field(default=0.01, ge=0)
    """How strongly each step pulls the weights towards zero: the larger, the more strongly. 0: not at all."""
    decay_norms: bool = False
    """Let weight decay pull on biases and on normalisation layers too."""
    schedule: Literal["constant", "step", "cosine", "exponential"] = "cosine"
    """How the learning rate falls. constant: it does not. step, exponential: it is multiplied by --learning.step-factor
    or --learning.decay-factor after every few epochs. cosine: it follows half a cosine down to 0 at the last step.
    """
    warm_up: float = Field(default=1.0, ge=0)
    """For how many epochs the learning rate rises evenly to its highest value, before the schedule begins."""
    step_epochs: int = Field(default=7, ge=1)
    """For schedule step: after every so many epochs the learning rate is multiplied by --learning.step-factor."""
    step_factor: float = Field(default=0.1, gt=0)
    """For schedule step: what the learning rate is multiplied by after every --learning.step-epochs epochs. 0.1 makes
    it a tenth.
    """
    decay_epochs: int = Field(default=8, ge=1)
    """For schedule exponential: after every so many epochs the learning rate is multiplied by --learning.decay-factor.
    """
    decay_factor: float = Field(default=0.96, gt=0)
    """For schedule exponential: what the learning rate is multiplied by after every --learning.decay-epochs epochs.
    0.96 makes it 4 % lower.
    """
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """The share of each label that is spread evenly over all classes, so that a network gets less sure of its answers:
    the larger, the less sure. 0.1 is common; 0: none.
    """
    class_weights: bool = False
    """Divide the loss of each class by its number of images, so that rare classes count as much as frequent ones."""
    balanced_sampling: bool = False
    """Draw equally many images of every class in each epoch, so that images of rare classes come several times."""
    clip: float | None = Field(default=None, gt=0)
    """Gradients with a larger norm than this are scaled down to it, which helps where the loss explodes. 1 is common.
    Default: no limit.
    """
    accumulate: int = Field(default=1, ge=1)
    """How many batches make one step, as if they were one large batch that would not fit into memory."""
    ema: float | None = Field(default=None, gt=0, lt=1)
    """Use an average of the weights over the last steps in place of the weights themselves. The number is the share of
    the average that stays at each step; the nearer to 1, the more steps count: 0.999 averages about the last 1,000.
    In the first steps it is less. Default: no average.
    """
    patience: int | None = Field(default=None, ge=1)
    """Stop when so many epochs in a row brought no better value of --learning.best-by. Default: never before the last
    epoch.
    """
    best_by: Measure = "accuracy"
    """The measure on the validation part that decides which epoch's weights are the best and are kept as the result.
    Where two are equal, the lower loss decides.
    """
    one_logit: bool = False
    """For two classes: give the network one output in place of two, trained by binary cross-entropy. The output
    is for the second class in alphabetical order.
    """
    head: Literal["solved", "random"] = "solved"
    """For mode finetune: where the head (the last layer) starts. solved: at the weights that are best while the
    rest of the network is as it came. random: at random weights.
    """
    input_rate: float = Field(default=1.0, gt=0, le=1)
    """The learning rate at the network's first end point, as a share of the learning rate at its head: 0.1 is a tenth.
    From end point to end point the learning rate rises evenly. 1: it is the same everywhere.
    """
    unfreeze: int = Field(default=0, ge=0)
    """For mode finetune: over how many epochs the layers join the training, from the head towards the input. 0: all
    train from the start.
    """
    norms: Literal["learned", "kept"] = "learned"
    """For mode finetune: whether batch normalisation uses statistics of the new images (learned), or those that came
    with the weights (kept).
    """
    auxiliary_weight: float = Field(default=0.3, ge=0)
    """How much the loss of each auxiliary head counts; that of the main head counts 1."""


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
    """What is the same in every epoch is computed once and cached on disk, also for later runs: decoded pixels, and
    features, which are what the frozen part of a network makes of an image.
    """

    cache: Literal["auto", "off"] = "auto"
    """auto: what the frozen part computes is cached. off: it is computed anew in each epoch, and heads start at random.
    """
    views: int | None = Field(default=None, ge=1)
    """Where part of the network is frozen: how many versions of each training image that part sees; what it makes of
    each version is cached. 1: the plain image only. 4: four versions, with random crops and changes. Default: 1 where
    the optimizer is solve, otherwise 4.
    """
    most_views: int | None = Field(default=None, ge=1)
    """Where part of the network is frozen and the rest learns in steps: after each epoch the features of one more
    version of each image are cached, until there are so many versions. Default: no more than --views.
    """
    precision: Literal["float16", "float32"] = "float16"
    """The number format of cached features. float16 takes half the disk, and rounds by 1 part in 2,000."""
    pixels: Literal["auto", "off"] = "auto"
    """auto: decoded pixels are cached where they fit into half of the cache. off: every image is decoded in each epoch.
    """
    size: str = "20GB"
    """How much disk the cache may take, for the features and pixels of all runs together: a number and a unit, such as
    20GB.
    """
    folder: str | None = None
    """The folder of the cache. Default: the one that $PELLUCID_CACHE names, otherwise pellucid in the user's cache
    folder (~/.cache).
    """

    @field_validator("size")
    @classmethod
    def _size(cls, text: str) -> str:
        bytes_of(text)
        return text


class Machine(Described):
    """What the training runs on. None of this changes what is learned, except by rounding."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """The device that computes: cpu, cuda (a GPU of NVIDIA), mps (one of Apple), or auto: the best that is there."""
    devices: int = 1
    """How many devices train together. Only 1 is possible so far."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """The number format to compute in. auto: bfloat16 where the device computes it natively, otherwise float32."""
    workers: int | None = Field(default=None, ge=0)
    """How many processes read and decode images beside the one that trains. Default: as many as suit this machine, 8 at
    most.
    """
    threads: int | None = Field(default=None, ge=1)
    """How many threads compute. Default: torch's choice, which is mostly one per core."""

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
    """The network to train: a name that `pellucid models` lists, timm/NAME, or your own as FILE.py:NAME or
    package.module:NAME (in Python an nn.Module, a class or function that makes one, or a table). Default: resnet18.
    """
    mode: Mode
    """scratch: train all layers, from random weights. probe: train the head (the last layer) alone; all else is frozen,
    which means that it stays as it is. finetune: train all layers, or those from --train-from on, from weights that
    somebody trained. Default: finetune; scratch without weights, for the small networks and for your own.
    """
    weights: str
    """The weights to start from: imagenet (published ones), none (random ones), own (as your own module comes), a run
    folder, or a file (.safetensors, .pth, .ckpt, .npz, .h5, .keras, .pdparams). Default: imagenet; none for mode
    scratch; own for your own network.
    """
    layout: str = "auto"
    """Which library's names the tensors in the weights file have: pellucid, torchvision, timm, tf-slim, keras or
    paddle. auto: recognised by the names.
    """
    until: str | None = None
    """The last end point for which the weights file has weights, by our name or the file's; all layers after it start
    from random weights. Default: none; the file is for the whole network.
    """
    train_from: str | None = None
    """For mode finetune: the first end point that is trained; everything before it is frozen. An end point is a named
    place in the network, such as conv5_x; `pellucid structure NET --end-points` lists them. Default: none; all is
    trained.
    """
    probe_at: str | None = None
    """End points to compare before training, with commas between them, or all: for each of them, a head is fitted to
    what the network computes up to there, and the head's accuracy on the validation part is shown. Default: none.
    """
    options: dict[str, Option] = Field(default_factory=dict)
    """Settings of the network itself, such as --options.width 0.5 or --options.auxiliary. Your own network has those
    that its code takes.
    """
    seed: int = Field(default=0, ge=0, lt=2**63)
    """The number that all randomness comes from: the split, the first weights, the order of the images, augmentation.
    The same seed gives the same training.
    """
    budget: str | None = None
    """How long the command may take, such as 90s, 5m or 1h. The speed of this machine is measured; mode, size, epochs
    and views are chosen to fit. Default: no limit.
    """
    runs: str = "runs"
    """The folder in which each training makes a run folder of its own."""
    log_every: int = Field(default=0, ge=0)
    """Show the loss after every so many batches; 0: never. The run's events.jsonl has the loss of every batch anyway.
    """
    data: Data
    input: Input = Input()
    """How an image becomes what the network sees, where that is to differ from what the weights want: --input.resize
    native.
    """
    augmentation: Augmentation = Augmentation()
    """Random changes to training images: --augmentation.flip 0."""
    learning: Learning = Learning()
    """How the weights are changed in training: --learning.momentum 0.9."""
    features: FeatureSettings = FeatureSettings()
    """What is computed once and cached on disk: --features.cache off, --features.pixels off."""
    machine: Machine = Machine()
    """What the training runs on: --machine.threads 2."""
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
            raise ValueError("--learning.unfreeze and --learning.norms are for mode finetune alone")
        if self.until and self.weights in ("none", "imagenet", "own"):
            raise ValueError("until says where a weights file ends: give a file as weights, or leave until out")
        learning = self.learning
        if learning.class_weights and learning.balanced_sampling:
            raise ValueError(
                "class_weights and balanced_sampling each make all classes count alike, and together they would count "
                "rare ones twice: leave one of them out"
            )
        if learning.optimizer == "sgd" and learning.nesterov and not learning.momentum:
            raise ValueError("--learning.nesterov looks ahead by the momentum, which is 0: leave one of them out")
        return self
