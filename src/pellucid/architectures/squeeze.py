"""TF-Slim's `spatial_squeeze=False`: what is averaged to one cell stays a map of it, up to the logits."""

from dataclasses import replace
from itertools import pairwise

from pellucid.architectures.layers import Architecture, Chain, Flatten, GlobalPool, Layer, Linear
from pellucid.errors import UserError


def unsqueezed(table: Architecture) -> Architecture:
    """The table without flattening: PreLogits (N, C, 1, 1) and logits (N, classes, 1, 1), of the same weights.

    An auxiliary head that averages to one cell stays so too. Raises UserError for a network that flattens more cells.
    """
    rows = {name: layer for name, layer, _ in table.rows}
    if not _averages_to_one(rows.get("PreLogits")):
        maps = ", ".join(name for name, layer in rows.items() if _flattens(layer))
        raise UserError(
            f"{table.name} does not average its map to one cell before it flattens it (in {maps or 'no end point'})",
            hint="spatial_squeeze false is for networks that do: the ResNets and Inceptions, and small",
        )
    return replace(
        table,
        rows=tuple((name, _open(layer, name), said) for name, layer, said in table.rows),
        heads=tuple(
            replace(head, layer=_open_head(head.layer)) if _averages_to_one(head.layer) else head
            for head in table.heads
        ),
    )


def _open(layer: Layer, name: str) -> Layer:
    if name == "PreLogits":
        return _open_head(layer)
    return replace(layer, spatial=True) if name == "Logits" and isinstance(layer, Linear) else layer


def _open_head(layer: Layer) -> Layer:
    """Without its flattening, and with its linear layers on a cell."""
    assert isinstance(layer, Chain)
    left = [(name, step) for name, step in layer.steps if not isinstance(step, Flatten)]
    return Chain(
        tuple((name, replace(step, spatial=True) if isinstance(step, Linear) else step) for name, step in left)
    )


def _averages_to_one(layer: Layer | None) -> bool:
    """Whether it flattens what was averaged to one cell just before."""
    steps = [step for _, step in layer.steps] if isinstance(layer, Chain) else []
    return any(one == GlobalPool() and isinstance(other, Flatten) for one, other in pairwise(steps))


def _flattens(layer: Layer) -> bool:
    return isinstance(layer, Flatten) or (isinstance(layer, Chain) and any(_flattens(step) for _, step in layer.steps))
