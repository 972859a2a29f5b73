"""Pillow's resize and our centre crop as nodes of an ONNX graph, for images of any height and width.

Pillow (src/libImaging/Resample.c) resizes in two passes, first along rows, then along columns. Each output pixel is a
weighted sum of those input pixels that its filter reaches; the filter grows with the ratio, which is what is meant by
antialias. Weights are rounded to 2^-22, and sums to 0..255 after each pass. ONNX's own Resize does neither, and not
every runtime has its antialias. From version 13 on, Pillow begins with the columns where they shrink much more than the
rows: the graph follows the Pillow that is installed where it is written.

Here a pass is a matrix product with its weights, made from the image's extent. Of an image no more is read than the
centre crop needs; what the crop has beyond the image has weights of 0, and is black. Where a pixel lies is computed in
whole numbers, so that no rounding moves a window; the weights in float64, as Pillow's; the products of both halves of a
weight's bits apart, so that float32 holds their sums exactly. A runtime that computes float64 in fewer bits rounds some
pixels to the level beside Pillow's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, pi

import numpy as np
import PIL

from pellucid.exports.expressions import Value, counted, joined
from pellucid.images.preprocessing import Preprocessing

# Output columns that are made at once of a strip of the image: few, so that a strip has few pixels which they do not
# need, and little of the image is held as float32 at a time.
TOGETHER = 8
STEPS = 1 << 22  # of a weight of 1
PART = 1 << 11  # of a weight's bits: sums of 64 products with 8 bits of a pixel are exact in float32
COLUMNS_FIRST = int(PIL.__version__.partition(".")[0]) >= 13


@dataclass(frozen=True)
class Line:
    """What is seen along one axis: its `side` is resized to `length`, of which `seen` pixels from `first` on are cut.

    All are whole numbers of the graph but `seen`. `first` may be below 0.
    """

    side: Value
    length: Value
    first: Value
    seen: int

    def places(self, number: int) -> tuple[Value, Value]:
        """Which resized pixels the first `number` of the crop are, and whether the image has them: both (number,)."""
        wanted = self.first + np.arange(number)
        places = wanted.at_least(0).at_most(self.length - 1)
        return places, wanted.equals(places)

    def where(self, condition: Value) -> "Line":
        """The same where a condition holds, elsewhere a single pixel."""
        side, length = (condition.then(each, 1) for each in (self.side, self.length))
        return Line(side, length, condition.then(self.first, 0), self.seen)

    @property
    def longer(self) -> Value:
        return self.side.at_least(self.length)


def cropped(image: Value, preprocessing: Preprocessing) -> Value:
    """preprocessing.crop as nodes: uint8 (N, height, width, 3) to uint8 (N, seen, seen, 3).

    Images that grow beyond MOST_RESIZED are not refused: nothing is made of them but the crop.
    """
    rows, columns = _lines(image, preprocessing)
    if preprocessing.interpolation is None:
        return _picked(image, rows, columns, lambda _, places: places)
    if preprocessing.interpolation == "nearest":
        return _picked(image, rows, columns, _nearest)
    interpolation = preprocessing.interpolation
    if not COLUMNS_FIRST:
        return _two_passes(image, rows, columns, interpolation).to(np.uint8)
    shrink = rows.side - rows.length
    tall = shrink.above(0) & shrink.above((columns.side - columns.length) * 2)
    # Both ways are computed, one of them of a single pixel: OpenVINO 2026.4 loses pixels that come out of an If.
    usual = _two_passes(image, rows.where(~tall), columns.where(~tall), interpolation)
    corner = [line.where(tall).side.shaped(1) for line in (rows, columns)]
    turned = image.cut([0, 0], joined(corner, 0), (1, 2)).turned(0, 2, 1, 3)
    other = _two_passes(turned, columns.where(tall), rows.where(tall), interpolation).turned(0, 2, 1, 3)
    return tall.then(other, usual).to(np.uint8)


def _two_passes(image: Value, rows: Line, columns: Line, interpolation: str) -> Value:
    return _down(_along(image, rows, columns, interpolation), rows, interpolation)


def _lines(image: Value, preprocessing: Preprocessing) -> tuple[Line, Line]:
    """Of the rows, one above the other, and of the columns."""
    sides = image.side(1), image.side(2)
    lengths = _resized(sides, preprocessing.resize)
    rows, columns = (
        Line(side, length, _centred(length, preprocessing.seen), preprocessing.seen)
        for side, length in zip(sides, lengths, strict=True)
    )
    return rows, columns


def _resized(sides: tuple[Value, Value], resize: int | tuple[int, int] | None) -> tuple[Value, Value]:
    """(height, width) after resizing, as preprocessing.resized has it."""
    height, width = sides
    if resize is None:
        return sides
    if isinstance(resize, tuple):
        return height.like(resize[0]), width.like(resize[1])
    shorter = height.at_most(width)
    return (height * resize / shorter).at_least(1), (width * resize / shorter).at_least(1)


def _centred(length: Value, seen: int) -> Value:
    """Where a centre crop starts, as preprocessing.centred has it: halves are rounded to the even number."""
    over, under = (length - seen).at_least(0), (-(length - seen)).at_least(0)
    half = over / 2
    return half + _odd(over) * _odd(half) - under / 2


def _odd(number: Value) -> Value:
    """1 of an odd number that is not below 0, and 0 of an even one."""
    return number - number / 2 * 2


def _picked(image: Value, rows: Line, columns: Line, source: Callable[[Line, Value], Value]) -> Value:
    """The crop of an image whose pixels are taken as they are, each from where `source` says; black elsewhere."""
    for axis, line in ((1, rows), (2, columns)):
        places, there = line.places(line.seen)
        image = there.shaped(-1, *(1,) * (3 - axis)).then(image.pick(source(line, places), axis), 0)
    return image


def _nearest(line: Line, places: Value) -> Value:
    """Which pixels of the side Pillow takes for `places`: those in which their centres lie.

    Pillow adds the ratio up in float64 (Geometry.c), so that a centre on an edge may come to lie just before it. A
    runtime without float64 may take the neighbour there.
    """
    twice = (places * 2 + 1) * line.side
    exact = twice / (line.length * 2)
    on_edge = (exact * line.length * 2).equals(twice)
    ratio = line.side.to(np.float64) / line.length.to(np.float64)
    # Half a ratio, and then as many whole ones as there are places before: one after the other, from the first on.
    numbers = counted(line.length)
    steps = numbers.equals(0).then(ratio * 0.5, ratio)
    before = steps.running_sum().pick(places).below(exact.to(np.float64))
    return (exact - (on_edge & before).to(np.int64)).at_least(0).at_most(line.side - 1)


def _along(image: Value, rows: Line, columns: Line, interpolation: str) -> Value:
    """The first pass, of the rows that the second needs: float32 (N, rows, 3 seen), whole numbers of 0..255."""
    strips = ceil(columns.seen / TOGETHER)
    top, height = _reach(rows, rows.places(1)[0], rows.seen, interpolation)
    places, there = (each.shaped(strips, TOGETHER) for each in columns.places(strips * TOGETHER))
    lefts, width = _reach(columns, places.pick(0, axis=1), TOGETHER, interpolation)
    sources = lefts.shaped(-1, 1) + counted(width).shaped(1, -1)
    parts = [_by_colour(part).apart(strips) for part in _weights(columns, places, there, sources, interpolation)]
    sums: tuple[list[Value], list[Value]] = ([], [])
    bottom, rights = top + height, lefts + width
    for left, right, *weights in zip(lefts.apart(strips), rights.apart(strips), *parts, strict=True):
        window = image.cut(joined([top, left], 0), joined([bottom, right], 0), (1, 2))
        strip = window.to(np.float32).shaped(0, 0, -1)
        for summed, part in zip(sums, weights, strict=True):
            summed.append(strip @ part.shaped(-1, 3 * TOGETHER))
    return _levels(*(joined(each, 2) for each in sums)).cut([0], [3 * columns.seen], (2,))


def _by_colour(weights: Value) -> Value:
    """(strips, TOGETHER, width) to (strips, 3 width, 3 TOGETHER): the colours of a pixel lie side by side."""
    spread = weights.turned(0, 2, 1).shaped(0, -1, 1, TOGETHER, 1) * np.eye(3).reshape(1, 1, 3, 1, 3)
    return spread.shaped(0, -1, 3 * TOGETHER)


def _down(made: Value, rows: Line, interpolation: str) -> Value:
    """The second pass: float32 (N, seen, seen, 3), of the rows that `_along` has made."""
    places, there = (each.shaped(1, -1) for each in rows.places(rows.seen))
    top, height = _reach(rows, places.pick(0, axis=1), rows.seen, interpolation)
    sources = (top + counted(height)).shaped(1, -1)
    parts = _weights(rows, places, there, sources, interpolation)
    levels = _levels(*(part.shaped(rows.seen, -1) @ made for part in parts))
    return levels.shaped(0, rows.seen, -1, 3)


def _levels(high: Value, low: Value) -> Value:
    """Sums of both parts of the weights, as Pillow rounds them, to 0..255."""
    carried = high + (low * (1 / PART)).floor() + STEPS / PART / 2
    return (carried * (PART / STEPS)).floor().at_least(0).at_most(255)


def _reach(line: Line, places: Value, number: int, interpolation: str) -> tuple[Value, Value]:
    """Where the input pixels start that `number` resized ones from each of `places` on need, and how many they are.

    As many for each place: some at the ends are not needed. No window leaves the image.
    """
    twice, reach = line.length * 2, line.longer * FILTERS[interpolation].reach
    width = ((line.side * (2 * number) + reach * 2) / twice + 4).at_most(line.side)
    starts = ((places * 2 + 1) * line.side - reach) / twice - 1
    return starts.at_least(0).at_most(line.side - width), width


def _weights(line: Line, places: Value, there: Value, sources: Value, interpolation: str) -> tuple[Value, Value]:
    """What each source counts for each place (strips, number), in STEPS: two of float32 (strips, number, width).

    The first times PART, and the second, are the weight. `sources` (strips, width) are all that a place's filter
    reaches, or more; where an image is not `there`, weights are 0.
    """
    place, source = places.shaped(0, -1, 1), sources.shaped(0, 1, -1)
    # Between their centres: whole numbers, 2 length times as many as input pixels.
    away = (source * 2 + 1) * line.length - (place * 2 + 1) * line.side
    if interpolation == "box":
        raw = _box(line, away, place, source).to(np.float64)
    else:
        raw = FILTERS[interpolation].weight((away.to(np.float64) / (line.longer * 2).to(np.float64)).abs())
    total = raw.sum(-1)
    share = raw / total.equals(0).then(total + 1, total)
    # Halves are rounded away from 0.
    whole = share.sign() * (share.abs() * STEPS + 0.5).floor() * there.to(np.float64).shaped(0, -1, 1)
    high = (whole * (1 / PART) + 0.5).floor()
    return high.to(np.float32), (whole - high * PART).to(np.float32)


def _box(line: Line, away: Value, places: Value, sources: Value) -> Value:
    """Whether a box reaches a source. What lies on its edge is in or out by how Pillow's float64 are rounded."""
    ratio = line.side.to(np.float64) / line.length.to(np.float64)
    scale = ratio.at_least(1.0)
    centre, half = (places.to(np.float64) + 0.5) * ratio, scale * 0.5
    at = sources.to(np.float64)
    x = (at - centre + 0.5) * (scale.like(1.0) / scale)
    within = x.above(-0.5) & ~x.above(0.5)
    window = ~at.below((centre - half + 0.5).floor()) & at.below((centre + half + 0.5).floor())
    return away.abs().below(line.longer) | (away.abs().equals(line.longer) & within & window)


@dataclass(frozen=True)
class Filter:
    """`weight` of a distance that is not below 0, in input pixels or, where the image shrinks, in output pixels.

    `reach`: twice the distance from which on it is 0.
    """

    reach: int
    weight: Callable[[Value], Value]


def _bilinear(x: Value) -> Value:
    return (-x + 1.0).at_least(0.0)


def _hamming(x: Value) -> Value:
    return x.below(1.0).then(_sinc(x) * ((x * pi + pi / 2).sin() * 0.46 + 0.54), 0.0)


def _bicubic(x: Value) -> Value:
    near = (x * 1.5 - 2.5) * x * x + 1.0
    far = (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5
    return x.below(1.0).then(near, x.below(2.0).then(far, 0.0))


def _lanczos(x: Value) -> Value:
    return x.below(3.0).then(_sinc(x) * _sinc(x / 3.0), 0.0)


def _sinc(x: Value) -> Value:
    turned = x * pi
    return x.equals(0.0).then(x + 1.0, turned.sin() / turned)


FILTERS = {
    "box": Filter(1, lambda x: x),  # see _box
    "bilinear": Filter(2, _bilinear),
    "hamming": Filter(2, _hamming),
    "bicubic": Filter(4, _bicubic),
    "lanczos": Filter(6, _lanczos),
}
