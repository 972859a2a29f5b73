"""Random changes to training images, and mixtures of them. What every image goes through is said by preprocessing.

Torch-free on import, and torchvision is imported only by the changes that are its own (policies, erasing, mixing).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from math import exp, log, sqrt
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from PIL import Image, ImageFilter
from pydantic import Field, model_validator

from pellucid.images.preprocessing import INTERPOLATIONS, Pixels, Preprocessing, centred, resized, single
from pellucid.images.preprocessing import crop as crop_centre
from pellucid.records import Described

if TYPE_CHECKING:
    from torch import Tensor

Box = tuple[int, int, int, int]  # left, top, right, bottom


class Augmentation(Described):
    """What is varied, and how much."""

    crop: Literal["random-resized", "random", "centre"] = "random-resized"
    """random-resized: a part of the image, resized; random: a part at the resolution that --input.resize leaves
    (native: nothing is resampled); centre: as in validation."""
    decode: Literal["reduced", "full"] = "reduced"
    """random-resized: JPEGs much larger than their crops are decoded at a reduced scale, or every pixel is."""
    scale: tuple[float, float] = (0.35, 1.0)
    """random-resized: the part's share of the area."""
    ratio: tuple[float, float] = (0.75, 1.3333333333333333)
    """random-resized: the part's width over its height."""
    flip: float = Field(default=0.5, ge=0, le=1)
    """Probability of left for right."""
    vertical_flip: float = Field(default=0.0, ge=0, le=1)
    """Probability of upside down."""
    policy: Literal["none", "randaugment", "trivialaugment"] = "none"
    """Colour and geometry by one of torchvision's policies."""
    erasing: float = Field(default=0.0, ge=0, le=1)
    """Probability that a rectangle is erased."""
    blur: float = Field(default=0.0, ge=0, le=1)
    """Probability of a Gaussian blur."""
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    """The blur's standard deviation in pixels, from and to."""
    jpeg: float = Field(default=0.0, ge=0, le=1)
    """Probability that the image is compressed once more."""
    jpeg_quality: tuple[int, int] = (50, 95)
    """The quality it is compressed with, from and to."""
    mixup: float = Field(default=0.0, ge=0)
    """Alpha of MixUp's Beta distribution; 0: no MixUp."""
    cutmix: float = Field(default=0.0, ge=0)
    """Alpha of CutMix's Beta distribution; 0: no CutMix."""

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        limits = {"scale": (0, 1), "ratio": (0, np.inf), "blur_sigma": (0, np.inf), "jpeg_quality": (1, 100)}
        for name, (least, most) in limits.items():
            low, high = getattr(self, name)
            if not least <= low <= high <= most or (low == 0 and name in ("scale", "ratio")):
                raise ValueError(
                    f"{name} goes from the smaller to the larger, within {least} to {most}, not {low}, {high}"
                )
        return self


def augment(
    image: Image.Image,
    augmentation: Augmentation,
    preprocessing: Preprocessing,
    *,
    seed: Sequence[int],
    extent: tuple[int, int] | None = None,
) -> Pixels:
    """One random version of an upright RGB image, by `seed` alone: uint8 (size, size, 3), to be normalised.

    `extent`: (width, height) of the image before it was reduced; the same parts of the picture are cut either way.
    The order is that of torchvision's reference recipes: crop, flips, policy; then what a photograph meets on its way
    (blur, JPEG); erasing last.
    """
    random = np.random.default_rng(seed)
    image = _crop(image, augmentation, preprocessing, random, extent or image.size)
    if random.random() < augmentation.flip:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if random.random() < augmentation.vertical_flip:
        image = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    if augmentation.policy != "none":
        image = _policy(image, augmentation.policy, random)
    if random.random() < augmentation.blur:
        image = image.filter(ImageFilter.GaussianBlur(random.uniform(*augmentation.blur_sigma)))
    if random.random() < augmentation.jpeg:
        image = _recompressed(image, quality=int(random.integers(*augmentation.jpeg_quality, endpoint=True)))
    pixels = np.asarray(image, dtype=np.uint8)
    return _erased(pixels, random) if random.random() < augmentation.erasing else pixels


def _crop(
    image: Image.Image,
    augmentation: Augmentation,
    preprocessing: Preprocessing,
    random: np.random.Generator,
    extent: tuple[int, int],
) -> Image.Image:
    size = preprocessing.size
    match augmentation.crop:
        case "centre":
            return Image.fromarray(crop_centre(image, single(preprocessing)))
        case "random-resized":
            part = random_part(extent, augmentation.scale, augmentation.ratio, random)
            across, down = (here / full for here, full in zip(image.size, extent, strict=True))
            right, below = min(part[2] * across, image.width), min(part[3] * down, image.height)
            box = (part[0] * across, part[1] * down, right, below)
            # Where nothing is said of resizing (native resolution), the part must still become `size`.
            how = INTERPOLATIONS[preprocessing.interpolation or "bilinear"]
            return image.resize((size, size), how, box=box)
        case "random":
            if preprocessing.resize is not None and preprocessing.interpolation is not None:
                how = INTERPOLATIONS[preprocessing.interpolation]
                image = image.resize(resized(image.size, preprocessing.resize), how)
            left, top = (_start(side, size, random) for side in image.size)
            return image.crop((left, top, left + size, top + size))  # black where the image is smaller


def _start(side: int, size: int, random: np.random.Generator) -> int:
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


def _recompressed(image: Image.Image, *, quality: int) -> Image.Image:
    file = BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def _policy(image: Image.Image, policy: str, random: np.random.Generator) -> Image.Image:
    from torchvision.transforms import v2

    with _torch_seeded(int(random.integers(2**63))):
        return (v2.RandAugment() if policy == "randaugment" else v2.TrivialAugmentWide())(image)


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
