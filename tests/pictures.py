"""A small folder of real image files whose classes can be told apart: smooth scenes and grainy ones."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter


def make_classes(
    folder: Path, *, images: int = 16, size: int = 40, names: tuple[str, ...] = ("grainy", "smooth")
) -> Path:
    """`images` PNG files a class under folder/NAME; each class is blurred more than the one before."""
    random = np.random.default_rng(7)
    for blur, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for number in range(images):
            noise = Image.fromarray(random.integers(0, 256, (size, size, 3), dtype=np.uint8))
            noise.filter(ImageFilter.GaussianBlur(2 * blur)).save(folder / name / f"{number:03d}.png")
    return folder
