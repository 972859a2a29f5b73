"""Where two implementations part, as a table for the terminal."""

from math import isinf

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pellucid.inspection.parity import TOLERANCE, Parity
from pellucid.reports.palette import CROSS, TICK


def parity_text(name: str, other: str, parity: Parity) -> RenderableType:
    """Every end point that both have, the verdict, and what the first difference looks like."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for index, heading in enumerate(("", "end point", "shape", "difference")):
        table.add_column(heading, justify="right" if index == 3 else "left")
    for one in parity.compared:
        shapes = ["x".join(map(str, shape)) for shape in one.shapes]
        shape = shapes[0] if shapes[0] == shapes[1] else f"{shapes[0]}, there {shapes[1]}"
        difference = "–" if isinf(one.difference) else f"{one.difference:.1e}"
        table.add_row(TICK if one.agrees else CROSS, Text(one.name), shape, difference)
    first = parity.first
    if first is None:
        verdict = f"{name} agrees with {other} at all {len(parity.compared)} end points"
    else:
        verdict = f"{name} differs from {other} from end point {first.name} on"
    lines = [Text(verdict, style="bold")]
    if first is not None:
        lines += [Text(f"it looks as if: {words}") for words in parity.looks_like[:3]]
        if not parity.looks_like:
            lines.append(Text("nothing that was tried explains it: compare the layers inside, and their weights"))
    note = f"difference: the largest of any two values, over the other's standard deviation; up to {TOLERANCE:g} is "
    "rounding"
    return Group(table, Text(""), *lines, Text(note, style="dim"))
