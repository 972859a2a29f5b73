"""What happens in a run, as records: `train` yields them, the run folder keeps them, the terminal shows them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, model_validator

from pellucid.measures.intervals import Measured
from pellucid.records import Record


def now() -> str:
    """The time that events are stamped with: ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class Preparing(Record):
    """What happens before training; shown, not kept. `total` is 0 where it cannot be known."""

    event: Literal["preparing"] = "preparing"
    phase: str  # "reading the data", "checking the images", "hashing", "fetching weights", ...
    done: int
    total: int


class Noted(Record):
    """Something that was decided or found, which a person should know now: of the data, the machine, the cache."""

    event: Literal["noted"] = "noted"
    time: str
    words: str  # a sentence, without its full stop


class Started(Record):
    """Training begins, or goes on after `epoch` full epochs. Counts are images."""

    event: Literal["started"] = "started"
    time: str  # ISO 8601, UTC
    run: str  # the run folder
    epoch: int
    epochs: int
    train_images: int
    validation_images: int
    parameters: int
    trained_parameters: int
    device: str
    precision: str
    workers: int  # processes that decode
    heads: int = 0  # auxiliary classifiers
    head_weight: float = 0.0  # how much the loss of each counts
    fresh_norms: int = 0  # batch norms whose running statistics are corrected for their start
    norms_keep: float | None = None  # what the slowest of them keeps of itself a batch


class BatchLosses(Record):
    """The loss of each of some batches by itself, in the order they were learned from; `first` is the number of the
    first in its epoch, from 1, of so many `batches`. `told`: somebody asked to see the last one (log_every).

    Where training was killed and an epoch began anew, the later event counts.
    """

    event: Literal["batch_losses"] = "batch_losses"
    time: str
    epoch: int
    first: int
    batches: int
    losses: tuple[float, ...]
    told: bool = False


class Progress(Record):
    """Where an epoch stands; shown, not kept. `loss` is the batch's own, 0 in validation; `mean_loss` is that of the
    epoch's images so far. `seconds_left` is for the whole run, None before it can be told.
    """

    event: Literal["progress"] = "progress"
    phase: Literal["train", "validation"]
    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    mean_loss: float
    images_per_second: float
    seconds_left: float | None


class Epoch(Record):
    """An epoch of training is done. Seconds are wall time: `waiting` for data, `computing` steps.

    `loss` is the mean over the images of what validation measures too (with smoothing and class weights, where asked);
    `auxiliary_loss` that of the auxiliary heads, None where there are none.
    """

    event: Literal["epoch"] = "epoch"
    time: str
    epoch: int
    loss: float
    auxiliary_loss: float | None = None
    accuracy: Measured  # on the (augmented) training images as they were learned from
    rate: float
    images_per_second: float
    seconds_waiting: float
    seconds_computing: float


class Planned(Record):
    """What is going to be trained within a budget of time. All in seconds; `step`, `look` and `decode` are an image's.

    `left`: of the budget when the plan was made; `expected`: what the plan should take of that; `ahead`: what is kept
    for the evaluation and the report after it. `settings` are those that the plan changes, by dotted name. There is
    another plan, made `again`, once it is known how long the first part took: the last one counts.
    """

    event: Literal["planned"] = "planned"
    time: str
    budget: float
    left: float
    ahead: float
    mode: str
    epochs: int
    train_from: str | None = None
    views: int = 1  # of each training image
    size: int  # pixels per side
    expected: float
    step: float
    look: float
    decode: float
    again: bool = False
    more: bool = False  # another plan will follow
    settings: dict[str, bool | int | float | str | None] = Field(default_factory=dict)


class PixelsReady(Record):
    """Every image was read to its end, and what epochs share of its pixels is kept on disk, or does not fit there.

    `decoded` counts images whose pixels were not kept before, `reduced` those of them at a reduced scale. `needed` and
    `room` are bytes: of all pixels, and what they may take; `kept`: whether they are, or are decoded in each epoch.
    `refused`: why the disk did not take them.
    """

    event: Literal["pixels_ready"] = "pixels_ready"
    time: str
    images: int
    decoded: int
    reduced: int
    needed: int
    room: int
    kept: bool
    refused: str = ""
    seconds: float


def place(*, frozen_until: str | None, train_from: str | None, averaged: tuple[str, ...] = ()) -> str:
    """Where features are, in words: at an end point, at several, or before one."""
    if len(averaged) > 1:
        return f"{len(averaged)} end points"
    return frozen_until or f"the input of {train_from}"


class FeaturesReady(Record):
    """What is frozen was computed for every image, up to and with `frozen_until`, or was found where it is kept.

    `frozen_until` is None where no end point ends right before `train_from`, the first one that is trained;
    `train_from` is None where none is trained on the features. `averaged` are the end points whose maps were averaged
    and put side by side, if they were. Older runs called one or the other `end_point`.

    `computed` counts images and views that were not there yet. `precision` is what they were computed with, and
    `difference` how far that was from the plain network on a few images, as a share of the features' spread.
    `refused`: why the disk did not take them, so that they are held in memory, for this run alone.
    """

    event: Literal["features_ready"] = "features_ready"
    time: str
    frozen_until: str | None = None
    train_from: str | None = None
    averaged: tuple[str, ...] = ()
    images: int
    views: int  # of each training image
    computed: int
    precision: str
    difference: float
    kept: str  # "float16" or "float32"
    refused: str = ""
    seconds: float

    @property
    def place(self) -> str:
        return place(frozen_until=self.frozen_until, train_from=self.train_from, averaged=self.averaged)

    @model_validator(mode="before")
    @classmethod
    def _of_older_runs(cls, values: Any) -> Any:
        """They said the last frozen end point, or "the input of" the first one that is trained."""
        if not isinstance(values, Mapping) or "end_point" not in values:
            return values
        said, rest = str(values["end_point"]), {name: value for name, value in values.items() if name != "end_point"}
        trained = said.removeprefix("the input of ")
        return rest | ({"frozen_until": said} if trained == said else {"train_from": trained})


class FrozenRecomputed(Record):
    """What comes before `train_from` is computed anew in every epoch: its output cannot be kept, and `why`.

    Older runs called the first end point that is trained `end_point`.
    """

    event: Literal["frozen_recomputed"] = "frozen_recomputed"
    time: str
    train_from: str
    why: str

    @model_validator(mode="before")
    @classmethod
    def _of_older_runs(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or "end_point" not in values:
            return values
        rest = {name: value for name, value in values.items() if name != "end_point"}
        return rest | {"train_from": values["end_point"]}


class HeadSolved(Record):
    """The head was computed, not learned in steps. `tried`: penalties and their loss on images that were held out."""

    event: Literal["head_solved"] = "head_solved"
    time: str
    strength: float
    tried: tuple[tuple[float, float], ...]
    views: int
    seconds: float


class ProbedAt(Record):
    """A head solved on the averages of one end point's maps, and its accuracy on the validation images."""

    event: Literal["probed_at"] = "probed_at"
    time: str
    end_point: str
    features: int
    accuracy: Measured
    strength: float


class Compared(Record):
    """What fine-tuning added over a probe (the head solved on frozen features), on the same validation images.

    The model that is `kept`, by its epoch (0: the probe itself), which those images chose among so many `epochs`.
    `gained` images only that model has right, `lost` only the probe; `chance`: how likely a difference of this size is
    where there is none (McNemar's exact test, times the epochs); `worth`: fine-tuning was better, and not by chance.
    Older runs do not say how many epochs there were (0).
    """

    event: Literal["compared"] = "compared"
    time: str
    probe: Measured
    tuned: Measured
    gained: int
    lost: int
    chance: float
    worth: bool
    kept: int = 1
    epochs: int = 0


class Validated(Record):
    """The weights after `epoch` were measured on the validation part; `best` if they are the best so far."""

    event: Literal["validated"] = "validated"
    time: str
    epoch: int
    loss: float
    accuracy: Measured
    measure: str  # what "best" means: "loss", "accuracy" or "balanced_accuracy"
    value: float
    best: bool
    seconds: float
    seconds_left: float | None


class Saved(Record):
    event: Literal["saved"] = "saved"
    time: str
    epoch: int
    file: str
    why: str  # "best", "last", "interrupted"


class Spent(Record):
    """Seconds that training took for each of its parts, of all sittings."""

    waiting: float = 0.0  # for data
    computing: float = 0.0
    validating: float = 0.0
    saving: float = 0.0


class Stopped(Record):
    """Training came to an end; `why` is "finished", "early" (no better for long enough), "budget" (spent) or
    "interrupted".
    """

    event: Literal["stopped"] = "stopped"
    time: str
    epoch: int
    why: Literal["finished", "early", "budget", "interrupted"]
    best_epoch: int | None
    seconds: float
    spent: Spent = Spent()


class Failed(Record):
    event: Literal["failed"] = "failed"
    time: str
    epoch: int
    problem: str


Event = Annotated[
    Preparing
    | Noted
    | Started
    | BatchLosses
    | Progress
    | Epoch
    | Planned
    | PixelsReady
    | FeaturesReady
    | FrozenRecomputed
    | HeadSolved
    | ProbedAt
    | Compared
    | Validated
    | Saved
    | Stopped
    | Failed,
    Field(discriminator="event"),
]
EVENTS: TypeAdapter[Event] = TypeAdapter(Event)
