"""Images small enough to travel inside report.html, big enough to be sharp when opened."""

import base64
import io
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

from PIL import Image

from pellucid.images.decode import Unreadable, open_image

LARGEST = 640  # pixels of the longest side; a thumbnail is shown at 250 or less
TINY = 160  # below, compression would show more than it saves
ATTEMPTS = 4  # to fit into the space


@dataclass(frozen=True)
class Thumbnail:
    """`uri` holds the whole image as data; "" where it cannot be shown, and `problem` says why."""

    uri: str
    width: int
    height: int
    problem: str = ""


def thumbnail(path: Path | Image.Image, *, most_bytes: int) -> Thumbnail:
    """The image as WebP in a data URI of at most about `most_bytes`: upright, and without the file's own metadata."""
    try:
        image = open_image(path)
    except Unreadable as cause:
        return Thumbnail("", 1, 1, cause.reason)
    except OSError as cause:
        return Thumbnail("", 1, 1, cause.strerror or "cannot be read")
    side, quality = float(LARGEST), 90 if max(image.size) <= TINY else 80
    for _ in range(ATTEMPTS):
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
        data = _webp(image, quality)
        excess = 4 / 3 * len(data) / most_bytes  # base64 writes 3 bytes as 4
        if excess <= 1:
            break
        # Bytes grow with the area; a little less than that, and a lower quality, for what does not compress.
        side, quality = 0.9 * max(image.size) / sqrt(excess), 70
    return Thumbnail(f"data:image/webp;base64,{base64.b64encode(data).decode()}", *image.size)


def _webp(image: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    image.save(file, "WEBP", quality=quality, method=2)  # method 4: 2 % smaller in twice the time
    return file.getvalue()
