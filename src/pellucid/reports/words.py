"""Numbers as people read them, the same in the terminal and in the report."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # words are for quick answers too, and measured figures are records, which take time to import
    from pellucid.measures.intervals import Measured


def percent(share: float | None, digits: int = 1) -> str:
    """`91.7 %`; a dash where there is none."""
    return "–" if share is None else f"{100 * share:.{digits}f} %"


def shares(amounts: Sequence[float]) -> list[str]:
    """Each amount's share of their sum in whole percents, which add to 100: by largest remainders."""
    whole = sum(amounts)
    exact = [100 * amount / whole for amount in amounts]
    rounded = [int(share) for share in exact]
    by_remainder = sorted(range(len(exact)), key=lambda place: rounded[place] - exact[place])
    for place in by_remainder[: 100 - sum(rounded)]:
        rounded[place] += 1
    return [f"{share} %" for share in rounded]


def bounds(measured: "Measured", digits: int = 1) -> str:
    """`[85.6, 95.4]` in percent; nothing where there are no bounds."""
    if measured.low is None or measured.high is None:
        return ""
    return f"[{100 * measured.low:.{digits}f}, {100 * measured.high:.{digits}f}]"


def duration(seconds: float | None) -> str:
    """`0:42`, `1:02:07`; a dash where it cannot be told."""
    if seconds is None:
        return "–"
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def rate(value: float) -> str:
    """A learning rate in at most 7 characters: `0.0003`, `3e-05`."""
    return f"{value:.2g}"


def short_number(number: float) -> str:
    """`1,026`, `11.2 M`, `1.8 G`: three or four digits are enough to compare networks."""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if number >= size:
            return f"{number / size:.1f} {letter}"
    return f"{number:,.0f}"


def disk_space(count: float) -> str:
    """Bytes as `945 KB`, `1.9 MB`, `20.0 GB`."""
    return f"{short_number(count)}B" if count >= 1e6 else f"{count / 1e3:,.0f} KB"


def moment(time: str) -> str:
    """ISO 8601 as `20 November 2026, 23:04 UTC`."""
    at = datetime.fromisoformat(time).astimezone(UTC)
    return f"{at.day} {at:%B %Y, %H:%M} UTC"


def listed_words(names: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
