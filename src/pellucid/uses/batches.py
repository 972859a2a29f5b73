"""How many images are computed at once where nobody says: as many as there is memory for."""

from pellucid.errors import UserError, counted
from pellucid.granted import memory_left
from pellucid.runs.card import Card

USUAL = 32  # images: more are hardly faster
# Of memory, for each pixel that the network sees of an image, beyond its weights. Measured, the greatest use of 12
# images less that of 4: ResNet-50 570 in torch, 100 in ONNX Runtime, 150 in OpenVINO; Inception V3 270, 80 and 170.
# VGG has maps of 64 channels as large as the image: 512 bytes for one in and one out, and as much for torch's tiles.
BYTES_PER_PIXEL = 1200
SHARE = 0.5  # of the memory that is left


def checked(batch: int) -> int:
    """`batch` if there can be such a one."""
    if batch < 1:
        raise UserError(f"a batch has at least 1 image, not {batch}")
    return batch


def batch_for(card: Card, asked: int | None) -> int:
    """The images per batch that were `asked` for; else USUAL, or as many as half of the memory that is left holds.

    It is asked after the model was opened, so that its weights are in memory already.
    """
    if asked is not None:
        return checked(asked)
    left = memory_left()
    if left is None:
        return USUAL
    room = int(SHARE * left / (BYTES_PER_PIXEL * card.preprocessing.size**2))
    return min(USUAL, max(1, room))


def little_memory(batch: int) -> str:
    """What is told of a batch that nobody asked for and that is smaller than usual; empty for the usual one."""
    if batch >= USUAL:
        return ""
    left = memory_left() or 0
    return (
        f"computing {counted(batch, 'image')} at once, not {USUAL}: {left / 1e9:.1f} GB of memory are left here "
        "(--batch sets it)"
    )
