"""Count a table: output shapes, parameters, multiply-adds, receptive fields. Needs nothing but the table."""

from dataclasses import dataclass, replace
from math import ceil, prod

from pellucid.architectures.catalog import architecture
from pellucid.architectures.layers import (
    MOST_PER_CHANNEL,
    Architecture,
    Branches,
    Chain,
    Conv,
    Conventions,
    Dropout,
    Flatten,
    GlobalPool,
    Layer,
    Linear,
    Pool,
    Probabilities,
    Relu,
    Residual,
    Separable,
    cut,
    filled,
    made_concrete,
)
from pellucid.architectures.main_path import MainPath, through
from pellucid.architectures.numbers import check_numbers
from pellucid.architectures.rows import ADDED, EndPoint, LayerRow, Structure, Totals
from pellucid.architectures.squeeze import unsqueezed
from pellucid.errors import UserError, listed, nearest

WIDEST = 64  # times the published channels
LARGEST_SIZE = 4096  # pixels per side: where the search for the smallest size that works ends


@dataclass(frozen=True)
class Map:
    """What flows between two layers. `height` and `width` are 0 once it is a vector.

    `stride` is how many input pixels one cell is from the next, `field` how many a cell has seen, down and across, and
    `start` where the first cell's field begins; negative where that lies in the padding. `uneven`: cells have not all
    seen as much, or lie at uneven distances; the field is then that of all cells together.
    """

    channels: int
    height: int
    width: int
    stride: int = 1
    field: tuple[int, int] = (1, 1)
    start: tuple[int, int] = (0, 0)
    uneven: bool = False

    @property
    def sight(self) -> tuple[tuple[int, int], int] | tuple[None, None]:
        """Field and stride of each cell, where they are the same for all."""
        return (None, None) if self.uneven else (self.field, self.stride)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.channels, self.height, self.width) if self.height else (self.channels,)

    def __str__(self) -> str:
        """As the tables write it: height x width x channels."""
        return f"{self.height}x{self.width}x{self.channels}" if self.height else str(self.channels)


@dataclass(frozen=True)
class Step:
    """One end point as it is built: its layer, the end point it starts from, what enters it and what leaves it."""

    name: str
    source: str
    layer: Layer
    before: Map
    after: Map


class _TooSmall(Exception):
    """A map became smaller than the window that slides over it."""


def structure(
    net: str | Architecture,
    *,
    size: int | None = None,
    batch: int = 1,
    classes: int = 1000,
    width: float = 1.0,
    auxiliary: bool = False,
    conventions: str = "torch",
    last: str | None = None,
    spatial_squeeze: bool = True,
    until: str | None = None,
) -> Structure:
    """Count the network `net`, a name or a table, for `batch` images of `size` pixels per side.

    `until` is the last end point counted. Raises UserError for unknown names, nonsense numbers, and a size that is too
    small (and says which works).
    """
    table = opened(architecture(net) if isinstance(net, str) else net, last, spatial_squeeze=spatial_squeeze)
    size = table.size if size is None else size
    check_numbers(batch=batch)
    steps = walk(table, size=size, classes=classes, width=width, auxiliary=auxiliary, conventions=conventions)
    if until is not None:
        until = check_end_point(table.name, tuple(step.name for step in steps), until)
    rows: list[LayerRow] = []
    ends = []
    heads = {head.name for head in table.heads}
    paths = {"": MainPath()}
    for step in steps:
        paths[step.name] = paths[step.source].then(through(step.layer))
        measured_rows, after = _measure(step.name, step.layer, step.before, chosen_conventions(table, conventions))
        inside = [replace(row, output=(batch, *row.output), memory=batch * row.memory) for row in measured_rows]
        output = (batch, *after.shape)
        field, stride = after.sight
        ends.append(EndPoint(step.name, output, field, stride, len(inside), Totals.of(inside)))
        rows += inside
        if step.name == until:
            break
    return Structure(
        name=table.name,
        size=size,
        batch=batch,
        classes=classes,
        rows=tuple(rows),
        totals=Totals.of(rows),
        ends=tuple(ends),
        main_path=next(paths[end.name] for end in reversed(ends) if end.name not in heads or len(ends) == 1),
        conventions=conventions,
    )


def walk(
    table: Architecture,
    *,
    size: int,
    classes: int,
    width: float = 1.0,
    dropout: float | None = None,
    auxiliary: bool = False,
    conventions: str = "torch",
) -> tuple[Step, ...]:
    """Each end point in order, with its concrete layer and the maps that enter and leave; heads only if asked for."""
    check_settings(table, classes=classes, width=width, size=size, auxiliary=auxiliary)
    try:
        return _walked(
            table,
            size=size,
            classes=classes,
            width=width,
            dropout=dropout,
            auxiliary=auxiliary,
            conventions=chosen_conventions(table, conventions),
        )
    except _TooSmall as cause:
        smallest = _smallest(table, auxiliary=auxiliary, conventions=conventions)
        raise UserError(
            f"{table.name} cannot take images of {size} x {size} pixels: nothing is left at {cause}",
            hint=f"the smallest size that works is {smallest}"
            + (f", or {_smallest(table, auxiliary=False, conventions=conventions)} without auxiliary" * auxiliary),
        ) from cause


def _walked(
    table: Architecture,
    *,
    size: int,
    classes: int,
    width: float,
    dropout: float | None,
    auxiliary: bool,
    conventions: Conventions,
) -> tuple[Step, ...]:
    heads = {head.name for head in table.heads}
    maps = {"": Map(3, size, size)}
    steps = []
    made = made_concrete(table, classes=classes, width=width, dropout=dropout, conventions=conventions)
    for end_point, source, layer in made:
        if end_point in heads and not auxiliary:
            continue
        try:
            maps[end_point] = _measure(end_point, layer, maps[source], conventions)[1]
        except _TooSmall as cause:
            raise _TooSmall(end_point) from cause
        steps.append(Step(end_point, source, layer, maps[source], maps[end_point]))
    return tuple(steps)


def cut_after(table: Architecture, last: str | None) -> Architecture:
    """The table, or, with `last`, the network that ends after that end point; UserError for one that is no map."""
    if last is None:
        return table
    last = check_end_point(table.name, table.end_points, last)
    made = {step.name: step.after for step in walk(table, size=table.size, classes=2)}
    if not made[last].height:
        maps = tuple(name for name, after in made.items() if after.height)
        raise UserError(f"{table.name} has no map at {last}, so it cannot end there", hint=f"it has {', '.join(maps)}")
    return cut(table, last)


def opened(table: Architecture, last: str | None, *, spatial_squeeze: bool) -> Architecture:
    """The table as options change it: ending early, or with what is averaged to one cell left a map."""
    if not isinstance(spatial_squeeze, bool):
        raise UserError(f"spatial_squeeze is true or false, not {spatial_squeeze!r}")
    table = cut_after(table, last)
    return table if spatial_squeeze else unsqueezed(table)


def chosen_conventions(table: Architecture, name: str) -> Conventions:
    """The table's conventions called `name`: torch or tensorflow."""
    if name not in ("torch", "tensorflow"):
        raise UserError(f"there are no conventions {name!r}", hint="there are torch and tensorflow")
    return table.torch if name == "torch" else table.tensorflow


def check_settings(table: Architecture, *, classes: int, width: float, size: int, auxiliary: bool = False) -> None:
    """Refuse what makes no network."""
    if auxiliary and not table.heads:
        raise UserError(
            f"{table.name} has no auxiliary head", hint="the Inception networks have some, except inception_v2"
        )
    check_numbers(size=size, classes=classes)
    if not 0 < width <= WIDEST:
        raise UserError(f"width is above 0 and at most {WIDEST}, not {width:g}", hint="1.0 is the network as published")


def check_end_point(network: str, known: tuple[str, ...], name: str) -> str:
    """The end point `name`, or the only one that begins so; UserError with the nearest for what is none."""
    if name not in known:
        begin = [one for one in known if name and one.startswith(name)]
        if len(begin) == 1:
            return begin[0]
        if begin:
            raise UserError(f"{network} has several end points that begin with {name}", listed(begin, 12))
        right = nearest(name, known)
        shown = ", ".join(known) if len(known) <= 12 else f"{known[0]} ... {', '.join(known[-8:])}"
        raise UserError(
            f"{network} has no end point {name!r}",
            [f"did you mean {right}?"] if right else [],
            hint=f"it has {shown}",
        )
    return name


def _smallest(table: Architecture, *, auxiliary: bool, conventions: str) -> int:
    chosen = chosen_conventions(table, conventions)
    for size in range(1, LARGEST_SIZE):
        try:
            _walked(table, size=size, classes=2, width=1.0, dropout=None, auxiliary=auxiliary, conventions=chosen)
        except _TooSmall:
            continue
        return size
    raise AssertionError(f"no image size works for {table.name}")


def _measure(name: str, layer: Layer, before: Map, conventions: Conventions) -> tuple[list[LayerRow], Map]:
    """The rows of `layer` and all within it, and the map that leaves."""
    match layer:
        case Chain(steps=steps):
            return _in_turn(name, steps, before, conventions)
        case Branches(paths=paths):
            measured = [_measure(f"{name}/{part}", step, before, conventions) for part, step in paths]
            return [row for rows, _ in measured for row in rows], _joined([after for _, after in measured])
        case Residual(shortcut=shortcut):
            rows, after = _in_turn(name, filled(layer, before.channels).steps, before, conventions)
            beside = before
            if shortcut is not None:
                more, beside = _measure(f"{name}/shortcut", shortcut, before, conventions)
                rows += more
            assert after.channels == beside.channels, "a unit adds maps of another number of channels to its input"
            added = replace(_joined([after, beside]), channels=after.channels)
            return [*rows, _row(f"{name}/{ADDED}", "addition", added)], added
        case Conv(out=int(out), bias=bias, norm=norm):
            kernel = fitting(layer, before)
            after = _slide(before, kernel, layer.stride, layer.pad, out, same=layer.same)
            weight = (out, before.channels, *kernel)
            return [_row(name, "convolution", after, weight, bias=bias, norm=norm, scaled=conventions.scaled)], after
        case Separable(out=out, kernel=kernel, stride=stride, pad=pad):
            between = before.channels * per_channel(layer, before.channels)
            apart = _slide(before, kernel, stride, pad, between, same=layer.same)
            after = replace(apart, channels=out)
            depthwise = _row(f"{name}/depthwise", "depthwise convolution", apart, (between, 1, *kernel))
            return [depthwise, _row(f"{name}/pointwise", "convolution", after, (out, between, 1, 1), bias=True)], after
        case Pool(kind=kind, kernel=side):
            window, pad = (side, side), (layer.pad, layer.pad)
            after = _slide(before, window, layer.stride, pad, before.channels, same=layer.same, beyond=layer.ceil)
            return [_row(name, f"{kind} pooling", after)], after
        case GlobalPool(cells=cells):
            after = _divided(before, cells)
            return [_row(name, "global average pooling", after)], after
        case Flatten():
            after = replace(
                before,
                channels=before.channels * before.height * before.width,
                height=0,
                width=0,
                field=_all_of(before),
                uneven=False,
            )
            return [_row(name, "flatten", after)], after
        case Linear(out=int(out)):
            one_cell = layer.spatial and (before.height, before.width) == (1, 1)
            assert one_cell or not before.height, "a linear layer takes a vector: flatten the map first"
            after = replace(before, channels=out)
            return [_row(name, "linear", after, (out, before.channels), bias=True)], after
        case Relu() | Dropout() | Probabilities():
            return [_row(name, type(layer).__name__.lower(), before)], before
    raise AssertionError(f"{layer} is left open")


def measured(layer: Layer, before: Map, conventions: Conventions) -> Map:
    """What leaves `layer`, whatever its name."""
    return _measure("", layer, before, conventions)[1]


def fitting(layer: Conv, before: Map) -> tuple[int, int]:
    """The kernel of `layer`: no larger than its map where it is to fit, as TF-Slim cuts it."""
    height, width = layer.kernel
    return (min(height, before.height), min(width, before.width)) if layer.fits else (height, width)


def per_channel(layer: Separable, channels: int) -> int:
    """How many maps a separable convolution makes of each channel before it mixes them."""
    return max(1, min(layer.out // channels, MOST_PER_CHANNEL))


def _in_turn(
    name: str, steps: tuple[tuple[str, Layer], ...], before: Map, conventions: Conventions
) -> tuple[list[LayerRow], Map]:
    rows: list[LayerRow] = []
    for part, step in steps:
        more, before = _measure(f"{name}/{part}", step, before, conventions)
        rows += more
    return rows, before


def _joined(maps: list[Map]) -> Map:
    """Maps of one size side by side: a cell has seen what any of them has."""
    assert len({(one.height, one.width) for one in maps}) == 1, "branches that end in maps of different sizes"
    down, across = (
        (min(one.start[axis] for one in maps), max(one.start[axis] + one.field[axis] for one in maps))
        for axis in (0, 1)
    )
    return replace(
        maps[0],
        channels=sum(one.channels for one in maps),
        start=(down[0], across[0]),
        field=(down[1] - down[0], across[1] - across[0]),
        uneven=any(one.uneven for one in maps),
    )


def _divided(before: Map, cells: int) -> Map:
    """The map after its cells were averaged in `cells` x `cells` groups: these differ, or overlap, unless they fit."""
    sides = (before.height, before.width)
    if sides == (cells, cells):
        return before
    if cells > 1 and not any(side % cells for side in sides) and sides[0] == sides[1] and not before.uneven:
        group = sides[0] // cells
        return _slide(before, (group, group), group, (0, 0), before.channels, same=False)
    return replace(before, height=cells, width=cells, field=_all_of(before), uneven=cells > 1)


def _all_of(before: Map) -> tuple[int, int]:
    """The field of a cell that has seen every cell of `before`."""
    if before.uneven:
        return before.field
    down, across = before.field
    return (
        down + (max(before.height, 1) - 1) * before.stride,
        across + (max(before.width, 1) - 1) * before.stride,
    )


def _slide(
    before: Map,
    kernel: tuple[int, int],
    stride: int,
    pad: tuple[int, int],
    channels: int,
    *,
    same: bool,
    beyond: bool = False,
) -> Map:
    """The map after a window has slid over `before`."""
    sides, starts, fields = [], [], []
    for axis, side in enumerate((before.height, before.width)):
        window = kernel[axis]
        if same:
            cells, ahead = ceil(side / stride), same_padding(side, window, stride)[0]
        else:
            cells, ahead = (side + 2 * pad[axis] - window) // stride + 1, pad[axis]
            # A window that reaches beyond the edge counts if it begins before it.
            over = (side + 2 * pad[axis] - window) % stride
            cells += beyond and over > 0 and cells * stride < side + pad[axis]
        if cells < 1 or side < 1:
            raise _TooSmall
        sides.append(cells)
        starts.append(before.start[axis] - ahead * before.stride)
        fields.append(before.field[axis] + (window - 1) * before.stride)
    stride *= before.stride
    seen = before.field if before.uneven else (fields[0], fields[1])
    return Map(channels, sides[0], sides[1], stride, seen, (starts[0], starts[1]), before.uneven)


def same_padding(side: int, window: int, stride: int) -> tuple[int, int]:
    """What TensorFlow's SAME puts before and after `side` cells."""
    total = max((ceil(side / stride) - 1) * stride + window - side, 0)
    return total // 2, total - total // 2


def _row(
    name: str,
    kind: str,
    after: Map,
    weight: tuple[int, ...] = (),
    *,
    bias: bool = False,
    norm: bool = False,
    scaled: bool = True,
) -> LayerRow:
    out = weight[:1]
    cells = after.height * after.width or 1
    field, stride = after.sight
    return LayerRow(
        name=name,
        kind=kind,
        output=after.shape,
        weight=weight,
        bias=out if bias else (),
        norm=out if norm else (),
        parameters=(prod(weight) if weight else 0) + sum(out) * (bias + (1 + scaled) * norm),
        multiply_adds=prod(weight) * cells if weight else 0,
        field=field,
        stride=stride,
        memory=4 * prod(after.shape),
    )
