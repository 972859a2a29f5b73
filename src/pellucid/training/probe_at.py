"""Where in the network the answer is: a head solved on the averaged map of every end point, each measured alike."""

from collections.abc import Generator, Sequence
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.architectures.geometry import check_end_point
from pellucid.errors import UserError
from pellucid.measures.intervals import wilson
from pellucid.networks.cut import Halves, Place, Rest
from pellucid.networks.network import Network
from pellucid.runs.events import Event, ProbedAt, now
from pellucid.training.frozen import features_of
from pellucid.training.job import Job
from pellucid.weights.called import end_point_called

BEYOND = ("Logits", "Predictions")


class Averages(nn.Module):
    """The maps of several end points, each averaged over its cells, side by side: (N, all channels)."""

    def __init__(self, network: Network, names: Sequence[str]) -> None:
        super().__init__()
        self.network, self.names = network, tuple(names)

    def forward(self, images: Tensor) -> Tensor:
        found = self.network.end_points(images, last=self.names[-1])
        return torch.cat([_averaged(found[name]) for name in self.names], dim=1)


def probed_at(job: Job) -> Generator[Event, None, None]:
    """Solve a head at each end point that `probe_at` asks for, and measure it on the validation images."""
    names = probed_names(job.network, job.config.probe_at or "")
    side = job.network.size
    network = job.network.eval().to(job.hardware.device)  # not in inference mode: weights moved there never learn again
    with torch.inference_mode():
        found = network.end_points(torch.zeros(1, 3, side, side, device=job.hardware.device))
    widths = [_averaged(found[name]).shape[1] for name in names]
    cut = Halves(Place(frozen_until=names[-1], averaged=tuple(names)), Averages(job.network, names), Rest())
    train, validation = yield from features_of(job, cut, views=1, augmentation=None)
    learned, measured = train.view(0), validation.view(0)
    for name, end, width in zip(names, accumulate(widths), widths, strict=True):
        columns = slice(end - width, end)
        solved = job.solved(learned[:, columns])
        said = (measured[:, columns] @ solved.weight.T + solved.bias).argmax(axis=1)
        right = int(np.sum(said == validation.labels))
        yield ProbedAt(
            time=now(), end_point=name, features=width, accuracy=wilson(right, len(said)), strength=solved.strength
        )


def probed_names(network: Network, asked: str) -> list[str]:
    """The end points that `probe_at` asks for, in the network's order. Raises UserError for what is none."""
    known = [name for name in network.end_point_names if name not in (*BEYOND, *network.head_names)]
    if asked == "all":
        return known
    names = [name.strip() for name in asked.split(",") if name.strip()]
    names = [check_end_point(network.name, tuple(known), end_point_called(network.name, name)) for name in names]
    if not names:
        raise UserError("--probe-at names no end point", hint=f"all, or some of {', '.join(known)}")
    return [name for name in known if name in names]


def _averaged(value: Tensor) -> Tensor:
    """Maps (N, C, H, W) over their cells, tokens (N, T, C) over all of them."""
    if value.ndim == 4:
        return value.mean(dim=(2, 3))
    return value.mean(dim=1) if value.ndim == 3 else value
