"""The first batch of a training as the network saw it, beside the files that it was made of."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin, UnidentifiedImageError

from pellucid.errors import UserError
from pellucid.images.preprocessing import Pixels
from pellucid.names import kind_of, path_of
from pellucid.records import Record, write

ABOUT = "pellucid_batch"  # the entry of the picture's text
FILE = "batch.png"


class Shown(Record):
    """What there is to say of a batch besides its pixels: `labels` as they were learned (of mixed images, shares)."""

    root: str
    files: tuple[str, ...]  # below the root, in the order of the batch
    classes: tuple[str, ...]  # of the files
    labels: tuple[str, ...]
    size: int  # pixels per side
    images: int  # in the whole batch
    how: str  # "" or what stands between these pixels and the steps, in words


@dataclass(frozen=True)
class FirstBatch:
    """The first images that are learned from: uint8 (N, size, size, 3), red first, the normalisation undone.

    Of a large batch the first alone. Normalising loses nothing that eight bits hold, so that these are the very
    pixels, but for images that are mixed with each other, whose levels lie between them.
    """

    shown: Shown
    pixels: Pixels

    def file(self, number: int) -> Path:
        """Where the image lies of which the network saw that version."""
        return path_of(Path(self.shown.root) / self.shown.files[number])


def write_first_batch(folder: Path, batch: FirstBatch) -> None:
    """As a picture, the images below each other, lossless; what there is to say is text within it."""
    text = PngImagePlugin.PngInfo()
    text.add_itxt(ABOUT, batch.shown.model_dump_json())
    number, size = batch.pixels.shape[:2]
    file = io.BytesIO()
    Image.fromarray(batch.pixels.reshape(number * size, size, 3)).save(file, "PNG", pnginfo=text, compress_level=3)
    write(folder / FILE, file.getvalue())


def read_first_batch(folder: Path) -> FirstBatch | None:
    """The first batch that a run kept; None where it kept none: it never began, or an earlier version trained it."""
    path = folder / FILE
    if kind_of(path) == "nothing":
        return None
    hint = "remove it: it is a picture for people, and nothing else reads it"
    try:
        with Image.open(path) as image:
            text = image.text.get(ABOUT, "") if isinstance(image, PngImagePlugin.PngImageFile) else ""
            pixels = np.array(image.convert("RGB"), dtype=np.uint8)
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError) as cause:
        raise UserError(f"{path} cannot be read: it is damaged", hint=hint) from cause
    shown = Shown.from_json(text, str(path), hint)
    number, size = len(shown.files), shown.size
    if pixels.shape != (number * size, size, 3) or len(shown.labels) != number or len(shown.classes) != number:
        raise UserError(f"{path} cannot be used: it is not the picture that its text speaks of", hint=hint)
    return FirstBatch(shown=shown, pixels=pixels.reshape(number, size, size, 3))
