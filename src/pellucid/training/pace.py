"""How long batches and validations take: an honest remaining time, and a deadline that is kept."""

from time import perf_counter

SLACK = 1.05  # no two epochs take exactly the same


class Pace:
    """What a sitting has seen of its own speed. `deadline` is a moment of perf_counter, or None."""

    def __init__(self, deadline: float | None = None) -> None:
        self.deadline = deadline
        self.batch_seconds: float | None = None
        self.validation_seconds: float | None = None
        self.seen = 0

    def step(self, seconds: float) -> None:
        """The first batch of a sitting (workers start, memory is allocated) says nothing of the others."""
        self.seen += 1
        if self.seen > 1:
            before = seconds if self.batch_seconds is None else self.batch_seconds
            self.batch_seconds = before + (seconds - before) / min(self.seen - 1, 50)

    def validation(self, seconds: float) -> None:
        self.validation_seconds = seconds

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
        return max(0, int((self.deadline - perf_counter()) / (SLACK * max(each, 1e-9))))

    @property
    def late(self) -> bool:
        """Whether there is hardly time for a last validation."""
        return self.deadline is not None and perf_counter() + (self.validation_seconds or 0.0) > self.deadline
