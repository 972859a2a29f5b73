"""Every network that is defined here, by name."""

from pellucid.architectures.layers import Architecture
from pellucid.architectures.resnet import RESNET18
from pellucid.architectures.small import SMALL, SMALL_TUTORIAL
from pellucid.architectures.vgg import VGG11, VGG11_BN
from pellucid.errors import UserError, nearest

ARCHITECTURES: dict[str, Architecture] = {
    table.name: table for table in (SMALL, SMALL_TUTORIAL, VGG11, VGG11_BN, RESNET18)
}


def architectures() -> tuple[str, ...]:
    """The names of all networks defined here; `timm/NAME` gives any other."""
    return tuple(ARCHITECTURES)


def architecture(name: str) -> Architecture:
    """The table called `name`; a UserError with the nearest name where there is none."""
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    right = nearest(name, ARCHITECTURES)
    raise UserError(
        f"there is no network {name!r}",
        [f"did you mean {right}?"] if right else [],
        hint=f"there are {', '.join(ARCHITECTURES)}, and timm/NAME for any network of timm",
    )
