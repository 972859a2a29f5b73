"""The curves of a run: where each line, band and label of an SVG goes. A template draws them, on the report's page and
alone (curves.py): text stays text, and on a page colours follow its light and dark.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil, floor, log10

from pellucid.measures.intervals import Measured
from pellucid.reports.history import History, means, usual_mean
from pellucid.reports.words import percent

WIDTH, HEIGHT = 440, 270  # user units; about one pixel each on a desktop
LEFT, RIGHT, TOP, BOTTOM = 48, 356, 14, 232  # the axes' box; names of lines stand to the right of it
APART = 15  # between the names of two lines

Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    name: str
    points: str  # as SVG's polyline takes them
    end: Point
    label_y: float
    single: bool  # one epoch: a dot, no line


@dataclass(frozen=True)
class Chart:
    """A drawing in user units; y grows downwards, as in SVG."""

    title: str
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    lines: tuple[Line, ...]
    band: str  # a polygon; empty where there is none
    whisker: tuple[float, float, float] | None  # x, upper y, lower y: stands for the band where there is one epoch
    best: Point | None
    level: tuple[float, str] | None  # y and name of a horizontal line
    summary: str  # the same in words, for who cannot see it
    batches: str = ""  # a polyline of batches' losses; empty where there is none
    every: int = 1  # of how many batches each of its points is the mean
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = RIGHT
    bottom: int = BOTTOM


def loss_chart(history: History, *, every: int | None = None) -> Chart:
    """Training and validation loss; the axis starts at 0. Behind them the mean loss of every so many batches.

    `every`: how many; by default so many that there are at most 200 points.
    """
    every = every or usual_mean(len(history.batches))
    batches = means(history.batches, every)
    learned = [(lap.epoch, lap.learned.loss) for lap in history.laps if lap.learned]
    validated = [(lap.epoch, lap.validated.loss) for lap in history.laps if lap.validated]
    highest = max((value for _, value in (*learned, *validated)), default=1.0)
    seen = min(max((value for _, value in batches), default=0.0), 1.5 * highest)  # one bad batch hides no curve
    ticks = nice_ticks(0.0, max(highest, seen))
    best = None if history.best is None else (history.best.epoch, history.best.loss)
    named = [(tick, f"{tick:g}") for tick in ticks]
    drawn = _chart("Loss", learned, validated, named, batches=batches, best=best, said=_loss_words)
    return replace(drawn, every=every)


def accuracy_chart(history: History, *, commonest: float | None) -> Chart:
    """Training and validation accuracy with validation's interval; the axis starts at 0 % or, above it all, at 50 %.

    `commonest`: the share of the largest class in validation, which always answering it would reach.
    """
    learned = [(lap.epoch, lap.learned.accuracy.value or 0.0) for lap in history.laps if lap.learned]
    intervals = [(lap.epoch, lap.validated.accuracy) for lap in history.laps if lap.validated]
    validated = [(epoch, accuracy.value or 0.0) for epoch, accuracy in intervals]
    lows = [accuracy.low or 0.0 for _, accuracy in intervals]
    start = 0.5 if min((*lows, *(value for _, value in learned), commonest or 1.0), default=0.0) >= 0.5 else 0.0
    ticks = [start + step * (1 - start) / 5 for step in range(6)]
    best = None if history.best is None else (history.best.epoch, history.best.accuracy.value or 0.0)
    return _chart(
        "Accuracy",
        learned,
        validated,
        [(tick, f"{100 * tick:.0f} %") for tick in ticks],
        intervals=intervals,
        best=best,
        level=None if commonest is None else (commonest, "always the commonest class"),
        said=percent,
    )


def nice_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers from at most `low` to at least `high`, some `about` of them."""
    rough = max(high - low, 1e-9) / about
    size = 10.0 ** floor(log10(rough))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= rough * 0.999)
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    return [float(f"{step * index:.6g}") for index in range(first, last + 1)]


def _chart(
    title: str,
    learned: Sequence[Point],
    validated: Sequence[Point],
    ticks: Sequence[tuple[float, str]],
    *,
    said: Callable[[float], str],
    intervals: Sequence[tuple[int, Measured]] = (),
    batches: Sequence[Point] = (),
    best: Point | None = None,
    level: tuple[float, str] | None = None,
) -> Chart:
    epochs = [epoch for epoch, _ in (*learned, *validated)]
    first, last = 0 if len(batches) > 1 else min(epochs), max(epochs)
    low, high = ticks[0][0], ticks[-1][0]

    def x(epoch: float) -> float:
        along = 0.2 if first == last else (epoch - first) / (last - first)  # a lone epoch leaves room for names
        return round(LEFT + along * (RIGHT - LEFT), 1)

    def y(value: float) -> float:
        return round(BOTTOM - (min(value, high) - low) / (high - low) * (BOTTOM - TOP), 1)

    drawn = [
        (name, [(x(epoch), y(value)) for epoch, value in points])
        for name, points in (("train", learned), ("validation", validated))
        if points
    ]
    labels = _apart([points[-1][1] for _, points in drawn])
    lines = [
        Line(name, _joined(points), points[-1], label, len(points) == 1)
        for (name, points), label in zip(drawn, labels, strict=True)
    ]
    upper = [(x(epoch), y(accuracy.high)) for epoch, accuracy in intervals if accuracy.high is not None]
    lower = [(x(epoch), y(accuracy.low)) for epoch, accuracy in intervals if accuracy.low is not None]
    whole = [tick for tick in nice_ticks(first, last) if tick == int(tick) and first <= tick <= last]
    return Chart(
        title=title,
        x_ticks=tuple((x(tick), f"{tick:.0f}") for tick in (whole if len(whole) > 1 else sorted({first, last}))),
        y_ticks=tuple((y(value), name) for value, name in ticks),
        lines=tuple(lines),
        band=_joined([*upper, *reversed(lower)]) if len(upper) > 1 else "",
        whisker=(upper[0][0], upper[0][1], lower[0][1]) if len(upper) == 1 else None,
        best=None if best is None else (x(best[0]), y(best[1])),
        level=None if level is None else (y(level[0]), f"{level[1]}, {percent(level[0], 0)}"),
        summary=_summary(title, learned, validated, best, said),
        batches=_joined([(x(epoch), y(value)) for epoch, value in batches]) if len(batches) > 1 else "",
    )


def _apart(heights: list[float]) -> list[float]:
    """The heights of at most two names, moved apart where they would overlap."""
    if len(heights) < 2 or abs(heights[0] - heights[1]) >= APART:
        return heights
    middle, half = sum(heights) / 2, APART / 2
    return [middle - half, middle + half] if heights[0] < heights[1] else [middle + half, middle - half]


def _joined(points: Sequence[Point]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in points)


def _loss_words(value: float) -> str:
    return f"{value:.3f}"


def _summary(
    title: str, learned: Sequence[Point], validated: Sequence[Point], best: Point | None, said: Callable[[float], str]
) -> str:
    parts = [
        f"{name} went from {said(points[0][1])} to {said(points[-1][1])}"
        for name, points in (("training", learned), ("validation", validated))
        if points
    ]
    kept = f"; epoch {best[0]:.0f}, with {said(best[1])}, was the best" if best else ""
    return f"{title} by epoch: {', '.join(parts)}{kept}."
