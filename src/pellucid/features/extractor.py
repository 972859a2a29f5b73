"""How the frozen part of a network is computed: the quickest way that agrees with the plain one.

An extractor makes features while something is learned; what makes answers, for use, is an engine (engines/).
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pellucid.errors import UserError
from pellucid.images.loading import Images
from pellucid.images.preprocessing import Preprocessing, averaged
from pellucid.networks.quick import keep_memory, native_bfloat16, quick

TRIED = 16  # images by which the quickest way is compared with the plain one
# How far a quicker way may be from the plain one, as a share of the spread of what it computes.
QUICK_TO = {"float32": 1e-3, "bfloat16": 0.1}


@dataclass(frozen=True)
class Extractor:
    """A way to compute the frozen part: with which precision, and how far it was from the plain one when tried."""

    module: nn.Module
    precision: str
    difference: float
    device: torch.device
    preprocessing: Preprocessing | None = None  # where several crops of an image are averaged

    def __call__(self, images: Tensor) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            given = images.to(self.device, memory_format=torch.channels_last)
            given = given.bfloat16() if self.precision == "bfloat16" else given
            made = averaged(self.module, given, self.preprocessing) if self.preprocessing else self.module(given)
            features: npt.NDArray[np.float32] = made.float().cpu().contiguous().numpy()
            return features


def fastest(frozen: nn.Module, images: Tensor, *, device: torch.device, precision: str = "auto") -> Extractor:
    """The quickest way to compute `frozen`, which is on `device`, that agrees with the plain one on `images`.

    `precision` "float32" tries no other; "auto" bfloat16 where the device multiplies it itself.
    """
    if device.type == "cpu":
        keep_memory()
    frozen = frozen.eval()
    with torch.inference_mode():
        plain = frozen(images.to(device)).float().cpu()
    spread = max(float(plain.std()), 1e-12)
    half = precision == "bfloat16" or (precision == "auto" and native_bfloat16(device))
    for tried in ("bfloat16", "float32") if half else ("float32",):
        module = quick(frozen)
        extractor = Extractor(module.bfloat16() if tried == "bfloat16" else module, tried, 0.0, device)
        try:
            difference = float(np.abs(extractor(images) - plain.numpy()).max()) / spread
        except (RuntimeError, ValueError, UserError):  # somebody's own code may know one kind of number only
            continue
        if difference <= QUICK_TO[tried]:
            return Extractor(extractor.module, tried, difference, device)
    return Extractor(frozen, "float32", 0.0, device)


def fastest_on(images: Images, frozen: nn.Module, *, device: torch.device, precision: str = "auto") -> Extractor:
    """As `fastest`, tried on the first of `images`, and averaging their crops where they have several.

    A head is linear: of averaged features it makes the average of what it makes of each.
    """
    some = torch.stack([images[index][0] for index in range(min(TRIED, len(images)))])
    found = fastest(frozen, some, device=device, precision=precision)
    return replace(found, preprocessing=images.preprocessing) if images.preprocessing.crops > 1 else found
