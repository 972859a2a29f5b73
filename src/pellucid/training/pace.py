"""How long batches, validations and savings take: an honest remaining time, and a deadline that is kept."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

SLACK = 1.05  # no two epochs take exactly the same


class Pace:
    """What a sitting has seen of its own speed. `deadline` is a moment of `clock`, or None.

    `validation` are the seconds that a validation is expected to take, before one was seen.
    """

    def __init__(
        self,
        deadline: float | None = None,
        *,
        validation: float | None = None,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        self.deadline, self.clock = deadline, clock
        self.batch_seconds: float | None = None
        self.validation_seconds = validation
        self.saving_seconds = 0.0
        self.seen = 0

    def step(self, seconds: float) -> None:
        """The first batch of a sitting (workers start, memory is allocated) says nothing of the others."""
        self.seen += 1
        if self.seen > 1:
            before = seconds if self.batch_seconds is None else self.batch_seconds
            self.batch_seconds = before + (seconds - before) / min(self.seen - 1, 50)

    def validation(self, seconds: float) -> None:
        self.validation_seconds = seconds

    def saving(self, seconds: float) -> None:
        self.saving_seconds = max(self.saving_seconds, seconds)

    def left(self, *, batches: int, validations: int) -> float | None:
        """Seconds, or None before they can be told. A validation not yet seen is left out of the sum."""
        if self.batch_seconds is None:
            return None
        return batches * self.batch_seconds + validations * (self.validation_seconds or 0.0)

    def epochs_that_fit(self, *, batches: int, validated: bool) -> int | None:
        """How many more epochs end before the deadline; None where there is no deadline or nothing was seen yet."""
        each = self.left(batches=batches, validations=int(validated))
        if self.deadline is None or each is None:
            return None
        # Each is saved as the best and as a checkpoint, and the last once more.
        rest = self.deadline - self.clock() - self.saving_seconds
        return max(0, int(rest / (SLACK * max(each + 2 * self.saving_seconds, 1e-9))))

    @property
    def late(self) -> bool:
        """Whether there is hardly time for another step, a last validation, and saving what is best and last."""
        if self.deadline is None:
            return False
        rest = (self.batch_seconds or 0.0) + (self.validation_seconds or 0.0) + 2 * self.saving_seconds
        return self.clock() + rest > self.deadline


def process_began() -> float:
    """When this process was started, as a moment of perf_counter: imports take seconds of a budget, too."""
    try:
        fields = Path("/proc/self/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")  # proc(5): field 22
    except (OSError, ValueError, IndexError, AttributeError):  # not Linux: from here on, then
        age = 0.0
    return perf_counter() - max(0.0, age)
