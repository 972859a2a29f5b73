"""What flows through a network for one image: how strong each end point is, what of it is dead, and maps to look at."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pellucid.networks.network import Network
from pellucid.networks.undisturbed import undisturbed

MAPS = 8  # of each end point, the channels that vary most


@dataclass(frozen=True)
class Flow:
    """One end point. `dead` is the share of its channels that are the same everywhere; `maps` are uint8 (n, H, W)."""

    name: str
    mean: float
    deviation: float
    dead: float
    channels: tuple[int, ...]
    maps: npt.NDArray[np.uint8]


def flows(net: Network, images: Tensor, *, last: str | None = None) -> tuple[Flow, ...]:
    """Each end point for the one image in `images` (1, 3, H, W), in order, to `last`. `net` is left as it is."""
    with undisturbed(net), torch.inference_mode():
        found = net.eval().end_points(images, last)
        return tuple(_flow(name, values[0].float()) for name, values in found.items())


def _flow(name: str, values: Tensor) -> Flow:
    if values.ndim != 3:
        silent = float((values == 0).float().mean())
        return Flow(name, float(values.mean()), _deviation(values), silent, (), np.zeros((0, 1, 1), np.uint8))
    spread = values.flatten(1).std(dim=1, correction=0)
    strongest = spread.argsort(descending=True)[:MAPS]
    shown = values[strongest]
    low, high = shown.amin(dim=(1, 2), keepdim=True), shown.amax(dim=(1, 2), keepdim=True)
    levels = (255 * (shown - low) / (high - low).clamp_min(1e-12)).round().to(torch.uint8)
    dead = float((spread == 0).float().mean())
    return Flow(name, float(values.mean()), _deviation(values), dead, tuple(strongest.tolist()), levels.numpy())


def _deviation(values: Tensor) -> float:
    return float(values.std(correction=0))
