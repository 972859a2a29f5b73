"""Numbers with their uncertainty: a value, its 95 % interval and the count it rests on."""

from math import sqrt

from pellucid.records import Record

Z_95 = 1.959963984540054  # two-sided 95 % quantile of the normal distribution


class Measured(Record):
    """A measured number; `low` and `high` bound it with 95 % confidence, `n` is how many images it rests on.

    `value` is None where it is not defined (a precision when nothing was predicted so); low and high are then too.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int

    def __str__(self) -> str:
        return self.percent()

    def percent(self) -> str:
        """`91.7 % [85.6, 95.4] n = 132`"""
        if self.value is None:
            return f"undefined n = {self.n}"
        bounds = "" if self.low is None or self.high is None else f" [{100 * self.low:.1f}, {100 * self.high:.1f}]"
        return f"{100 * self.value:.1f} %{bounds} n = {self.n}"

    def plain(self, digits: int = 3) -> str:
        """`0.274 [0.201, 0.352] n = 132`, for measures that are not proportions."""
        if self.value is None:
            return f"undefined n = {self.n}"
        bounds = "" if self.low is None or self.high is None else f" [{self.low:.{digits}f}, {self.high:.{digits}f}]"
        return f"{self.value:.{digits}f}{bounds} n = {self.n}"


def wilson(right: int, n: int) -> Measured:
    """The proportion `right / n` with its 95 % score interval (Wilson 1927, JASA 22:209, no continuity correction)."""
    if not 0 <= right <= n:
        raise AssertionError(f"{right} of {n}")
    if n == 0:
        return undefined(0)
    share = right / n
    spread = Z_95**2 / n
    centre = (share + spread / 2) / (1 + spread)
    half = Z_95 * sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    # At 0 and n the bound is exactly the share; rounding must not leave it a hair inside.
    return Measured(
        value=share,
        low=0.0 if right == 0 else max(0.0, centre - half),
        high=1.0 if right == n else min(1.0, centre + half),
        n=n,
    )


def undefined(n: int) -> Measured:
    """What has no value: an interval of nothing, of `n` images."""
    return Measured(value=None, low=None, high=None, n=n)
