"""`network` for whoever calls it: by name, or one's own. What files say goes to networks.build, and names no code."""

from typing import Any

from pellucid.networks.build import network as known
from pellucid.networks.network import Network
from pellucid.networks.own import remember


def network(model: Any, classes: int, *, size: int | None = None, **options: Any) -> Network:
    """The network `model` for `classes` outputs, with random weights from torch's current seed, or its own.

    `model` is a name of `architectures()`, timm/NAME, FILE.py:NAME or package.module:NAME, an nn.Module, a class or
    function that makes one for a number of classes, or a table; for the options of a name see networks.build.network,
    those of a class or function are its parameters. Raises UserError for what is none of these, and does not fit.
    """
    return known(remember(model), classes, size=size, **options)
