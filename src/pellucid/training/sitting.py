"""Where a training stands while one process is at it: position, the seconds that went into what, and what is left.

A training may take several sittings; the position is what a checkpoint carries from one to the next.
"""

from time import perf_counter
from typing import Any, Literal

from pellucid.measures.intervals import wilson
from pellucid.runs.events import Epoch, Progress, Stopped, now
from pellucid.training.config import Learning
from pellucid.training.job import Job
from pellucid.training.pace import Pace
from pellucid.training.schedule import Steps, rate_at
from pellucid.training.state import Position, Sums
from pellucid.training.stepping import Learned


class Sitting:
    """`position` is frozen, and another one after each `move`. `epochs` are as many as there is time for."""

    def __init__(self, job: Job, steps: Steps, position: Position) -> None:
        self.job, self.steps, self.position = job, steps, position
        self.pace = Pace(job.limits.deadline, validation=job.limits.validation_seconds)
        self.epochs = 0 if job.limits.most_epochs == 0 else job.epochs
        self._began = perf_counter()

    def move(self, **changes: Any) -> None:
        self.position = self.position.model_copy(update=changes)

    def spend(self, **seconds: float) -> None:
        """Note seconds by what they went into: waiting, computing, validating, saving."""
        before = self.position.spent
        self.move(spent=before.model_copy(update={part: getattr(before, part) + s for part, s in seconds.items()}))

    def saved(self, seconds: float) -> None:
        """Something was written, which took so long."""
        self.spend(saving=seconds)
        self.pace.saving(seconds)

    @property
    def seconds(self) -> float:
        """Of all sittings, until now."""
        return self.position.seconds + perf_counter() - self._began

    def note_seconds(self) -> None:
        """Put them into the position, as a checkpoint is to have them."""
        self.move(seconds=self.seconds)
        self._began = perf_counter()

    @property
    def rate(self) -> float:
        """The learning rate of the next step, by a schedule that ends with the epochs that there is time for."""
        return self._rate_at(self.position.step)

    def _rate_at(self, step: int) -> float:
        learning: Learning = self.job.config.learning.model_copy(update={"epochs": self.epochs})
        return rate_at(learning, step=step, steps_per_epoch=self.steps.in_an_epoch)

    def learned(self, learned: Learned, *, images: int, waiting: float, computing: float) -> None:
        """One more batch of the current epoch is done."""
        sums = self.position.sums
        self.move(
            batch=self.position.batch + 1,
            sums=Sums(
                images=sums.images + images,
                right=sums.right + learned.right,
                loss=sums.loss + learned.loss * images,
                auxiliary=sums.auxiliary + (learned.auxiliary or 0.0) * images,
                waiting=sums.waiting + waiting,
                computing=sums.computing + computing,
            ),
        )
        self.spend(waiting=waiting, computing=computing)
        self.pace.step(waiting + computing)

    def epoch_ended(self) -> Epoch:
        """The current epoch is over, however many of its batches there was time for."""
        sums, step = self.position.sums, self.position.step
        self.move(epoch=self.position.epoch + 1, batch=0, sums=Sums())
        return Epoch(
            time=now(),
            epoch=self.position.epoch,
            loss=sums.loss / sums.images,
            auxiliary_loss=sums.auxiliary / sums.images if self.job.network.head_names else None,
            accuracy=wilson(sums.right, sums.images),
            rate=self._rate_at(step - 1),
            images_per_second=sums.images / max(1e-9, sums.waiting + sums.computing),
            seconds_waiting=sums.waiting,
            seconds_computing=sums.computing,
        )

    def plan(self) -> bool:
        """Fit the epochs to the time that is left; whether this one was the last for lack of it."""
        more = self.pace.epochs_that_fit(batches=self.steps.batches, validated=len(self.job.data.validation) > 0)
        if more is None:
            return False
        most = self.job.limits.most_epochs or self.job.epochs
        self.epochs = min(most, self.position.epoch + more)
        return self.position.epoch == self.epochs < most

    def seconds_left(self) -> float | None:
        epochs = self.epochs - self.position.epoch
        validations = epochs if len(self.job.data.validation) else 0
        return self.pace.left(batches=epochs * self.steps.batches - self.position.batch, validations=validations)

    def progress(self, phase: Literal["train", "validation"], step: int, *, steps: int, loss: float = 0.0) -> Progress:
        sums = self.position.sums
        return Progress(
            phase=phase,
            epoch=self.position.epoch + (phase == "train"),
            epochs=self.epochs,
            step=step,
            steps=steps,
            loss=loss,
            mean_loss=sums.loss / sums.images if sums.images else 0.0,
            images_per_second=sums.images / max(1e-9, sums.waiting + sums.computing),
            seconds_left=self.seconds_left(),
        )

    def stopped(self, why: Any) -> Stopped:
        best = self.position.best
        return Stopped(
            time=now(),
            epoch=self.position.epoch,
            why=why,
            best_epoch=None if best is None else best.epoch,
            seconds=self.seconds,
            spent=self.position.spent,
        )
