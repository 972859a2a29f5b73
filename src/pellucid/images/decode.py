"""Bytes become an upright RGB image, or a refusal that names the file and the reason. Nothing is skipped in silence."""

import re
import stat
import struct
import warnings
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from pellucid.errors import UserError
from pellucid.granted import processors

DECODING = 1  # of what comes out of here: to be raised where a file gives other pixels, since pixels are kept on disk
MAX_PIXELS = 178_956_970  # half a gigabyte in RGB; Pillow's own limit for what must be a decompression bomb
MAX_BYTES = 8 * MAX_PIXELS  # what so many pixels take uncompressed at 16 bits, with alpha
LEAST_SIDE = 2  # pixels: nothing can be seen in fewer
WHITE = (255, 255, 255)
THREADS = min(4, processors())

# What Pillow's decoders raise on damaged files. AVIF's raises RuntimeError, of which NotImplementedError is one kind.
DAMAGE = (
    *(OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, OverflowError, RuntimeError),
    *(struct.error, zlib.error),
)

# Pillow knows these by name only, or starts another program for them (EPS: Ghostscript). For us they are no images.
NOT_PIXELS = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"})

# How the files begin that people most often have: one that then cannot be opened is not just anything.
KINDS = {
    "JPEG": rb"\xff\xd8\xff",
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "GIF": rb"GIF8[79]a",
    "TIFF": rb"II\*\0|MM\0\*",
    "WebP": rb"RIFF....WEBP",
    "HEIF": rb"....ftyp(avi|hei|hev|mif|msf)",  # AVIF too
}
# How those begin that are taken for images whatever their name says.
BEGINNINGS = re.compile(
    rb"|".join((*(KINDS[kind] for kind in ("JPEG", "PNG", "GIF", "TIFF", "WebP")), rb"BM....\0\0\0\0"))
    + rb"|....ftypavi[fs]|\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51",
    re.DOTALL,
)
PHOTOMETRIC, WHITE_IS_ZERO, BITS_PER_SAMPLE = 262, 0, 258  # TIFF 6.0, section 8
END_OF_CODESTREAM = b"\xff\xd9"  # JPEG 2000 (ISO 15444-1, A.4.4); occurs nowhere else in a codestream


class _Quiet:
    """No warnings while any thread is inside.

    warnings.catch_warnings alone is not for threads: of two that overlap, the later would put back the other's silence.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._inside = 0
        self._filters = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.simplefilter("ignore")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._filters.__exit__(None, None, None)


QUIET = _Quiet()
PLUGINS = Lock()  # around the import of Pillow's
ImageLike = str | Path | bytes | Image.Image | npt.NDArray[Any]


class Unreadable(UserError):
    """One image that cannot be used: `name` says which, `reason` why, in a few words."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason

    def __reduce__(self) -> Any:
        return type(self), (self.name, self.reason)


def open_image(source: ImageLike, *, background: tuple[int, int, int] = WHITE, name: str | None = None) -> Image.Image:
    """The image as it should be seen: turned by its EXIF orientation, over `background` where transparent, RGB.

    `source` is a path, a file's bytes, a PIL image, or a uint8 array (height, width, 3). Of an animation, the first
    frame; 16-bit grey is scaled to 8 bits, not clipped, and of 16-bit colour the higher 8 bits are taken. Colour
    profiles are not applied. `name` is what errors call it. Raises Unreadable.
    """
    return _open(source, background, name, None)[0]


def open_reduced(
    source: ImageLike, *, least: int, background: tuple[int, int, int] = WHITE, name: str | None = None
) -> tuple[Image.Image, tuple[int, int]]:
    """As open_image, and the full (width, height): a JPEG is decoded at the smallest of its scales (full, a half, a
    quarter, an eighth) at which the short side still has `least` pixels. It is read to its end all the same.
    """
    return _open(source, background, name, least)


def _open(
    source: ImageLike, background: tuple[int, int, int], name: str | None, least: int | None
) -> tuple[Image.Image, tuple[int, int]]:
    name = name or (str(source) if isinstance(source, str | Path) else "image")
    try:
        # Sizes are judged below, with a reason; remarks on harmless metadata are nobody's business.
        with QUIET:
            image = _opened(source, name)
            _check_size(image, name)
            extent = image.size
            if least is not None and image.format == "JPEG":
                image.draft(None, (extent[0] * least // min(extent), extent[1] * least // min(extent)))
            image.load()
            decoded = image.size
            upright = _upright(image, own=image is not source)
            extent = extent if upright.size == decoded else extent[::-1]
            if image.mode.startswith("I") or image.mode == "F":
                return _rgb_of_deep_grey(upright, image, background, name), extent
            return _rgb(upright, background), extent
    except Image.DecompressionBombError as cause:
        raise Unreadable(name, f"too large: more than {MAX_PIXELS:,} pixels") from cause
    except MemoryError as cause:
        raise Unreadable(name, "too large for this machine's memory") from cause
    except DAMAGE as cause:
        raise Unreadable(name, "truncated or damaged") from cause


def told_by_content(start: bytes) -> bool:
    """Whether a file that starts with these bytes is an image that can be read, as far as they tell; 32 are enough."""
    return BEGINNINGS.match(start) is not None


@contextmanager
def decoding_threads(number: int = THREADS) -> Iterator[ThreadPoolExecutor]:
    """A pool of threads; what none has begun is given up when the block ends, as by an error or Ctrl-C.

    No thread is waited for where a generator around the block is left half read: the garbage collector may close it in
    a place where to join a thread is to wait for ever.
    """
    pool = ThreadPoolExecutor(number, thread_name_prefix="decoding")
    joined = True
    try:
        yield pool
    except GeneratorExit:
        joined = False
        raise
    finally:
        pool.shutdown(wait=joined, cancel_futures=True)


def _opened(source: ImageLike, name: str) -> Image.Image:
    """The image, its pixels not decoded yet."""
    if isinstance(source, Image.Image):
        return source
    if isinstance(source, np.ndarray):
        if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3:
            raise Unreadable(name, f"an array of {source.dtype} {source.shape}, not uint8 (height, width, 3)")
        return Image.fromarray(source)
    if not isinstance(source, str | Path | bytes):
        raise Unreadable(name, f"a {type(source).__name__}, not a path, bytes, a PIL image or an array")
    content = source if isinstance(source, bytes) else content_of(Path(source), name)
    if not content:
        raise Unreadable(name, "empty")
    kind = next((kind for kind, start in KINDS.items() if re.match(start, content, re.DOTALL)), None)
    try:
        image = _identified(content, kind)
    except UnidentifiedImageError as cause:
        known = f"a {kind} file that is truncated, damaged or of a kind that Pillow cannot read"
        raise Unreadable(name, known if kind else "not an image") from cause
    # Two decoders are content when rows are missing at the end, and show black or noise there.
    if image.format == "PNG":
        Image.open(BytesIO(content), formats=("PNG",)).verify()
    if image.format == "JPEG2000" and END_OF_CODESTREAM not in content:
        raise Unreadable(name, "truncated or damaged")
    return image


def _identified(content: bytes, kind: str | None) -> Image.Image:
    """A JPEG or PNG is asked of its own plugin alone: to import all of them takes longer than to decode it."""
    if kind in ("JPEG", "PNG"):
        with PLUGINS:
            Image.preinit()
        with suppress(UnidentifiedImageError):
            return Image.open(BytesIO(content), formats=(kind,))
    return Image.open(BytesIO(content), formats=_formats())


def _formats() -> tuple[str, ...]:
    # All plugins first: left to Image.open, the threads that meet the first images could find them half imported.
    with PLUGINS:
        Image.init()
    return tuple(name for name in Image.ID if name not in NOT_PIXELS)


def content_of(path: Path, name: str) -> bytes:
    """A regular file's bytes. Raises Unreadable with `name`."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise Unreadable(name, "a folder")
        if not stat.S_ISREG(status.st_mode):
            raise Unreadable(name, "not a file")  # a pipe or a device, which may never end
        if status.st_size > MAX_BYTES:
            raise Unreadable(name, f"too large: {status.st_size:,} bytes")
        return path.read_bytes()
    except FileNotFoundError as cause:
        raise Unreadable(name, "not there") from cause
    except PermissionError as cause:
        raise Unreadable(name, "may not be read (permission denied)") from cause
    except (OSError, ValueError) as cause:
        raise Unreadable(name, f"cannot be read ({getattr(cause, 'strerror', cause)})") from cause


def _check_size(image: Image.Image, name: str) -> None:
    width, height = image.size
    if min(width, height) < LEAST_SIDE:
        raise Unreadable(name, f"too small: {width} x {height} pixels")
    if width * height > MAX_PIXELS:
        raise Unreadable(name, f"too large: {width} x {height} pixels")


def _upright(image: Image.Image, *, own: bool) -> Image.Image:
    """Turned by its EXIF orientation; a copy, unless the image is our `own`."""
    try:
        if not own:
            return ImageOps.exif_transpose(image)
        ImageOps.exif_transpose(image, in_place=True)
        return image
    except DAMAGE:  # in the EXIF block, as the pixels are decoded: then nothing says how they lie
        return image if own else image.copy()


def _rgb(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode == "La":
        image = image.convert("LA")  # Pillow makes nothing else of it
    if image.mode in ("LA", "RGBA", "RGBa", "PA") or "transparency" in image.info:
        above = image.convert("RGBA")
        below = Image.new("RGBA", above.size, (*background, 255))
        return Image.alpha_composite(below, above).convert("RGB")
    return image.convert("RGB")


def _rgb_of_deep_grey(
    image: Image.Image, opened: Image.Image, background: tuple[int, int, int], name: str
) -> Image.Image:
    """Grey of more than 8 bits, upright, to RGB. `opened` is the image as it was opened, which knows its format.

    By the format's range, never by the picture's own: two exposures of a scene must stay different.
    """
    values = np.asarray(image).astype(np.float64)
    if not np.isfinite(values).all():
        raise Unreadable(name, "grey values that are not numbers")
    levels = np.rint(values * (255.0 / _white(opened, values.max())))
    if levels.min() < 0 or levels.max() > 255:
        raise Unreadable(name, f"grey values from {values.min():,g} to {values.max():,g}, not within 0 to 65,535")
    if getattr(opened, "tag_v2", {}).get(PHOTOMETRIC) == WHITE_IS_ZERO:
        levels = 255 - levels  # Pillow does so up to 8 bits
    rgb = Image.fromarray(levels.astype(np.uint8)).convert("RGB")
    if (clear := image.info.get("transparency")) is not None:
        rgb.paste(background, mask=Image.fromarray(values == clear))
    return rgb


def _white(image: Image.Image, highest: float) -> float:
    """What white is in an image of deep grey: by its format, or, where that has no scale, the least that holds it."""
    if image.mode.startswith("I;16"):
        bits: int = getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE, (16,))[0]
        return 2.0**bits - 1  # TIFF has 12 as well
    if image.mode == "F":
        return 1.0 if highest <= 1.0 else 255.0 if highest <= 255.0 else 65535.0
    return 255.0 if highest <= 255 and image.format != "PPM" else 65535.0  # Pillow scales PPM to 16 bits
