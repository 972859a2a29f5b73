"""A run's events, put together by epoch."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import floor, log10

from pellucid.errors import UserError
from pellucid.reports.transfer import Transfer
from pellucid.runs.events import (
    BatchLosses,
    Epoch,
    Event,
    Failed,
    Started,
    Stopped,
    Validated,
)

MOST_MEANS = 200  # points that a curve of batches has where nobody says how many batches make one


@dataclass(frozen=True)
class Lap:
    """One epoch as it was learned and as it was validated; either can be missing."""

    epoch: int
    learned: Epoch | None
    validated: Validated | None


@dataclass(frozen=True)
class History:
    """Epochs in order, and how the run began and ended."""

    laps: tuple[Lap, ...]
    started: Started | None
    stopped: Stopped | None
    failed: Failed | None
    transfer: tuple[Transfer, ...] = ()  # what was had of frozen features, in order
    batches: tuple[tuple[float, float], ...] = ()  # of each batch by itself: where its end is in epochs, its loss

    @property
    def best(self) -> Validated | None:
        """The validation that chose the weights, None where there was none."""
        best = [lap.validated for lap in self.laps if lap.validated and lap.validated.best]
        return best[-1] if best else None


def history(events: Iterable[Event]) -> History:
    """Where a resumed run did an epoch twice, the later one counts; an end before a new start is no end."""
    learned: dict[int, Epoch] = {}
    validated: dict[int, Validated] = {}
    started: Started | None = None
    stopped: Stopped | None = None
    failed: Failed | None = None
    transfer: list[Transfer] = []
    losses: dict[tuple[int, int], tuple[float, float]] = {}
    for event in events:
        match event:
            case Started():
                started, stopped, failed = event, None, None
                transfer = []
            case BatchLosses():
                for number, loss in enumerate(event.losses, start=event.first):
                    losses[event.epoch, number] = (event.epoch - 1 + number / event.batches, loss)
            case Epoch():
                learned[event.epoch] = event
            case Validated():
                validated[event.epoch] = event
            case Stopped():
                stopped = event
            case Failed():
                failed = event
            case _ if isinstance(event, Transfer):
                transfer.append(event)
    epochs = sorted(learned.keys() | validated.keys())
    laps = tuple(Lap(epoch, learned.get(epoch), validated.get(epoch)) for epoch in epochs)
    batches = tuple(losses[place] for place in sorted(losses))
    return History(laps, started, stopped, failed, tuple(transfer), batches)


def check_every(every: int | None) -> None:
    if every is not None and every < 1:
        raise UserError(f"a mean is of 1 batch or more, not of {every}")


def means(batches: Sequence[tuple[float, float]], every: int) -> list[tuple[float, float]]:
    """The mean loss of every so many batches, where the last of them ends; what is left over makes none."""
    groups = [batches[start : start + every] for start in range(0, len(batches) - every + 1, every)]
    return [(group[-1][0], sum(loss for _, loss in group) / every) for group in groups]


def usual_mean(batches: int) -> int:
    """How many batches (1, 2, 5, 10, 20, ...) make a point, so that a curve of all has at most 200."""
    size = 10.0 ** floor(log10(max(1.0, batches / MOST_MEANS)))
    return int(next(size * factor for factor in (1, 2, 5, 10) if batches / (size * factor) <= MOST_MEANS))
