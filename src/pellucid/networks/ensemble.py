"""Several trained networks as one: the mean of what they say, each by its own calibration and order of classes."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Voice:
    """How a member's logits become probabilities of the ensemble's classes.

    `order`: which of the member's classes each class of the ensemble is.
    """

    order: tuple[int, ...]
    temperature: float
    one_logit: bool


class Ensemble(nn.Module):
    """Images (N, 3, S, S) to logits (N, classes) whose softmax is the mean of the members' probabilities."""

    def __init__(self, members: Sequence[nn.Module], voices: Sequence[Voice]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.voices = tuple(voices)

    def forward(self, images: Tensor) -> Tensor:
        said = [_log_shares(net(images), voice) for net, voice in zip(self.members, self.voices, strict=True)]
        return torch.logsumexp(torch.stack(said), dim=0) - torch.log(torch.tensor(float(len(said))))


def _log_shares(logits: Tensor, voice: Voice) -> Tensor:
    scaled = logits.float() / voice.temperature
    if voice.one_logit:
        scaled = torch.cat([torch.zeros_like(scaled), scaled], dim=1)
    return scaled.log_softmax(dim=1)[:, list(voice.order)]
