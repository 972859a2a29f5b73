"""Preprocessing: the record a model carries, and the one function that turns an image into its input."""

from typing import Literal, Self

import numpy as np
from PIL import Image
from pydantic import model_validator

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
Triple = tuple[float, float, float]

IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)


class Preprocessing(Record):
    """How an image becomes a network's input. Nothing has a default: a wrong guess here would be silent.

    `resize`: pixels of the shorter side, or (height, width) exactly, or None to keep the native resolution;
    `interpolation` is then None too. `size`: pixels a side of the centre crop. `background`: what shows through
    transparent pixels, 0 to 255. `mean` and `std`: of channels scaled to 0..1.
    """

    resize: int | tuple[int, int] | None
    interpolation: Interpolation | None
    size: int
    background: tuple[int, int, int]
    mean: Triple
    std: Triple

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.resize is None) != (self.interpolation is None):
            raise ValueError("resize and interpolation are given together or both left out (native resolution)")
        if self.size < 1 or (self.resize is not None and np.min(self.resize) < 1):
            raise ValueError("size and resize are at least 1 pixel")
        if min(self.std) <= 0:
            raise ValueError("std is above 0 in every channel")
        if not all(0 <= level <= 255 for level in self.background):
            raise ValueError("background is 0 to 255 in every channel")
        return self


def prepare(image: Image.Image, preprocessing: Preprocessing) -> np.ndarray:
    """An upright RGB image (see decode.open_image) as the network's input: float32 (3, size, size)."""
    return normalise(crop(image, preprocessing), preprocessing)


def crop(image: Image.Image, preprocessing: Preprocessing) -> np.ndarray:
    """Resize and crop the centre: uint8 (size, size, 3). What an image lacks at a side is filled by reflection-free zeros."""
    raise AssertionError


def normalise(pixels: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """uint8 (..., height, width, 3) to float32 (..., 3, height, width), scaled to 0..1, less mean, over std."""
    raise AssertionError
