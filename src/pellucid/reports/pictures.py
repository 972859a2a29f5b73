"""The pictures people look at first, for notebooks: grids of samples, and of predictions with green and red titles.

Grids are matplotlib Figures (`.savefig("grid.png")`); pyplot's global state is left alone. A run's curves are those of
its report: see curves.py. report.html shows images in HTML: see html.py.
"""

import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from textwrap import fill
from typing import Any
from unicodedata import bidirectional

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from matplotlib.patches import Rectangle
from PIL import Image

from pellucid.errors import UserError, counted
from pellucid.images.decode import ImageLike, Unreadable, open_image
from pellucid.images.manifest import Split
from pellucid.images.samples import Sample, Samples
from pellucid.images.sources import read_samples
from pellucid.names import in_a_line
from pellucid.records import write
from pellucid.reports.curves import Curves, curves
from pellucid.reports.fonts import cells, families_for, writable
from pellucid.reports.formats import check_format, check_most
from pellucid.reports.palette import CROSS, INK, LIGHT, TICK
from pellucid.reports.picks import is_right, spread, spread_by_class
from pellucid.reports.words import percent
from pellucid.runs.evaluation import Evaluation
from pellucid.runs.first_batch import FirstBatch
from pellucid.runs.run_folder import RunFolder, is_run, open_whole
from pellucid.uses.predict import Failure, Prediction

CELL = 1.7  # inches a side of an image in a grid
LONGEST, LONGEST_SAID = 20, 14  # letters of a name in a grid; of one that stands beside other words
LEFT_TO_RIGHT = "\u200e"  # after a name, or Arabic and Hebrew ones would pull the number to their other side
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

    source: ImageLike
    title: str
    good: bool | None = None
    probability: float = 0.0
    problem: str = ""  # why there is nothing to show


def show(
    thing: Any,
    *,
    truth: Sequence[str] | None = None,
    images: Sequence[ImageLike] | None = None,
    most: int = 24,
    columns: int = 6,
    every: int | None = None,
) -> Figure | Curves:
    """Draw a data folder or Samples, a Split, a run folder, a first batch, an Evaluation, or a list of Predictions.

    A data folder becomes a grid of images with labels, a run its curves, a first batch what the network sees beside the
    files, an evaluation its mistakes beside some right predictions. With `truth`, predictions become right or wrong;
    `images` are what they were made of, where that was no files. `most` images are shown. The curves' thin line is the
    mean loss of `every` so many batches. Raises UserError for anything else.
    """
    if isinstance(thing, str | Path):
        thing = open_whole(thing) if is_run(thing) else read_samples(thing)
    predicted = isinstance(thing, Sequence) and bool(thing) and all(isinstance(p, Prediction | Failure) for p in thing)
    if every is not None and not isinstance(thing, RunFolder):
        raise UserError("every is for the curves of a run", hint="show(run, every=100)")
    if not predicted and (truth is not None or images is not None):
        raise UserError("truth and images are for a list of Predictions", hint="show(predictions, truth=[...])")
    check_most(most)
    match thing:
        case Samples() | Split():
            return image_grid(thing, most=most, columns=columns)
        case RunFolder():
            return curves(thing, every=every)
        case FirstBatch():
            return batch_grid(thing, most=most)
        case Evaluation():
            return prediction_grid(thing, most=most, columns=columns)
        case _ if predicted:
            return prediction_grid(thing, images=images, truth=truth, most=most, columns=columns)
    raise UserError(
        f"there is no picture of {type(thing).__name__} {thing!r}"[:200],
        hint="show takes a data folder, a run folder, a first batch, an Evaluation or a list of Predictions",
    )


def save(figure: Figure | Curves, path: Path) -> None:
    """Write the picture whole or not at all; its name says the format."""
    check_format(path)
    file = io.BytesIO()
    figure.savefig(file, format=path.suffix.lower().removeprefix("."))
    write(path, file.getvalue())


def batch_grid(batch: FirstBatch, *, most: int = 16) -> Figure:
    """What the network saw of its first images, beside the files they are, each in the same place."""
    shown = batch.shown
    number = min(most, len(shown.files))
    columns = min(4, number)
    files = [Tile(batch.file(place), _shortened(shown.classes[place])) for place in range(number)]
    labels = ["\n".join(map(_shortened, label.split("\n"))) for label in shown.labels]
    seen = [Tile(Image.fromarray(batch.pixels[place]), labels[place]) for place in range(number)]
    of = f"{number} of the {shown.images:,} images" if number < shown.images else counted(number, "image")
    lines = max(tile.title.count("\n") for tile in seen) + 1
    rows = -(-number // columns)
    what = f"What the network sees: {shown.size} x {shown.size}" + (f" ({shown.how})" if shown.how else "")
    with _style(tile.title for tile in (*files, *seen)):
        figure = Picture(figsize=(2 * columns * CELL + 0.5, rows * (CELL + 0.2 * lines + 0.1) + 0.8))
        figure.suptitle(f"The first batch: {of}", x=0.01, ha="left")
        halves: Any = figure.subfigures(1, 2, wspace=0.04)
        for half, tiles, title in zip(halves, (files, seen), ("The files", what), strict=True):
            half.suptitle(fill(title, 20 * columns), x=0.02, ha="left", fontweight="normal", color=LIGHT["muted"])
            _fill(half, tiles, rows=rows, columns=columns)
    return figure


def image_grid(data: Samples | Split | Sequence[Sample], *, most: int = 24, columns: int = 6) -> Figure:
    """Images with their labels, about equally many of each class; of a split, what is trained on."""
    samples = _labelled(data)
    classes = sorted({label for _, label in samples})
    shown = spread_by_class(samples, classes, lambda sample: sample[1], most)
    tiles = [Tile(path, _shortened(label)) for path, label in shown]
    title = f"{len(shown)} of {counted(len(samples), 'image')} in {counted(len(classes), 'class', 'classes')}"
    return _grid(tiles, columns=columns, title=title)


def prediction_grid(
    predictions: Evaluation | Sequence[Prediction | Failure],
    *,
    images: Sequence[ImageLike] | None = None,
    truth: Sequence[str | None] | None = None,
    most: int = 24,
    columns: int = 6,
) -> Figure:
    """Images with what was said of them: green with a tick where right, red with a cross where wrong.

    Where not all have room, half of it is for mistakes, the most confident first, and the rest is spread evenly over
    the other predictions.
    Predictions of files are drawn from these files; of anything else, give the `images`. With `truth`, predictions
    become right or wrong; None in it is where nobody knows.
    """
    if isinstance(predictions, Evaluation):
        said = [
            Tile(predictions.location(one), _said(one.best, one.probability, one.truth), is_right(one), one.probability)
            for one in predictions.predictions
        ]
        return _judged_grid(said, f"accuracy {predictions.accuracy}; here ", most=most, columns=columns)
    sources = images if images is not None else [prediction.name for prediction in predictions]
    if len(sources) != len(predictions) or (truth is not None and len(truth) != len(predictions)):
        raise UserError(f"{counted(len(predictions), 'prediction')} want as many images, and as many truths if any")
    if any(source is None for source in sources):
        raise UserError("these predictions do not name their images", hint="give them: images=[...]")
    truths: Sequence[str | None] = truth if truth is not None else [None] * len(predictions)
    tiles = [
        _tile(p, source, t) for p, source, t in zip(predictions, sources, truths, strict=True) if source is not None
    ]
    if any(tile.good is not None for tile in tiles):
        judged = [tile for tile in tiles if tile.good is not None]
        right = f"{sum(tile.good or False for tile in judged):,} of {counted(len(judged), 'prediction')} right; here "
        return _judged_grid(tiles, right, most=most, columns=columns)
    title = counted(len(tiles), "prediction")
    title = title if len(tiles) <= most else f"{most} of {title}, spread evenly from the first to the last"
    return _grid(spread(tiles, most), columns=columns, title=title)


def _tile(predicted: Prediction | Failure, source: ImageLike, truth: str | None) -> Tile:
    if isinstance(predicted, Failure):
        title = "not predicted" if truth is None else f"not predicted,\ntrue {_shortened(truth, LONGEST_SAID)}"
        return Tile(source, title, problem=predicted.error)
    good = None if truth is None else predicted.best == truth
    return Tile(source, _said(predicted.best, predicted.probability, truth), good, predicted.probability)


def _judged_grid(tiles: Sequence[Tile], title: str, *, most: int, columns: int) -> Figure:
    """Of those that were wrong the most confident first, then some of the others; all in their order if they fit."""
    wrong = sorted((tile for tile in tiles if tile.good is False), key=lambda tile: -tile.probability)
    others = [tile for tile in tiles if tile.good is not False]
    shown_wrong = wrong[: max(most // 2, most - len(others))]
    shown_others = spread(others, most - len(shown_wrong))
    shown_right, right = (sum(tile.good is True for tile in some) for some in (shown_others, others))
    kinds = [
        _of(len(shown_wrong), len(wrong), "mistake") + ", the most confident first" * (len(wrong) > 1),
        _of(shown_right, right, "right answer"),
        _of(len(shown_others) - shown_right, len(others) - right, "image") + " without a truth or an answer",
    ]
    there = (len(wrong), right, len(others) - right)
    here = ", ".join(kind for kind, number in zip(kinds, there, strict=True) if number)
    return _grid([*shown_wrong, *shown_others], columns=columns, title=title + here)


def _of(here: int, there: int, thing: str) -> str:
    return counted(there, thing) if here == there else f"{here:,} of {counted(there, thing)}"


def _labelled(data: Samples | Split | Sequence[Sample]) -> list[tuple[Path, str]]:
    return [(sample.path, sample.label) for sample in (data.part("train") if isinstance(data, Split) else data)]


def _said(best: str, probability: float, truth: str | None) -> str:
    turn = LEFT_TO_RIGHT if any(bidirectional(sign) in ("R", "AL") for sign in best) else ""
    said = f"predicted {_shortened(best, LONGEST_SAID)}{turn} {percent(probability, 0)}"
    return said if truth is None else f"{said},\ntrue {_shortened(truth, LONGEST_SAID)}"


def _grid(tiles: Sequence[Tile], *, columns: int, title: str) -> Figure:
    if not tiles:
        raise UserError("there is no image to show")
    if columns < 1:
        raise UserError(f"a grid has at least 1 column, not {columns}")
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    cell = CELL if all(tile.good is None and "predicted" not in tile.title for tile in tiles) else CELL + 0.5
    with _style(tile.title for tile in tiles):
        # A title takes two lines where the truth is named.
        figure = Picture(figsize=(max(columns * cell, 4.5), rows * (cell + 0.45) + 0.4))
        figure.set_layout_engine("constrained", w_pad=0.07)  # frames have some width
        if any("\\u" in tile.title for tile in tiles):
            title += "; letters that no font here has are written as codes (a font of theirs, Noto say, would help)"
        _fill(figure, tiles, rows=rows, columns=columns)
        words = fill(title, int(figure.get_figwidth() * 11))
        figure.suptitle(words, x=0.01, ha="left", parse_math=False)
    return figure


def _fill(figure: FigureBase, tiles: Sequence[Tile], *, rows: int, columns: int) -> None:
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, tile in zip(grid.flat, tiles, strict=False):
        _draw(axes, tile)


def _draw(axes: Axes, tile: Tile) -> None:
    """The image in a square, and its title; right and wrong have a frame, too."""
    axes.set_box_aspect(1)
    try:
        if tile.problem:
            raise Unreadable(str(tile.source), tile.problem)
        image = open_image(tile.source)
        image.thumbnail((SHARP, SHARP))
        axes.imshow(np.asarray(image))
        middle, half = (image.width / 2, image.height / 2), max(image.size) / 2
        axes.set(xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] + half, middle[1] - half))
    except (Unreadable, OSError) as cause:
        reason = cause.reason if isinstance(cause, Unreadable) else cause.strerror or "cannot be read"
        name = f"{_shortened(in_a_line(Path(tile.source).name))}: " if isinstance(tile.source, str | Path) else ""
        words = "\n".join(_wrapped(writable(f"{name}{reason}")).split("\n")[:8])
        axes.text(0.5, 0.5, words, ha="center", va="center", transform=axes.transAxes, parse_math=False, fontsize=8)
    lines = tile.title.split("\n")
    colour = INK
    if tile.good is not None:
        lines[0] = f"{TICK if tile.good else CROSS} {lines[0]}"
        colour = LIGHT["right-text" if tile.good else "wrong-text"]
        frame = LIGHT["right" if tile.good else "wrong"]
        width = 2 if tile.good else 4
        axes.add_patch(Rectangle((0, 0), 1, 1, transform=axes.transAxes, fill=False, ec=frame, lw=width, clip_on=False))
    axes.set_title("\n".join(lines), color=colour, fontsize=8.5, loc="center", parse_math=False)


def _shortened(words: str, most: int = LONGEST) -> str:
    """In a line; long names lose their middle: the end often tells classes apart."""
    words = writable(in_a_line(words))
    if cells(words) <= most:
        return words
    half = next(n for n in range(len(words), -1, -1) if cells(words[:n]) + cells(words[len(words) - n + 1 :]) < most)
    return f"{words[:half]}…{words[len(words) - half + 1 :]}" if half > 1 else f"{words[: max(1, half)]}…"


def _wrapped(words: str) -> str:
    return fill(words, 18)


@contextmanager
def _style(texts: Iterable[str]) -> Iterator[None]:
    """The look of every figure, in fonts that have the letters of `texts`."""
    style = resources.files("pellucid.reports") / "pellucid.mplstyle"
    with resources.as_file(style) as path, matplotlib.rc_context(fname=path):
        matplotlib.rcParams["font.family"] = families_for(texts)
        yield
