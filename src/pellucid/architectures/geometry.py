"""Count a table: output shapes, parameters, multiply-adds, receptive fields. Needs nothing but the table."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod

from pellucid.architectures.catalog import architecture
from pellucid.architectures.layers import (
    Architecture,
    Chain,
    Conv,
    Dropout,
    Flatten,
    GlobalPool,
    Layer,
    Linear,
    Pool,
    Probabilities,
    Relu,
    Residual,
    made_concrete,
)
from pellucid.errors import UserError, nearest

WIDEST = 64  # times the published channels
LARGEST_SIZE = 4096  # pixels a side: where the search for the smallest size that works ends


@dataclass(frozen=True)
class Map:
    """What flows between two layers. `height` and `width` are 0 once it is a vector.

    `stride` is how many input pixels one step is, `field` how many a side one cell has seen.
    """

    channels: int
    height: int
    width: int
    stride: int = 1
    field: int = 1

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.channels, self.height, self.width) if self.height else (self.channels,)

    def __str__(self) -> str:
        """As the tables write it: height x width x channels."""
        return f"{self.height}x{self.width}x{self.channels}" if self.height else str(self.channels)


@dataclass(frozen=True)
class LayerRow:
    """One layer. Shapes are torch's; multiply-adds are for one image; field and stride in input pixels."""

    name: str
    kind: str
    output: tuple[int, ...]
    weight: tuple[int, ...]
    bias: tuple[int, ...]
    norm: tuple[int, ...]
    parameters: int
    multiply_adds: int
    field: int
    stride: int


@dataclass(frozen=True)
class Totals:
    parameters: int
    multiply_adds: int


@dataclass(frozen=True)
class Structure:
    """A network, layer by layer, in the order of execution; `totals` are the sums of the rows."""

    name: str
    size: int
    batch: int
    classes: int
    rows: tuple[LayerRow, ...]
    totals: Totals


class _TooSmall(Exception):
    """A map became smaller than the window that slides over it."""


def structure(
    name: str,
    *,
    size: int | None = None,
    batch: int = 1,
    classes: int = 1000,
    width: float = 1.0,
    until: str | None = None,
) -> Structure:
    """Count the network `name` for `batch` images of `size` pixels a side; `until` is the last end point counted.

    Raises UserError for unknown names, nonsense numbers, and a size that is too small (and says which works).
    """
    table = architecture(name)
    size = table.size if size is None else size
    check_settings(table, classes=classes, width=width, size=size)
    if batch < 1:
        raise UserError(f"batch is at least 1, not {batch}")
    if until is not None:
        check_end_point(table.name, table.end_points, until)
    rows = []
    for end_point, layer, before, _ in walk(table, size=size, classes=classes, width=width):
        rows += [replace(row, output=(batch, *row.output)) for row in _measure(end_point, layer, before)[0]]
        if end_point == until:
            break
    totals = Totals(
        parameters=sum(row.parameters for row in rows), multiply_adds=sum(row.multiply_adds for row in rows)
    )
    return Structure(name=name, size=size, batch=batch, classes=classes, rows=tuple(rows), totals=totals)


def walk(
    table: Architecture, *, size: int, classes: int, width: float = 1.0, dropout: float | None = None
) -> Iterator[tuple[str, Layer, Map, Map]]:
    """Each end point with its concrete layer, the map that enters and the map that leaves."""
    before = Map(3, size, size)
    for end_point, layer in made_concrete(table, classes=classes, width=width, dropout=dropout):
        try:
            _, after = _measure(end_point, layer, before)
        except _TooSmall as cause:
            raise UserError(
                f"{table.name} cannot take images of {size} x {size} pixels: nothing is left at {end_point}",
                hint=f"the smallest size that works is {_smallest(table)}",
            ) from cause
        yield end_point, layer, before, after
        before = after


def check_settings(table: Architecture, *, classes: int, width: float, size: int) -> None:
    """Refuse numbers that make no network."""
    if classes < 1:
        raise UserError(f"{table.name} needs at least 1 class, not {classes}")
    if not 0 < width <= WIDEST:
        raise UserError(f"width is above 0 and at most {WIDEST}, not {width:g}", hint="1.0 is the network as published")
    if size < 1:
        raise UserError(f"size is at least 1 pixel, not {size}", hint=f"{table.name} was designed for {table.size}")


def check_dropout(dropout: float | None) -> None:
    """Refuse a share of activations to drop that is none."""
    if dropout is not None and not 0 <= dropout < 1:
        raise UserError(f"dropout is at least 0 and below 1, not {dropout:g}", hint="0.5 drops every second activation")


def check_end_point(network: str, known: tuple[str, ...], name: str) -> None:
    """Refuse a name that is no end point, with the nearest that is."""
    if name not in known:
        right = nearest(name, known)
        shown = ", ".join(known) if len(known) <= 12 else f"{known[0]} ... {', '.join(known[-8:])}"
        raise UserError(
            f"{network} has no end point {name!r}",
            [f"did you mean {right}?"] if right else [],
            hint=f"it has {shown}",
        )


def _smallest(table: Architecture) -> int:
    for size in range(1, LARGEST_SIZE):
        here = Map(3, size, size)
        try:
            for end_point, layer in made_concrete(table, classes=2, width=1.0, dropout=None):
                _, here = _measure(end_point, layer, here)
        except _TooSmall:
            continue
        return size
    raise AssertionError(f"{table.name} works at no size")


def _measure(name: str, layer: Layer, before: Map) -> tuple[list[LayerRow], Map]:
    """The rows of `layer` and all within it, and the map that leaves."""
    match layer:
        case Chain(steps=steps):
            return _in_turn(name, steps, before)
        case Residual(steps=steps, shortcut=shortcut):
            rows, after = _in_turn(name, steps, before)
            if shortcut is not None:
                beside, _ = _measure(f"{name}/shortcut", shortcut, before)
                rows += beside
            return rows, after
        case Conv(out=out, kernel=kernel, bias=bias, norm=norm):
            after = _slide(before, kernel, layer.stride, layer.pad, out)
            weight = (out, before.channels, *kernel)
            row = _row(name, "convolution", after, weight, bias=bias, norm=norm)
            return [row], after
        case Pool(kind=kind, kernel=kernel):
            after = _slide(before, (kernel, kernel), layer.stride, (layer.pad, layer.pad), before.channels)
            return [_row(name, f"{kind} pooling", after)], after
        case GlobalPool():
            seen = before.field + (max(before.height, before.width) - 1) * before.stride
            after = replace(before, height=1, width=1, field=seen)
            return [_row(name, "global average pooling", after)], after
        case Flatten(cells=cells):
            area = before.height * before.width if cells is None else cells * cells
            seen = before.field + (max(before.height, before.width) - 1) * before.stride
            after = Map(before.channels * area, 0, 0, before.stride, seen)
            return [_row(name, "flatten", after)], after
        case Linear(out=int(out)):
            after = replace(before, channels=out)
            return [_row(name, "linear", after, (out, before.channels), bias=True)], after
        case Relu() | Dropout() | Probabilities():
            return [_row(name, type(layer).__name__.lower(), before)], before
    raise AssertionError(f"{layer} is left open")


def _in_turn(name: str, steps: tuple[tuple[str, Layer], ...], before: Map) -> tuple[list[LayerRow], Map]:
    rows: list[LayerRow] = []
    for part, step in steps:
        more, before = _measure(f"{name}/{part}", step, before)
        rows += more
    return rows, before


def _slide(before: Map, kernel: tuple[int, int], stride: int, pad: tuple[int, int], channels: int) -> Map:
    """The map after a window has slid over `before`."""
    sides = zip((before.height, before.width), pad, kernel, strict=True)
    height, width = ((side + 2 * p - k) // stride + 1 for side, p, k in sides)
    if height < 1 or width < 1:
        raise _TooSmall
    field = before.field + (max(kernel) - 1) * before.stride
    return Map(channels, height, width, before.stride * stride, field)


def _row(
    name: str, kind: str, after: Map, weight: tuple[int, ...] = (), *, bias: bool = False, norm: bool = False
) -> LayerRow:
    out = weight[:1]
    cells = after.height * after.width or 1
    return LayerRow(
        name=name,
        kind=kind,
        output=after.shape,
        weight=weight,
        bias=out if bias else (),
        norm=out if norm else (),
        parameters=(prod(weight) if weight else 0) + sum(out) * (bias + 2 * norm),
        multiply_adds=prod(weight) * cells if weight else 0,
        field=after.field,
        stride=after.stride,
    )
