"""A counted network as a table for the terminal, 80 columns wide. Apart from text.py, so that it answers at once."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pellucid.architectures.rows import EndPoint, LayerRow, Structure, Totals
from pellucid.errors import counted
from pellucid.reports.words import short_number

if TYPE_CHECKING:
    from pellucid.inspection.flow import Flow
    from pellucid.inspection.timing import LayerTime, Times

LAYERS = ("layer", "output", " weight", "parameters", "mult-\nadds", "field/\nstride")
NOTHING = Totals(0, 0, 0)
ENDS = ("end point", "output", "layers", "parameters", "multiply-\nadds", "memory\nMB", "field/\nstride")


def structure_text(structure: Structure, *, every_layer: bool = False) -> RenderableType:
    """One row per end point and the totals; or per layer, indented under its block, with each end point's sums."""
    images = f"{counted(structure.batch, 'image')} of {structure.size} x {structure.size} pixels"
    if structure.names:
        notes = [f"(in brackets): no layer in {structure.names}; our name for it", "b: with bias, n: with batch norm"]
        return _grouped(structure, images, notes, every_layer=True)
    notes = ["multiply-adds are for one image"]
    if every_layer:
        notes[0] += "; b: with bias, n: with batch norm"
    if structure.totals.uncounted:
        notes.append(
            f"?: not known, of {counted(structure.totals.uncounted, 'layer')}; >: at least this, without those layers"
        )
    if any(end.field for end in structure.ends):
        notes.append("field/stride: image pixels per side that one cell sees, and from cell to cell")
    if not every_layer:
        notes += ["memory: what the outputs of the layers take in float32, in megabytes"]
        notes += ["end point: a named place in the network; a row sums the layers that end there"]
        notes += ["--all shows every layer"]
    return _grouped(structure, images, notes, every_layer=every_layer)


def _grouped(structure: Structure, images: str, notes: Sequence[str], *, every_layer: bool) -> RenderableType:
    return Group(
        Text(f"{structure.name}: {images}{_outputs(structure.classes)}", style="bold"),
        *(Text(line) for line in _about(structure)),
        Text(""),
        _elsewhere(structure) if structure.names else _layers(structure) if every_layer else _ends(structure),
        Text(""),
        *(Text(note, style="dim") for note in notes),
    )


def _about(structure: Structure) -> Iterator[str]:
    """Whose conventions and names these are, and how deep the network is."""
    whose = {"torch": "torch's", "tensorflow": "TensorFlow's"}.get(structure.conventions or "")
    rules = f"{whose} conventions of padding and averaging" if whose else ""
    if known := [words for words in (rules, f"names of {structure.names}" if structure.names else "") if words]:
        yield ", ".join(known)
    if structure.main_path is not None:
        yield depth_words(structure)


def depth_words(structure: Structure) -> str:
    """49 convolutions and 1 linear layer of a ResNet-50; how many lie beside it."""
    path, every = structure.main_path, sum(1 for row in structure.rows if row.weight)
    assert path is not None
    kinds = [(path.convolutions, "convolution", "convolutions"), (path.linear, "linear", "linear")]
    words = ", ".join(counted(number, one, many) for number, one, many in kinds if number)
    beside = f"\n{counted(every - path.layers, 'more', 'more')} beside it" if every > path.layers else ""
    layers = counted(path.layers, "layer with weights", "layers with weights")
    return f"{layers} on the longest path{f' ({words})' * bool(words)}{beside}"


def _outputs(classes: int | None) -> str:
    return "" if classes is None else f", {counted(classes, 'class', 'classes')}"


def _ends(structure: Structure) -> Table:
    table = _table(ENDS, words=(0,))
    for end in structure.ends:
        table.add_row(Text(end.name), _shape(end.output), f"{end.layers}", *_sums(end.totals), _seen(end))
    table.add_section()
    table.add_row("all", "", f"{len(structure.rows)}", *_sums(structure.totals), "", style="bold")
    return table


def _elsewhere(structure: Structure) -> Table:
    """One row per layer, by the whole name that another library has for it."""
    table = _table(("layer", "output", " weight", "parameters"), words=(0, 2), apart=1)
    for row in structure.rows:
        parameters = f"{row.parameters:,}" if row.parameters else ""
        table.add_row(Text(row.called), _shape(row.output), Text(f" {_what(row)}"), parameters)
    table.add_section()
    table.add_row(counted(len(structure.rows), "layer"), "", "", f"{structure.totals.parameters:,}", style="bold")
    return table


def _layers(structure: Structure) -> Table:
    table = _table(LAYERS, words=(0, 2), apart=1)
    rows = iter(structure.rows)
    for end in structure.ends:
        many, place = end.layers > 1, f"{end.name.replace('.', '/')}/"
        if many:
            table.add_row(Text(end.name, "bold"))
        around: list[str] = []
        for row in islice(rows, end.layers):
            alone = not many and row.name.replace("/", ".") == end.name  # of containers that were taken apart
            *parts, last = [end.name] if alone else row.name.removeprefix(place).split("/")
            shared = _length_shared(parts, around)
            for depth, part in enumerate(parts[shared:], start=shared + 1):
                table.add_row(Text(" " * depth + part))
            around = parts
            layer = Text(" " * (len(parts) + many) + last)
            numbers = f"{row.parameters:,}" if row.parameters else "", _cost(row)
            table.add_row(layer, _shape(row.output), Text(f" {_what(row)}"), *numbers, _seen(row))
        if end.layers > 1:
            sums = f"{end.totals.parameters:,}", _cost(end.totals)
            table.add_row("in all", _shape(end.output), "", *sums, _seen(end), style="bold")
    table.add_section()
    totals = structure.totals
    layers = counted(len(structure.rows), "layer")
    table.add_row(layers, "", "", f"{totals.parameters:,}", _cost(totals), "", style="bold")
    return table


def _length_shared(one: Sequence[str], other: Sequence[str]) -> int:
    """How many of their first parts are the same."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _table(columns: Sequence[str], *, words: Sequence[int], apart: int = 2) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, apart - 1, 0, 0))
    for index, name in enumerate(columns):
        table.add_column(Text(name), justify="left" if index in words else "right", overflow="fold", no_wrap=index > 0)
    return table


def _sums(totals: Totals) -> tuple[str, str, str]:
    parameters = f"{totals.parameters:,}" if totals.parameters else ""
    return parameters, _cost(totals), f"{totals.memory / 1e6:.1f}"


def _cost(counted: LayerRow | Totals) -> str:
    """Multiply-adds: nothing for none, ? where they are not known, > for a sum that lacks some."""
    if counted.multiply_adds is None:
        return "?"
    return ">" * bool(isinstance(counted, Totals) and counted.uncounted) + _short(counted.multiply_adds)


def times_text(structure: Structure, times: "Times", *, every_layer: bool = False) -> RenderableType:
    """One row per end point, or per layer: its milliseconds, its share of the whole, and of the peak."""
    from pellucid.inspection.timing import percentile  # brings torch

    backward = any(layer.backward is not None for layer in times.layers)
    columns = ["end point", "forward\nms", "5 % to 95 %", "share", "GFLOP/s", "of peak", *(["backward\nms"] * backward)]
    table = _table(columns, words=(0,))
    rows = iter(structure.rows)
    homes = {row.name: end.name for end in structure.ends for row in islice(rows, end.layers)}
    by_name: dict[str, list[LayerTime]] = {}
    for layer in times.layers:
        by_name.setdefault(layer.name if every_layer else homes[layer.name], []).append(layer)
    counts = {row.name: row.multiply_adds for row in structure.rows} if every_layer else {}
    counts = counts or {end.name: end.totals.multiply_adds for end in structure.ends}
    costs = {name: 2 * structure.batch * multiply_adds for name, multiply_adds in counts.items() if multiply_adds}
    for name, layers in by_name.items():
        repeats = [sum(moments) for moments in zip(*(layer.forward for layer in layers), strict=True)]
        low, middle, high = (percentile(repeats, share) for share in (5, 50, 95))
        speed = costs.get(name, 0) / middle * 1e3
        numbers = [f"{middle:.2f}", f"{low:.2f} to {high:.2f}", f"{100 * middle / times.whole:.1f} %"]
        numbers += [f"{speed / 1e9:,.0f}", f"{100 * speed / times.peak:.0f} %"] if speed else ["", ""]
        if backward:
            numbers.append(f"{sum(one.backward or 0 for one in layers):.2f}")
        table.add_row(Text(name), *numbers)
    return Group(
        Text(
            f"{structure.name}: {counted(structure.batch, 'image')} of {structure.size} x {structure.size} pixels",
            "bold",
        ),
        Text(""),
        table,
        Text(""),
        Text(f"the whole network took {times.whole:.1f} ms; the rest up to 100 % is joining and adding maps"),
        Text(
            f"peak: {times.peak / 1e9:,.0f} GFLOP/s in a product of float32 matrices, "
            f"{counted(times.threads, 'thread')}, in the same run",
            style="dim",
        ),
    )


def flows_text(flows: "Sequence[Flow]") -> RenderableType:
    """One row per end point: how strong it is, and the share of its channels that say nothing."""
    table = _table(("end point", "mean", "spread", "dead\nchannels"), words=(0,))
    for flow in flows:
        dead = f"{100 * flow.dead:.1f} %" if flow.dead else ""
        table.add_row(Text(flow.name), f"{flow.mean:.3g}", f"{flow.deviation:.3g}", dead)
    return Group(
        table,
        Text(""),
        Text(
            "dead channels: all their cells have the same value for this image; --format html shows maps", style="dim"
        ),
    )


def comparison_text(one: Structure, other: Structure) -> RenderableType:
    """Two networks, end point by end point in the order of the first: what each has, and the difference in cost."""
    columns = [f"{name}\n{what}" for what in ("output", "M mult-adds") for name in (one.name, other.name)]
    table = _table(("end point", *columns, "difference"), words=(0,))
    names = list(dict.fromkeys(end.name for structure in (one, other) for end in structure.ends))
    left, right = ({end.name: end for end in structure.ends} for structure in (one, other))
    for name in names:
        ends = left.get(name), right.get(name)
        costs = [end.totals if end else NOTHING for end in ends]
        shapes = [_shape(end.output) if end else "–" for end in ends]
        table.add_row(Text(name), *shapes, *(_millions(cost) for cost in costs), _difference(*costs))
    table.add_section()
    first, second = one.totals, other.totals
    table.add_row("all", "", "", _millions(first), _millions(second), _difference(first, second), style="bold")
    lines = [
        _versus(other.name, one.name, "parameters", second.parameters, first.parameters),
        _versus(other.name, one.name, "multiply-adds", second.multiply_adds, first.multiply_adds),
        _versus(other.name, one.name, "activation memory", second.memory, first.memory),
    ]
    lines += [line for line in (_depths(one, other), _sights(one, other)) if line]
    return Group(table, Text(""), *(Text(line) for line in lines))


def _depths(one: Structure, other: Structure) -> str:
    """How many layers with weights each has on its longest path."""
    if one.main_path is None or other.main_path is None:
        return ""
    depths = other.main_path.layers, one.main_path.layers
    layers = counted(depths[0], "layer with weights", "layers with weights")
    return f"{other.name} has {layers} along its longest path, {one.name} has {depths[1]}"


def _sights(one: Structure, other: Structure) -> str:
    """What a cell of each one's last map has seen of the image."""
    fields = [end.field for net in (other, one) if (end := _last_map(net)) is not None and end.field is not None]
    if len(fields) < 2:
        return ""
    seen = [f"{down} x {across}" for down, across in fields]
    return f"a cell of the last map of {other.name} has seen {seen[0]} pixels, of {one.name} {seen[1]}"


def _last_map(net: Structure) -> EndPoint | None:
    maps = [end for end in net.ends if len(end.output) == 4 and end.name not in ("PreLogits", "Logits", "Predictions")]
    return maps[-1] if maps else None


def _versus(name: str, than: str, what: str, number: int | None, base: int | None) -> str:
    if number is None or base is None:
        return f"the {what} of {name if number is None else than} are not known"
    times = f"{number / base:.2f} times" if base else "against none"
    return f"{name} has {times} the {what} of {than}: {short_number(number)} to {short_number(base)}"


def _millions(totals: Totals) -> str:
    if totals.multiply_adds is None:
        return "?"
    return ">" * bool(totals.uncounted) + (f"{totals.multiply_adds / 1e6:,.1f}" if totals.multiply_adds else "")


def _difference(one: Totals, other: Totals) -> str:
    """In millions; nothing where there is none, and ? where a layer of either is not counted."""
    if one.uncounted or other.uncounted or one.multiply_adds is None or other.multiply_adds is None:
        return "?"
    number = other.multiply_adds - one.multiply_adds
    return f"{number / 1e6:+,.1f}" if number else ""


def _seen(row: LayerRow | EndPoint) -> str:
    if row.field is None:
        return ""
    return f"{_field(row.field)}/{row.stride}" if row.stride else _field(row.field)


def _what(row: LayerRow) -> str:
    """The weight's shape and what goes with it; the kind of layer where there is no weight."""
    if not row.weight:
        return row.kind.replace("global average", "global").replace("pooling", "pool")
    return _shape(row.weight) + (" b" if row.bias else "") + (" n" if row.norm else "")


def _field(field: tuple[int, int]) -> str:
    down, across = field
    return f"{down}" if down == across else f"{down}x{across}"


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _short(number: int) -> str:
    return short_number(number) if number else ""
