"""A network's structure as a table for the terminal."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pellucid.architectures.geometry import Structure


def structure_text(structure: Structure) -> RenderableType:
    """A row a layer: output, weight and bias shapes, parameters, multiply-adds, receptive field; then the totals."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("layer", overflow="fold")
    for heading in ("output", "weight", "parameters", "multiply-adds", "sees"):
        table.add_column(heading, justify="right")
    for row in structure.rows:
        table.add_row(
            Text(row.name),
            _shape(row.output),
            _shape(row.weight),
            f"{row.parameters:,}" if row.parameters else "",
            f"{row.multiply_adds:,}" if row.multiply_adds else "",
            f"{row.field} px",
        )
    totals = structure.totals
    return Group(
        Text(f"{structure.name} at {structure.size} pixels, {structure.classes} classes", style="bold"),
        table,
        Text(f"{totals.parameters:,} parameters, {totals.multiply_adds:,} multiply-adds an image", style="bold"),
    )


def _shape(shape: tuple[int, ...]) -> Text:
    return Text(f"[{', '.join(map(str, shape))}]" if shape else "")
