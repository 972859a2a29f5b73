"""End points by other libraries' names: whose weights end at `layer3` need not know that it is conv4_x here."""

import torch

from pellucid.architectures.catalog import ARCHITECTURES
from pellucid.networks.build import TableNetwork
from pellucid.networks.sources.table import NAMES
from pellucid.networks.weights import names_elsewhere


def end_point_called(network: str, name: str) -> str:
    """The end point of `network` that another library calls `name`: all that has tensors of it, and no other.

    `name` as it is where it is ours, where nobody calls one so, and for a network without a table of ours.
    """
    table = ARCHITECTURES.get(network)
    if table is None or name in table.end_points:
        return name
    with torch.device("meta"):  # names alone are asked for
        net = TableNetwork(table, 2, size=table.size)
    for layout in NAMES.get(net.family, ()):
        called = names_elsewhere(net, layout)
        within = {ours.split(".")[0] for ours, theirs in called.items() if _begins(theirs, name)}
        if len(within) == 1 and all(_begins(called[ours], name) for ours in called if ours.split(".")[0] in within):
            return within.pop()
    return name


def _begins(tensor: str, name: str) -> bool:
    return tensor.startswith((f"{name}.", f"{name}/"))
