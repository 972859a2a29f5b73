"""The losses of single batches, gathered into one event for many."""

from collections.abc import Iterator

from pellucid.runs.events import BatchLosses, now

GATHERED = 100  # batches an event, where nobody asked to see them more often
DIGITS = 6  # significant ones, which is what float32 has


class BatchJournal:
    """What each batch cost, told every so many batches, at the end of an epoch, and when training is stopped.

    `every`: somebody asked to see the loss of every so-manieth batch; 0: nobody did.
    """

    def __init__(self, every: int) -> None:
        self.every = every
        self._first, self._losses = 1, list[float]()

    def add(self, loss: float, *, epoch: int, batch: int, batches: int) -> Iterator[BatchLosses]:
        """Batch number `batch` of `batches`, of epoch number `epoch`, all from 1."""
        if not self._losses:
            self._first = batch
        self._losses.append(float(f"{loss:.{DIGITS}g}"))
        if batch % (self.every or GATHERED) == 0 or batch == batches:
            yield from self.rest(epoch=epoch, batches=batches)

    def rest(self, *, epoch: int, batches: int) -> Iterator[BatchLosses]:
        """What has not been told yet."""
        if self._losses:
            last = self._first + len(self._losses) - 1
            yield BatchLosses(
                time=now(),
                epoch=epoch,
                first=self._first,
                batches=batches,
                losses=tuple(self._losses),
                told=bool(self.every) and last % self.every == 0,
            )
        self._losses = []
