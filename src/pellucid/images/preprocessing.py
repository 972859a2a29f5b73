"""Preprocessing: the record a model carries, and the one function that turns an image into its input."""

from collections.abc import Callable, Mapping
from math import prod
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import model_validator

from pellucid.images.decode import Unreadable
from pellucid.records import Record

INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
Interpolation = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
Channels = Literal["RGB", "BGR"]
Triple = tuple[float, float, float]
Pixels = npt.NDArray[np.uint8]
Input = npt.NDArray[np.float32]

# Pixels that an image may grow to: 134 MB. One of 60,000 x 2 pixels, 429 bytes as a file, took 4 GB.
MOST_RESIZED = 1 << 25
IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)


class Preprocessing(Record):
    """How an image becomes a network's input. What every image needs has no default: a wrong guess would be silent.

    `resize`: pixels of the shorter side, or (height, width) exactly, or None to keep the native resolution;
    `interpolation` is then None too. `size`: pixels per side of the centre crop. `background`: what shows through
    transparent pixels, 0 to 255. `mean` and `std`: of red, green and blue scaled to 0..1; `channels` is the order in
    which the network then sees them. With several `crops` per side, that many times that many of `size` pixels are
    spread evenly over a centre `region`, each is evaluated alone, and the network's outputs are averaged.
    """

    resize: int | tuple[int, int] | None
    interpolation: Interpolation | None
    size: int
    background: tuple[int, int, int]
    mean: Triple
    std: Triple
    channels: Channels = "RGB"
    crops: int = 1
    region: int | None = None

    @property
    def seen(self) -> int:
        """Pixels per side of what is cut out of an image."""
        return self.region or self.size

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.resize is None) != (self.interpolation is None):
            raise ValueError("resize and interpolation are given together or both left out (native resolution)")
        if self.size < 1 or (self.resize is not None and np.min(self.resize) < 1):
            raise ValueError("size and resize are at least 1 pixel")
        if (self.crops > 1) != (self.region is not None):
            raise ValueError("several crops need a region over which they are spread, and one crop has none")
        if self.crops < 1 or (self.region is not None and self.region < self.size):
            raise ValueError("crops is at least 1, and the region at least as large as one of them")
        if not np.isfinite((*self.mean, *self.std)).all():
            raise ValueError("mean and std are finite numbers")
        if min(self.std) <= 0:
            raise ValueError("std is above 0 in every channel")
        if not all(0 <= level <= 255 for level in self.background):
            raise ValueError("background is 0 to 255 in every channel")
        return self


def prepare(image: Image.Image, preprocessing: Preprocessing, *, name: str = "the image") -> Input:
    """An upright RGB image (see decode.open_image) as the network's input: float32 (3, size, size).

    With several crops, the region in which they lie; see `averaged`. Raises Unreadable, with `name`, as `resized` does.
    """
    return normalise(crop(image, preprocessing, name=name), preprocessing)


def crop(image: Image.Image, preprocessing: Preprocessing, *, name: str = "the image") -> Pixels:
    """Resize, then cut the centre out: uint8 (seen, seen, 3). Where the image is smaller than that, black is added.

    Rounding follows torchvision's Resize and CenterCrop, so that published weights see what they were measured on.
    Raises Unreadable, with `name`, as `resized` does.
    """
    if preprocessing.resize is not None and preprocessing.interpolation is not None:
        extent = resized(image.size, preprocessing.resize, name=name)
        image = image.resize(extent, INTERPOLATIONS[preprocessing.interpolation])
    left, top = (centred(side, preprocessing.seen) for side in image.size)
    # A copy: who keeps the crop would keep the whole image with it.
    return np.array(cut(np.asarray(image, dtype=np.uint8), left, top, preprocessing.seen))


def cut(pixels: Pixels, left: int, top: int, size: int) -> Pixels:
    """The square of `size` from `left` and `top` on, which may be below 0: black where the image has nothing."""
    height, width, _ = pixels.shape
    inside = pixels[max(0, top) : top + size, max(0, left) : left + size]
    if inside.shape[:2] == (size, size):
        return inside
    square = np.zeros((size, size, 3), np.uint8)
    square[max(0, -top) : height - top, max(0, -left) : width - left] = inside
    return square


def averaged(look: Callable[[Any], Any], images: Any, preprocessing: Preprocessing) -> Any:
    """The mean of what `look` makes of each crop of `images` (N, 3, seen, seen), of numpy or torch alike.

    Images that are as small as one crop are looked at as they are.
    """
    side = preprocessing.size
    if images.shape[-1] == side:
        return look(images)
    places = crop_places(preprocessing)
    made = [look(images[..., top : top + side, left : left + side]) for top, left in places]
    return sum(made) / len(made)


def cropped(pixels: Pixels, preprocessing: Preprocessing) -> list[Pixels]:
    """Each crop of uint8 (N, seen, seen, 3), as (N, size, size, 3); one crop is the image as it is."""
    side = preprocessing.size
    if pixels.shape[-2] == side:
        return [pixels]
    places = crop_places(preprocessing)
    return [np.ascontiguousarray(pixels[:, top : top + side, left : left + side]) for top, left in places]


def crop_places(preprocessing: Preprocessing) -> list[tuple[int, int]]:
    """(top, left) of each crop in the region that they are of."""
    starts = crop_starts(preprocessing)
    return [(top, left) for top in starts for left in starts]


def crop_starts(preprocessing: Preprocessing) -> list[int]:
    """Where crops start along a side of the region, spread evenly; [0] for one that fills it."""
    most, crops = preprocessing.seen - preprocessing.size, preprocessing.crops
    return [round(number * most / (crops - 1)) for number in range(crops)] if most else [0]


def single(preprocessing: Preprocessing) -> Preprocessing:
    """The same with one crop alone."""
    return preprocessing.model_copy(update={"crops": 1, "region": None})


def centred(side: int, size: int) -> int:
    """Where a centre crop of `size` starts on a `side`; below 0, that much black comes before the image."""
    return round((side - size) / 2) if side >= size else -((size - side) // 2)


def resized(extent: tuple[int, int], resize: int | tuple[int, int], *, name: str = "the image") -> tuple[int, int]:
    """(width, height) after resizing: the shorter side to `resize`, or to (height, width) exactly.

    Raises Unreadable, with `name`, for an image so long and thin that it would grow beyond MOST_RESIZED.
    """
    if isinstance(resize, tuple):
        return resize[1], resize[0]
    shorter = min(extent)
    width, height = (resize if side == shorter else max(1, int(resize * side / shorter)) for side in extent)
    if width * height > max(MOST_RESIZED, prod(extent)):
        raise Unreadable(
            name, f"too long and thin: {extent[0]} x {extent[1]} pixels, which would be resized to {width} x {height}"
        )
    return width, height


def normalise(pixels: Pixels, preprocessing: Preprocessing) -> Input:
    """uint8 (..., height, width, 3), red first, to float32 (..., 3, height, width) as the network wants it.

    Scaled to 0..1, less the mean, over the std, its channels in the network's order.
    """
    mean = np.asarray(preprocessing.mean, dtype=np.float32)
    std = np.asarray(preprocessing.std, dtype=np.float32)
    scaled = (pixels.astype(np.float32) / np.float32(255) - mean) / std
    if preprocessing.channels != "RGB":
        scaled = scaled[..., order(preprocessing)]
    return np.ascontiguousarray(np.moveaxis(scaled, -1, -3))


def unnormalised(inputs: Input, preprocessing: Preprocessing) -> Pixels:
    """What `normalise` was given, of what it made: for the eye. What no eight bits hold is rounded and cut."""
    mean, std = (np.asarray(three, dtype=np.float32) for three in (preprocessing.mean, preprocessing.std))
    seen = np.moveaxis(inputs, -3, -1)
    colours = seen[..., np.argsort(order(preprocessing))] * std + mean
    levels: Pixels = np.clip(np.round(colours * 255), 0, 255).astype(np.uint8)
    return levels


def order(preprocessing: Preprocessing) -> list[int]:
    """Which of red, green and blue the network sees first, second and third."""
    return ["RGB".index(letter) for letter in preprocessing.channels]


def at_size(preprocessing: Preprocessing, size: int) -> Preprocessing:
    """The same for a network of another `size`: as much of the image is seen, in so many pixels."""
    if size == preprocessing.size:
        return preprocessing

    def scaled(side: int) -> int:
        return max(1, round(side * size / preprocessing.size))

    resize, region = preprocessing.resize, preprocessing.region
    sides = (scaled(resize[0]), scaled(resize[1])) if isinstance(resize, tuple) else resize and scaled(resize)
    return preprocessing.model_copy(
        update={"size": size, "resize": sides, "region": region and max(size, scaled(region))}
    )


def changed(wanted: Preprocessing, said: Mapping[str, Any]) -> Preprocessing:
    """What weights want, where somebody `said` otherwise, by the names of the fields; "native" keeps the resolution."""
    said = {name: value for name, value in said.items() if value is not None}
    if said.get("resize") == "native":
        said |= {"resize": None, "interpolation": None}
    elif "resize" in said and wanted.interpolation is None:
        said.setdefault("interpolation", "bilinear")
    if said.get("crops", 1) > 1:
        said.setdefault("region", said["crops"] * said.get("size", wanted.size))
    return Preprocessing.from_fields(wanted.model_dump() | said, "input")
