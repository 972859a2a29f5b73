"""Random changes to training images, and mixtures of them. What every image goes through is said by preprocessing.

Torch-free on import. torch resizes and mirrors, in a quarter of Pillow's time and to a level or two of 255 the same;
torchvision is imported only by the changes that are its own (policies, erasing, mixing).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from math import exp, log, sqrt
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from PIL import Image, ImageFilter
from pydantic import Field, model_validator

from pellucid.images.preprocessing import (
    INTERPOLATIONS,
    Interpolation,
    Pixels,
    Preprocessing,
    centred,
    cut,
    resized,
)
from pellucid.records import Described

if TYPE_CHECKING:
    from torch import Tensor

LEAST_ALPHA = 0.001  # of a Beta distribution; with less, nearly every image stays as it is
Box = tuple[int, int, int, int]  # left, top, right, bottom
BY_TORCH = frozenset({"bilinear", "bicubic"})  # the interpolations that torch has for bytes


class Augmentation(Described):
    """Random changes to training images, drawn anew for each image and epoch."""

    crop: Literal["random-resized", "random", "centre"] = "random-resized"
    """The part of a training image that the network sees. random-resized: a part of random size and shape, resized to
    the square that the network sees. random: a square of that size at a random place, of the image as --input.resize
    leaves it. centre: the square in the centre, as in validation.
    """
    decode: Literal["reduced", "full"] = "reduced"
    """reduced: JPEGs much larger than the network needs are decoded at a smaller scale, which is faster. full: every
    pixel is decoded.
    """
    scale: tuple[float, float] = (0.35, 1.0)
    """For crop random-resized: the smallest and the largest share of the image's area that the part may have."""
    ratio: tuple[float, float] = (0.75, 1.3333333333333333)
    """For crop random-resized: the smallest and the largest ratio of the part's width to its height."""
    flip: float = Field(default=0.5, ge=0, le=1)
    """The probability that an image is mirrored left to right, from 0 to 1."""
    vertical_flip: float = Field(default=0.0, ge=0, le=1)
    """The probability that an image is mirrored top to bottom, from 0 to 1."""
    policy: Literal["none", "randaugment", "trivialaugment"] = "none"
    """Which of torchvision's policies changes colours and geometry at random; none: no such changes."""
    erasing: float = Field(default=0.0, ge=0, le=1)
    """The probability that a random rectangle of an image becomes noise, from 0 to 1."""
    blur: float = Field(default=0.0, ge=0, le=1)
    """The probability that an image is blurred (Gaussian blur), from 0 to 1."""
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    """How strong the blur of --augmentation.blur is: its smallest and its largest standard deviation, in pixels. One in
    between is drawn for each image.
    """
    jpeg: float = Field(default=0.0, ge=0, le=1)
    """The probability that an image is compressed as a JPEG once more, from 0 to 1."""
    jpeg_quality: tuple[int, int] = (50, 95)
    """The lowest and the highest quality of the JPEGs of --augmentation.jpeg, from 1 (worst) to 100 (best). One in
    between is drawn for each image.
    """
    mixup: float = Field(default=0.0, ge=0, le=1000)
    """MixUp blends each training image, and its label, with another one. The share of the other one is drawn at
    random for each batch from a Beta distribution; this number is its alpha. Below 1: mostly very little, or nearly
    all; 0.2 is common. 1: every share is equally likely. Above 1: mostly about half. 0: no MixUp.
    """
    cutmix: float = Field(default=0.0, ge=0, le=1000)
    """CutMix pastes a part of another image into each training image, and mixes their labels. The part's size is drawn
    at random for each batch from a Beta distribution; this number is its alpha. 1: every share of the image's
    area is equally likely (what reaches beyond the edge is lost), which is common. Below 1: mostly very small or very
    large parts. Above 1: mostly about half of the image. 0: no CutMix.
    """

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        limits = {"scale": (0, 1), "ratio": (0, np.inf), "blur_sigma": (0, np.inf), "jpeg_quality": (1, 100)}
        for name, (least, most) in limits.items():
            low, high = getattr(self, name)
            if not least <= low <= high <= most or (low == 0 and name in ("scale", "ratio")):
                raise ValueError(
                    f"{name} goes from the smaller to the larger, within {least} to {most}, not {low}, {high}"
                )
        for name in ("mixup", "cutmix"):
            if 0 < getattr(self, name) < LEAST_ALPHA:
                raise ValueError(f"{name} is 0, which mixes nothing, or at least {LEAST_ALPHA}")
        return self


def augment(
    image: Pixels,
    augmentation: Augmentation,
    preprocessing: Preprocessing,
    *,
    seed: Sequence[int],
) -> Pixels:
    """One random version of an upright RGB image, uint8 (height, width, 3), by `seed` alone: uint8 (size, size, 3).

    The order is that of torchvision's reference recipes: crop, flips, policy; then what a photograph meets on its way
    (blur, JPEG); erasing last.
    """
    random = np.random.default_rng(seed)
    pixels = _crop(image, augmentation, preprocessing, random)
    if random.random() < augmentation.flip:
        pixels = _mirrored(pixels, axis=1)
    if random.random() < augmentation.vertical_flip:
        pixels = _mirrored(pixels, axis=0)
    if augmentation.policy != "none":
        pixels = _policy(pixels, augmentation.policy, random)
    if random.random() < augmentation.blur:
        pixels = _blurred(pixels, sigma=random.uniform(*augmentation.blur_sigma))
    if random.random() < augmentation.jpeg:
        pixels = _recompressed(pixels, quality=int(random.integers(*augmentation.jpeg_quality, endpoint=True)))
    return _erased(pixels, random) if random.random() < augmentation.erasing else pixels


def _crop(
    image: Pixels, augmentation: Augmentation, preprocessing: Preprocessing, random: np.random.Generator
) -> Pixels:
    size = preprocessing.size
    match augmentation.crop:
        case "random-resized":
            height, width, _ = image.shape
            left, top, right, below = random_part((width, height), augmentation.scale, augmentation.ratio, random)
            # Where nothing is said of resizing (native resolution), the part must still become `size`.
            return _resized(image[top:below, left:right], size, preprocessing.interpolation or "bilinear")
        case "centre" | "random":
            extent = image.shape[1::-1]
            if preprocessing.resize is not None and preprocessing.interpolation is not None:
                wanted = resized(extent, preprocessing.resize)
                if wanted != extent:
                    how = INTERPOLATIONS[preprocessing.interpolation]
                    image = np.asarray(Image.fromarray(image).resize(wanted, how), dtype=np.uint8)
            start = centred if augmentation.crop == "centre" else partial(_start, random)
            left, top = (start(side, size) for side in image.shape[1::-1])
            return cut(image, left, top, size)


def _resized(part: Pixels, size: int, interpolation: Interpolation) -> Pixels:
    """To `size` pixels per side."""
    if interpolation not in BY_TORCH:
        return np.asarray(Image.fromarray(part).resize((size, size), INTERPOLATIONS[interpolation]), dtype=np.uint8)
    import torch
    from torch.nn.functional import interpolate

    batch = torch.from_numpy(_writable(part))[None].permute(0, 3, 1, 2)
    pixels: Pixels = interpolate(batch, (size, size), mode=interpolation, antialias=True)[0].permute(1, 2, 0).numpy()
    return pixels


def _mirrored(pixels: Pixels, *, axis: int) -> Pixels:
    """numpy takes ten times as long to copy what lies backwards in memory."""
    import torch

    mirrored: Pixels = torch.from_numpy(_writable(pixels)).flip(axis).numpy()
    return mirrored


def _writable(pixels: Pixels) -> Pixels:
    """A copy of what is read-only (what is kept, what Pillow made): torch has no name for that, and warns."""
    return np.require(pixels, requirements=("C", "W"))


def _start(random: np.random.Generator, side: int, size: int) -> int:
    """Where a random crop of `size` starts on a `side`; centred where the side is the smaller one."""
    return int(random.integers(0, side - size, endpoint=True)) if side > size else centred(side, size)


def random_part(
    extent: tuple[int, int], scale: tuple[float, float], ratio: tuple[float, float], random: np.random.Generator
) -> Box:
    """A part with `scale` of the area and a width to height of `ratio`, both drawn ten times until it fits, as
    torchvision's RandomResizedCrop does (Szegedy et al. 2015, section 6); else the largest of the nearest ratio.
    """
    width, height = extent
    for _ in range(10):
        area = width * height * random.uniform(*scale)
        shape = exp(random.uniform(log(ratio[0]), log(ratio[1])))
        across, down = round(sqrt(area * shape)), round(sqrt(area / shape))
        if 0 < across <= width and 0 < down <= height:
            left = int(random.integers(0, width - across, endpoint=True))
            top = int(random.integers(0, height - down, endpoint=True))
            return left, top, left + across, top + down
    shape = min(max(width / height, ratio[0]), ratio[1])
    across, down = min(width, max(1, round(height * shape))), min(height, max(1, round(width / shape)))
    left, top = (width - across) // 2, (height - down) // 2
    return left, top, left + across, top + down


def _blurred(pixels: Pixels, *, sigma: float) -> Pixels:
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(sigma)), dtype=np.uint8)


def _recompressed(pixels: Pixels, *, quality: int) -> Pixels:
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file).convert("RGB"), dtype=np.uint8)


def _policy(pixels: Pixels, policy: str, random: np.random.Generator) -> Pixels:
    from torchvision.transforms import v2

    with _torch_seeded(int(random.integers(2**63))):
        changed = (v2.RandAugment() if policy == "randaugment" else v2.TrivialAugmentWide())(Image.fromarray(pixels))
    return np.asarray(changed, dtype=np.uint8)


def _erased(pixels: Pixels, random: np.random.Generator) -> Pixels:
    """A random rectangle becomes noise (Zhong et al. 2017)."""
    import torch
    from torchvision.transforms import v2

    with _torch_seeded(int(random.integers(2**63))):
        # Noise is drawn around 0 in units of the standard deviation; on the scale of pixels it is spread over grey.
        scaled = torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 127.5 - 1
        erased = v2.RandomErasing(p=1.0, value="random")(scaled)
        return ((erased.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()


def mix(
    images: Tensor, labels: Tensor, augmentation: Augmentation, *, classes: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Mix a batch with itself: images (N, 3, S, S) and the classes' shares (N, classes), by MixUp or CutMix.

    Where the augmentation asks for neither, both come back as they were: labels (N,). Where it asks for both, each
    batch gets one, drawn evenly.
    """
    if not (augmentation.mixup or augmentation.cutmix):
        return images, labels
    from torchvision.transforms import v2

    choices: list[Any] = []
    if augmentation.mixup:
        choices.append(v2.MixUp(alpha=augmentation.mixup, num_classes=classes))
    if augmentation.cutmix:
        choices.append(v2.CutMix(alpha=augmentation.cutmix, num_classes=classes))
    with _torch_seeded(seed):
        mixed, targets = v2.RandomChoice(choices)(images, labels)
    return mixed, targets


@contextmanager
def _torch_seeded(seed: int) -> Iterator[None]:
    """torchvision draws from torch's global CPU generator: seeded inside, as it was afterwards."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
