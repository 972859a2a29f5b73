"""The pictures people look at first, for notebooks: sample grids, curves, predictions with green and red titles.

Each function returns a matplotlib Figure (`.savefig("grid.png")`); pyplot's global state is left alone. report.html
draws the same things in HTML: see html.py.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from PIL import Image

from pellucid.errors import UserError, counted
from pellucid.images.decode import Unreadable, open_image
from pellucid.images.sources import Sample, Samples, read_samples
from pellucid.images.split import Split, SplitFile
from pellucid.names import kind_of
from pellucid.reports.history import History, history
from pellucid.reports.palette import CROSS, INK, LIGHT, TICK
from pellucid.reports.picks import is_right, mistakes, right, spread, spread_by_class
from pellucid.reports.words import percent
from pellucid.runs.events import Epoch, Event, Validated
from pellucid.runs.run_folder import RunFolder, open_run
from pellucid.uses.evaluate import Evaluation
from pellucid.uses.predict import Prediction

Source = str | Path | bytes | Image.Image
CELL = 1.7  # inches a side of an image in a grid
SHARP = 256  # pixels of an image's longest side in a grid


class Picture(Figure):
    """A Figure that a notebook shows without pyplot."""

    def _repr_png_(self) -> bytes:
        png = io.BytesIO()
        self.savefig(png, format="png")
        return png.getvalue()


@dataclass(frozen=True)
class Tile:
    """An image in a grid; `good` is None where nobody knows the truth."""

    source: Source
    title: str
    good: bool | None = None


def show(thing: Any, *, most: int = 24, columns: int = 6) -> Figure:
    """Draw a data folder or Samples, a Split, a run folder, an Evaluation, or a list of Predictions.

    A data folder becomes a grid of images with labels, a run its curves, an evaluation its mistakes beside some right
    predictions. `most` images are shown. Raises UserError for anything else.
    """
    if isinstance(thing, str | Path):
        thing = open_run(thing) if kind_of(Path(thing) / "config.toml") == "file" else read_samples(thing)
    match thing:
        case Samples() | Split():
            return image_grid(thing, most=most, columns=columns)
        case RunFolder():
            return curves(thing)
        case Evaluation():
            return prediction_grid(thing, most=most, columns=columns)
        case [Prediction(), *_]:
            return prediction_grid(thing, most=most, columns=columns)
    raise UserError(
        f"there is no picture of {type(thing).__name__} {thing!r}"[:200],
        hint="show takes a data folder, a run folder, an Evaluation or a list of Predictions",
    )


def image_grid(data: Samples | Split | Sequence[Sample], *, most: int = 24, columns: int = 6) -> Figure:
    """Images with their labels, about equally many of each class; of a split, what is trained on."""
    samples = _labelled(data)
    classes = sorted({label for _, label in samples})
    shown = spread_by_class(samples, classes, lambda sample: sample[1], most)
    tiles = [Tile(path, label) for path, label in shown]
    title = f"{len(shown)} of {counted(len(samples), 'image')} in {counted(len(classes), 'class', 'classes')}"
    return _grid(tiles, columns=columns, title=title)


def curves(run: RunFolder | Sequence[Event]) -> Figure:
    """Loss and accuracy by epoch, in training and validation; the band is validation's 95 % interval."""
    course = history(run.events() if isinstance(run, RunFolder) else run)
    if not course.laps:
        raise UserError("there is no curve to draw: no epoch was finished")
    with _style():
        figure = Picture(figsize=(10, 4.2))
        for axes, measure in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
            _curve(axes, course, measure)
        best = course.best
        if best:
            figure.suptitle(f"Best in epoch {best.epoch}: validation accuracy {best.accuracy}", x=0.01, ha="left")
    return figure


def prediction_grid(
    predictions: Evaluation | Sequence[Prediction],
    *,
    images: Sequence[Source] | None = None,
    truth: Sequence[str] | None = None,
    most: int = 24,
    columns: int = 6,
) -> Figure:
    """Images with what was said of them: a green title and a tick where right, a red one and a cross where wrong.

    Of an Evaluation, half of the room is for mistakes, the most confident first. Predictions of files are drawn from
    these files; of anything else, give the `images`. With `truth`, predictions become right or wrong.
    """
    if isinstance(predictions, Evaluation):
        return _judged_grid(predictions, most=most, columns=columns)
    sources = images if images is not None else [prediction.name for prediction in predictions]
    if len(sources) != len(predictions) or (truth is not None and len(truth) != len(predictions)):
        raise UserError(f"{counted(len(predictions), 'prediction')} want as many images, and as many truths if any")
    if any(source is None for source in sources):
        raise UserError("these predictions do not name their images", hint="give them: images=[...]")
    truths: Sequence[str | None] = truth if truth is not None else [None] * len(predictions)
    tiles = [
        Tile(source, _said(p.best, p.probability, t), None if t is None else p.best == t)
        for p, source, t in zip(predictions, sources, truths, strict=True)
        if source is not None
    ]
    title = counted(len(tiles), "prediction") if len(tiles) <= most else f"{most} of {len(tiles):,} predictions"
    return _grid(tiles[:most], columns=columns, title=title)


def _judged_grid(evaluation: Evaluation, *, most: int, columns: int) -> Figure:
    wrong, good = mistakes(evaluation), right(evaluation)
    shown_wrong = wrong[: max(most // 2, most - len(good))]
    shown_good = spread(good, most - len(shown_wrong))
    tiles = [
        Tile(evaluation.location(judged), _said(judged.best, judged.probability, judged.truth), is_right(judged))
        for judged in (*shown_wrong, *shown_good)
    ]
    title = (
        f"accuracy {evaluation.accuracy}; here {len(shown_wrong)} of {counted(len(wrong), 'mistake')}, "
        f"the most confident first, and {len(shown_good)} of {len(good):,} right"
    )
    return _grid(tiles, columns=columns, title=title)


def _labelled(data: Samples | Split | Sequence[Sample]) -> list[tuple[Path, str]]:
    if isinstance(data, Split):
        files: Sequence[SplitFile] = data.part("train")
        return [(data.location(file), file.label) for file in files]
    return [(sample.path, sample.label) for sample in data]


def _said(best: str, probability: float, truth: str | None) -> str:
    said = f"{best} {percent(probability, 0)}"
    return said if truth in (None, best) else f"{said}\nis {truth}"


def _grid(tiles: Sequence[Tile], *, columns: int, title: str) -> Figure:
    if not tiles:
        raise UserError("there is no image to show")
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    with _style():
        # A title takes two lines where a mistake is named.
        figure = Picture(figsize=(max(columns * CELL, 4.5), rows * (CELL + 0.45) + 0.4))
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        for axes, tile in zip(grid.flat, tiles, strict=False):
            _draw(axes, tile)
        figure.suptitle(title, x=0.01, ha="left", parse_math=False, wrap=True)
    return figure


def _draw(axes: Axes, tile: Tile) -> None:
    try:
        image = open_image(tile.source)
        image.thumbnail((SHARP, SHARP))
        axes.imshow(np.asarray(image))
        middle, half = (image.width / 2, image.height / 2), max(image.size) / 2
        axes.set(xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] + half, middle[1] - half))
    except Unreadable as cause:
        axes.text(0.5, 0.5, _wrapped(cause.reason), ha="center", va="center", transform=axes.transAxes)
    lines = [_shortened(line) for line in tile.title.split("\n")]
    if tile.good is not None:
        lines[0] = f"{TICK if tile.good else CROSS} {lines[0]}"
    colour = INK if tile.good is None else LIGHT["right-text" if tile.good else "wrong-text"]
    axes.set_title("\n".join(lines), color=colour, fontsize=9, loc="center", parse_math=False)


def _shortened(words: str, most: int = 20) -> str:
    """Long names lose their middle: the end often tells classes apart."""
    return words if len(words) <= most else f"{words[: most // 2]}…{words[-(most // 2 - 1) :]}"


def _wrapped(words: str) -> str:
    return fill(words, 18)


def _curve(axes: Axes, course: History, measure: str) -> None:
    learned = [lap.learned for lap in course.laps if lap.learned]
    validated = [lap.validated for lap in course.laps if lap.validated]
    both: list[Epoch | Validated] = [*learned, *validated]
    ends = []
    points: Sequence[Epoch | Validated]
    for points, name, style in ((learned, "train", "--"), (validated, "validation", "-")):
        if points:
            epochs, values = [p.epoch for p in points], [_value(p, measure) for p in points]
            colour = LIGHT["muted"] if name == "train" else INK
            axes.plot(epochs, values, style, color=colour, marker="o" if len(points) == 1 else None)
            ends.append((values[-1], epochs[-1], name, colour))
    if measure == "accuracy":
        _band(axes, validated)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
        lowest = min((p.accuracy.low or 0.0 for p in both), default=0.0)
        axes.set_ylim(0.5 if lowest >= 0.5 else 0.0, 1.0)
    else:
        axes.set_ylim(0.0, 1.05 * max(p.loss for p in both))
    if course.best:
        axes.plot(course.best.epoch, _value(course.best, measure), "o", ms=9, mfc="none", mec=INK, mew=1.5)
    for place, (value, epoch, name, colour) in enumerate(sorted(ends)):
        side = "center" if len(ends) == 1 else "bottom" if place else "top"
        axes.annotate(name, (epoch, value), xytext=(6, 0), textcoords="offset points", color=colour, va=side)
    axes.margins(x=0.02)
    if len(course.laps) == 1:
        axes.set_xticks([course.laps[0].epoch])
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    axes.set_title(measure)


def _band(axes: Axes, validated: Sequence[Validated]) -> None:
    epochs = [event.epoch for event in validated]
    low, high = ([getattr(event.accuracy, side) for event in validated] for side in ("low", "high"))
    if len(epochs) == 1:
        axes.vlines(epochs, low, high, color=INK, alpha=0.5)
    else:
        axes.fill_between(epochs, low, high, color=INK, alpha=0.12, linewidth=0)


def _value(event: Any, measure: str) -> float:
    return float(event.loss if measure == "loss" else event.accuracy.value)


@contextmanager
def _style() -> Iterator[None]:
    style = resources.files("pellucid.reports") / "pellucid.mplstyle"
    with resources.as_file(style) as path, matplotlib.rc_context(fname=path):
        yield
