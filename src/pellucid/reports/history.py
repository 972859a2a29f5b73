"""A run's events, put together by epoch."""

from collections.abc import Iterable
from dataclasses import dataclass

from pellucid.reports.transfer import Transfer
from pellucid.runs.events import (
    Epoch,
    Event,
    Failed,
    Started,
    Stopped,
    Validated,
)


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
    for event in events:
        match event:
            case Started():
                started, stopped, failed = event, None, None
                transfer = []
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
    return History(laps, started, stopped, failed, tuple(transfer))
