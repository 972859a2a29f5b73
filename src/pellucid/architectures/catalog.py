"""Every network that is defined here, by name."""

from pellucid.architectures.inception_resnet import INCEPTION_RESNET_V2
from pellucid.architectures.inception_v1 import INCEPTION_V1
from pellucid.architectures.inception_v1_plain import INCEPTION_V1_PLAIN
from pellucid.architectures.inception_v2 import INCEPTION_V2
from pellucid.architectures.inception_v3 import INCEPTION_V3
from pellucid.architectures.inception_v4 import INCEPTION_V4
from pellucid.architectures.layers import Architecture
from pellucid.architectures.resnet import RESNET18, RESNET34, RESNET50, RESNET101, RESNET152
from pellucid.architectures.small import SMALL, SMALL_TUTORIAL
from pellucid.architectures.vgg import VGGS
from pellucid.errors import UserError, nearest

ARCHITECTURES: dict[str, Architecture] = {
    table.name: table
    for table in (
        *(SMALL, SMALL_TUTORIAL),
        *VGGS,
        *(RESNET18, RESNET34, RESNET50, RESNET101, RESNET152),
        *(INCEPTION_V1, INCEPTION_V1_PLAIN, INCEPTION_V2, INCEPTION_V3, INCEPTION_V4, INCEPTION_RESNET_V2),
    )
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
        hint="`pellucid models` lists them; timm/NAME is any network of timm",
    )
