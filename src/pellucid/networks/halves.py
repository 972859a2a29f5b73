"""A network in two: what is frozen, whose output for an image never changes, and what trains on that output."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pellucid.networks.build import Network, TableNetwork

JOINED = "+"  # between the names of several end points
CHECKED_TO = 1e-5  # relative to the largest logit


@dataclass(frozen=True)
class Halves:
    """Both share their modules with the network. `end_point` is the one whose output goes from one to the other."""

    end_point: str
    frozen: nn.Module  # images (N, 3, H, W) to features
    rest: "Rest"

    @property
    def place(self) -> str:
        """Where it is cut, in words."""
        several = self.end_point.count(JOINED) + 1
        return f"{several} end points" if several > 1 else self.end_point


class Rest(nn.Module):
    """What comes after the features; called as the network is."""

    def with_heads(self, features: Tensor) -> tuple[Tensor, ...]:
        """The logits, and those of each auxiliary head that is trained."""
        return (self(features),)


def halves(network: Network, train_from: str) -> Halves | None:
    """`network` cut before the end point `train_from`; None where nothing comes before it, or it cannot be cut there.

    The networks defined here are cut anywhere, unless an auxiliary head that is trained starts from what is frozen;
    those of timm before their classifier, where that is all that follows.
    """
    if isinstance(network, TableNetwork):
        return _of_table(network, train_from)
    return _before_classifier(network) if train_from == "Logits" else None


def _of_table(network: TableNetwork, train_from: str) -> Halves | None:
    at = network.end_point_names.index(train_from)
    before = [name for name in network.end_point_names[:at] if name not in network.head_names]
    after = network.end_point_names[at:]
    if not before:
        return None
    known = {before[-1], *after}
    if any(name in network.head_names and network.sources[name] not in known for name in after):
        return None
    frozen = nn.Sequential(*(getattr(network, name) for name in before))
    return Halves(before[-1], frozen, _RestOfTable(network, before[-1], after))


class _RestOfTable(Rest):
    def __init__(self, network: TableNetwork, source: str, names: Sequence[str]) -> None:
        super().__init__()
        self.source = source
        self.names = tuple(name for name in names if name != "Predictions")
        self.heads = tuple(name for name in self.names if name in network.head_names)
        self.sources = {name: network.sources[name] for name in self.names}
        for name in self.names:
            self.add_module(name, getattr(network, name))

    def forward(self, features: Tensor) -> Tensor:
        return self._logits(features, skipped=self.heads)["Logits"]

    def with_heads(self, features: Tensor) -> tuple[Tensor, ...]:
        found = self._logits(features, skipped=())
        return found["Logits"], *(found[name] for name in self.heads)

    def _logits(self, features: Tensor, *, skipped: Sequence[str]) -> dict[str, Tensor]:
        found = {self.source: features}
        for name in self.names:
            if name not in skipped:
                found[name] = getattr(self, name)(found[self.sources[name]])
        return found


class _UntilClassifier(nn.Module):
    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network.end_points(images, last="PreLogits")["PreLogits"]


class _Classifier(Rest):
    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.head(features)
        return logits


def _before_classifier(network: Network) -> Halves | None:
    heads = network.head_modules()
    if len(heads) != 1:
        return None
    cut = Halves("PreLogits", _UntilClassifier(network), _Classifier(heads[0]))
    training = network.training
    network.eval()
    with torch.no_grad():
        images = torch.randn(1, 3, network.size, network.size, generator=torch.Generator().manual_seed(0))
        images = images.to(next(network.parameters()).device)
        expected, found = network(images), cut.rest(cut.frozen(images))
    network.train(training)
    same = expected.shape == found.shape and (expected - found).abs().max() <= CHECKED_TO * expected.abs().max()
    return cut if same else None
