"""End points by what other libraries call them, and by the beginnings of their names. No torch."""

import re

from pellucid.architectures.catalog import ARCHITECTURES
from pellucid.architectures.geometry import structure
from pellucid.architectures.rows import Structure
from pellucid.weights.sources.layers import SLIM, layer_names, tensor_names
from pellucid.weights.sources.table import NAMES, has_network

KERNEL = r"(_\d+x\d+)?"  # at the end of TF-Slim's names: another for other sizes of image


def end_point_called(network: str, name: str) -> str:
    """The end point of `network`, one of ours, that another library calls `name`, or that alone begins so.

    A library calls one so where all of its layers begin with that name, and no others; or where that is its layer
    directly within an end point, with TF-Slim's kernel or without. `name` as it is where it is ours, where nobody calls
    one so, and for a network without a table of ours.
    """
    table = ARCHITECTURES.get(network)
    if table is None or name in (known := (*table.end_points, *(head.name for head in table.heads))):
        return name
    counted = structure(table, auxiliary=bool(table.heads))
    sources = [source for source in NAMES.get(table.family, ()) if has_network(source, network)]
    for source in sources:
        if found := _whole(counted, table.family, source, name):
            return found
    begin = [end for end in known if name and end.startswith(name)]
    if len(begin) == 1:
        return begin[0]
    heads = [head.name for head in table.heads]
    return next((found for source in sources if (found := _within(counted, table.family, source, name, heads))), name)


def _whole(counted: Structure, family: str, source: str, name: str) -> str | None:
    """The end point whose tensors, and no others, `source` keeps under that name."""
    called = tensor_names(counted.rows, family, source)
    ends = {row: row.partition("/")[0] for row in called}
    within = {ends[row] for row, theirs in called.items() if theirs.startswith((f"{name}.", f"{name}/"))}
    if len(within) != 1 or not all(
        theirs.startswith((f"{name}.", f"{name}/")) for row, theirs in called.items() if ends[row] in within
    ):
        return None
    return within.pop()


def _within(counted: Structure, family: str, source: str, name: str, heads: list[str]) -> str | None:
    """The only end point, heads aside, that has a layer of that name directly within it."""
    if source == "paddle":  # which numbers them
        return None
    pattern = re.compile(re.escape(name) + (KERNEL if source == SLIM else ""))
    found = {
        row.end_point
        for row, theirs in zip(counted.rows, layer_names(counted, family, source), strict=True)
        if row.name.count("/") < 2
        and row.end_point not in heads
        and (pattern.fullmatch(theirs) or pattern.fullmatch(theirs.rpartition("/")[2]))
    }
    return found.pop() if len(found) == 1 else None
