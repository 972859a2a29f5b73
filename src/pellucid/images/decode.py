"""Bytes become an upright RGB image, or a refusal that names the file and the reason. Nothing is skipped in silence."""

import os
import struct
import warnings
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from pellucid.errors import UserError

MAX_PIXELS = 178_956_970  # half a gigabyte in RGB; Pillow's own limit for what must be a decompression bomb
LEAST_SIDE = 2  # pixels: nothing can be seen in fewer
WHITE = (255, 255, 255)
THREADS = min(4, os.cpu_count() or 1)

# What Pillow's decoders raise on damaged files.
DAMAGE = (OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, OverflowError, struct.error, zlib.error)

Source = str | Path | bytes | Image.Image | npt.NDArray[Any]


class Unreadable(UserError):
    """One image that cannot be used: `name` says which, `reason` why, in a few words."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason

    def __reduce__(self) -> Any:
        return type(self), (self.name, self.reason)


def open_image(source: Source, *, background: tuple[int, int, int] = WHITE, name: str | None = None) -> Image.Image:
    """The image as it should be seen: turned by its EXIF orientation, over `background` where transparent, RGB.

    `source` is a path, a file's bytes, a PIL image, or a uint8 array (height, width, 3). Of an animation, the first
    frame; 16-bit grey is scaled to 8 bits, not clipped. `name` is what errors call it. Raises Unreadable.
    """
    name = name or (str(source) if isinstance(source, str | Path) else "image")
    try:
        with warnings.catch_warnings():
            # Sizes are judged below, with a reason; remarks on harmless metadata are nobody's business.
            warnings.simplefilter("ignore")
            image = _opened(source, name)
            _check_size(image, name)
            image.load()
            return _rgb(ImageOps.exif_transpose(image), background)
    except Image.DecompressionBombError as cause:
        raise Unreadable(name, f"too large: more than {MAX_PIXELS:,} pixels") from cause
    except UnidentifiedImageError as cause:
        raise Unreadable(name, "not an image") from cause
    except MemoryError as cause:
        raise Unreadable(name, "too large for this machine's memory") from cause
    except DAMAGE as cause:
        raise Unreadable(name, "truncated or damaged") from cause


def check_readable(paths: Sequence[Path], *, progress: Callable[[int, int], None] | None = None) -> list[Unreadable]:
    """Decode every file in full, in threads; the refusals in the order of `paths`. `progress` hears (done, total)."""
    refused = []
    with ThreadPoolExecutor(THREADS) as pool:
        for done, error in enumerate(pool.map(_refusal, paths), start=1):
            if error is not None:
                refused.append(error)
            if progress:
                progress(done, len(paths))
    return refused


def _refusal(path: Path) -> Unreadable | None:
    try:
        open_image(path)
    except Unreadable as error:
        return error
    return None


def _opened(source: Source, name: str) -> Image.Image:
    """The image, its pixels not decoded yet."""
    if isinstance(source, Image.Image):
        return source
    if isinstance(source, np.ndarray):
        if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3:
            raise Unreadable(name, f"an array of {source.dtype} {source.shape}, not uint8 (height, width, 3)")
        return Image.fromarray(source)
    content = source if isinstance(source, bytes) else _content(Path(source), name)
    if not content:
        raise Unreadable(name, "empty")
    return Image.open(BytesIO(content))


def _content(path: Path, name: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as cause:
        raise Unreadable(name, "not there") from cause
    except IsADirectoryError as cause:
        raise Unreadable(name, "a folder") from cause
    except PermissionError as cause:
        raise Unreadable(name, "may not be read (permission denied)") from cause
    except OSError as cause:
        raise Unreadable(name, f"cannot be read ({cause.strerror})") from cause


def _check_size(image: Image.Image, name: str) -> None:
    width, height = image.size
    if min(width, height) < LEAST_SIDE:
        raise Unreadable(name, f"too small: {width} x {height} pixels")
    if width * height > MAX_PIXELS:
        raise Unreadable(name, f"too large: {width} x {height} pixels")


def _rgb(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_eight_bits(np.asarray(image))).convert("RGB")
    if image.mode in ("LA", "La", "RGBA", "RGBa", "PA") or "transparency" in image.info:
        above = image.convert("RGBA")
        below = Image.new("RGBA", above.size, (*background, 255))
        return Image.alpha_composite(below, above).convert("RGB")
    return image.convert("RGB")


def _eight_bits(grey: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Grey of more than 8 bits to 8: floats are taken as 0 to 1 where they fit, integers as 16 bits where they need it.

    By the format's range, never by the picture's own: two exposures of a scene must stay different.
    """
    values = grey.astype(np.float64)
    highest = values.max(initial=0.0)
    if np.issubdtype(grey.dtype, np.floating):
        full = 1.0 if highest <= 1.0 else 255.0 if highest <= 255.0 else 65535.0
    else:
        full = 65535.0 if grey.dtype == np.uint16 or highest > 255 else 255.0
    scaled: npt.NDArray[np.uint8] = np.clip(np.rint(values * (255.0 / full)), 0, 255).astype(np.uint8)
    return scaled
