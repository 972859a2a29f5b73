"""Steps: how many an epoch has, and the learning rate at each, a pure function of the step: nothing to restore."""

from dataclasses import dataclass
from math import cos, inf, pi
from typing import Self

from pellucid.training.config import Learning


@dataclass(frozen=True)
class Steps:
    """An epoch in batches of `batch` images, of which `accumulate` make a step; `images` are those that take part."""

    images: int
    batch: int
    accumulate: int

    @classmethod
    def of(cls, images: int, *, batch: int, accumulate: int) -> Self:
        """Batch norm cannot learn from a single image, so one that would be left over sits the epoch out."""
        return cls(images - (images % batch == 1), batch, accumulate)

    @property
    def batches(self) -> int:
        """Of an epoch."""
        return -(-self.images // self.batch)

    @property
    def in_an_epoch(self) -> int:
        return -(-self.batches // self.accumulate)

    def ends_at(self, batch: int) -> bool:
        """Whether a step is whole with that batch of an epoch, from 0."""
        return (batch + 1) % self.accumulate == 0 or batch + 1 == self.batches

    def window(self, batch: int) -> int:
        """How many batches make the step that it belongs to: fewer at an epoch's end."""
        return min(self.accumulate, self.batches - batch // self.accumulate * self.accumulate)


def rate_at(learning: Learning, *, step: int, steps_per_epoch: int) -> float:
    """The rate for optimiser step `step` (from 0): linear warm-up, then the schedule.

    `step` and `exponential` change once an epoch, counted from the beginning as the tutorials do; `cosine` falls
    from the end of the warm-up to zero after the last step (Loshchilov and Hutter 2017, arXiv:1608.03983, eq. 5).
    A warm-up is no longer than the training, so that the rate that was asked for is reached. Infinite where a factor
    above one has raised the rate beyond all numbers.
    """
    warm_up = round(min(learning.warm_up, learning.epochs) * steps_per_epoch)
    total = learning.epochs * steps_per_epoch
    if step < warm_up:
        return learning.rate * (step + 1) / warm_up
    epoch = step // steps_per_epoch
    match learning.schedule:
        case "constant":
            factor = 1.0
        case "step":
            factor = _power(learning.step_factor, epoch // learning.step_epochs)
        case "exponential":
            factor = _power(learning.decay_factor, epoch // learning.decay_epochs)
        case "cosine":
            factor = 0.5 * (1 + cos(pi * (step - warm_up) / max(1, total - warm_up)))
    return learning.rate * factor


def _power(factor: float, times: int) -> float:
    try:
        return factor**times
    except OverflowError:
        return inf
