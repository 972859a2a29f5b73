"""Where the time of a training went, and what to change where the network waited for its data."""

from pellucid.reports.words import disk_space, duration, percent, shares
from pellucid.runs.events import PixelsReady, Spent, Started

STARVED, WORTH_TELLING = 0.2, 5.0  # the share of a network's time spent waiting, and the seconds of it


def spent_words(spent: Spent) -> str:
    """`computing 82 %, waiting for data 3 %, validating 12 %, saving 3 %`, of all of it; "" where there is nothing."""
    parts = {
        "computing": spent.computing,
        "waiting for data": spent.waiting,
        "validating": spent.validating,
        "saving": spent.saving,
    }
    if not sum(parts.values()):
        return ""
    return ", ".join(f"{name} {share}" for name, share in zip(parts, shares(list(parts.values())), strict=True))


def starving(spent: Spent, started: Started | None, pixels: PixelsReady | None) -> str:
    """A sentence where the loader could not keep up; "" where it could."""
    share = spent.waiting / max(1e-9, spent.waiting + spent.computing)
    if share < STARVED or spent.waiting < WORTH_TELLING:
        return ""
    workers = started.workers if started else 0
    change = f"more processes that decode may help (--workers, which {'was' if workers == 1 else 'were'} {workers})"
    if pixels and not pixels.kept:
        size = disk_space(2 * pixels.needed).replace(" ", "")
        change = f"with --cache-size {size} decoded pixels are cached, or {change}"
    return f"The network waited for data {percent(share, 0)} of its time ({duration(spent.waiting)}): {change}."
