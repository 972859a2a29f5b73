"""Any network by name: a table of ours, or one written as text, timm's, or somebody's own."""

from typing import Any

from pellucid.architectures.catalog import architecture
from pellucid.architectures.options import OF_TIMM, TIMM, check_options
from pellucid.architectures.written import TABLE
from pellucid.names import is_own
from pellucid.networks.network import Network
from pellucid.networks.table_network import TableNetwork, written_network


def network(name: str, classes: int, *, size: int | None = None, **options: Any) -> Network:
    """The network `name` for `classes` outputs, with random weights from torch's current seed.

    `options` of the networks defined here: width (a factor on channels), dropout, auxiliary (build the auxiliary
    heads), conventions ("torch" or "tensorflow": how maps are padded, averaged and normalised), initialisation ("he",
    "tf-slim" or "torch"), head_initialisation (of the last layer: "uniform" within 1 / sqrt(inputs), its bias
    zero, or "torch", its bias so too), norm_decay (how much of the running statistics a batch leaves), last (the end
    point after which the network ends: pooled and classified there) and spatial_squeeze (False: logits
    (N, classes, 1, 1), which nothing is trained on). timm/NAME has dropout alone. table/NAME is the network of the text
    `table` (see architectures.written); a name with a colon is somebody's own, once it is named (networks.own).
    Raises UserError for unknown names and options, and for a size that is too small.
    """
    if is_own(name):
        from pellucid.networks.own_network import own_network

        return own_network(name, classes, size=size, **options)
    if name.startswith(TIMM):
        from pellucid.networks.timm_network import TimmNetwork  # brings timm and torchvision, 17 s

        check_options(name, options, OF_TIMM)
        return TimmNetwork(name, classes, size=size, **options)
    if name.startswith(TABLE):
        text = str(options.pop("table", ""))
        check_options(name, options)
        return written_network(text, classes, size=size, **options)
    table = architecture(name)
    check_options(name, options)
    return TableNetwork(table, classes, size=table.size if size is None else size, **options)
