"""A counted network as a table for the terminal, 80 columns wide. Apart from text.py, so that it answers at once."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pellucid.architectures.geometry import LayerRow, Structure
from pellucid.errors import counted
from pellucid.reports.words import short_number

COLUMNS = ("layer", "output", "weight", "parameters", "multiply-\nadds", "field/\nstride")


def structure_text(structure: Structure) -> RenderableType:
    """A row a layer and the totals. Layers of a block stand indented under its name."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for index, name in enumerate(COLUMNS):
        words = index in (0, 2)
        table.add_column(Text(name), justify="left" if words else "right", overflow="fold", no_wrap=index > 0)
    block = ""
    for row in structure.rows:
        inside, _, last = row.name.rpartition("/")
        if inside and inside != block:
            table.add_row(Text(inside))
        block = inside
        layer = Text(f"  {last}" if inside else last)
        numbers = f"{row.parameters:,}" if row.parameters else "", _short(row.multiply_adds)
        table.add_row(layer, _shape(row.output), Text(_what(row)), *numbers, f"{_field(row.field)}/{row.stride}")
    table.add_section()
    totals = structure.totals
    rows = counted(len(structure.rows), "layer")
    table.add_row(rows, "", "", f"{totals.parameters:,}", _short(totals.multiply_adds), "", style="bold")
    images = f"{counted(structure.batch, 'image')} of {structure.size} x {structure.size} pixels"
    return Group(
        Text(f"{structure.name}: {images}, {counted(structure.classes, 'class', 'classes')}", style="bold"),
        Text(""),
        table,
        Text(""),
        Text("b: with bias, n: with batch norm; multiply-adds are for one image", style="dim"),
        Text("field/stride: input pixels a side that a cell has seen, and from cell to cell", style="dim"),
    )


def _what(row: LayerRow) -> str:
    """The weight's shape and what goes with it; the kind of layer where there is no weight."""
    if not row.weight:
        return row.kind.replace("global average", "global")
    return _shape(row.weight) + (" b" if row.bias else "") + (" n" if row.norm else "")


def _field(field: tuple[int, int]) -> str:
    down, across = field
    return f"{down}" if down == across else f"{down}x{across}"


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _short(number: int) -> str:
    return short_number(number) if number else ""
