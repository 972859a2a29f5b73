"""Features in the place of images: each image has one or more views, of which an epoch shows one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pellucid.images.store import Cached


def chosen_views(views: int, images: int, *, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """Which of its views each image shows in that epoch."""
    return np.random.default_rng((seed, epoch, 1)).integers(views, size=images)


class Features:
    """Features in the place of images: batches of (features, labels, indices), in the order that `show` set last.

    Each image has one or more views, and an epoch shows one of them, by (seed, epoch, index) alone.
    """

    def __init__(self, views: Sequence[Sequence[Cached]], labels: Sequence[int], *, seed: int) -> None:
        self.views, self.labels, self.seed = views, np.asarray(labels), seed
        self.show()

    def __len__(self) -> int:
        return len(self.labels)

    def show(self, *, epoch: int = 0, order: Sequence[int] | None = None) -> None:
        self._chosen = chosen_views(len(self.views), len(self), seed=self.seed, epoch=epoch)
        self._order = np.arange(len(self)) if order is None else np.asarray(order)

    def add_views(self, views: Sequence[Sequence[Cached]]) -> None:
        """From the next `show` on there are these as well, after those that were there."""
        self.views = [*self.views, *views]

    def view(self, number: int) -> npt.NDArray[np.float32]:
        """All features of one view, in order."""
        return _gathered(self.views[number])

    def batches(self, batch: int) -> "Batches":
        return Batches(self, batch)

    def at(self, indices: npt.NDArray[np.integer[Any]]) -> tuple[Tensor, Tensor, Tensor]:
        """One batch."""
        rows = [self.views[self._chosen[index]][index] for index in indices]
        features = torch.from_numpy(_gathered(rows))
        return features, torch.from_numpy(self.labels[indices]), torch.from_numpy(np.asarray(indices))

    def __iter__(self) -> Iterator[int]:
        return iter(self._order.tolist())


@dataclass(frozen=True)
class Batches:
    """As a loader: each pass is an epoch."""

    features: Features
    batch: int

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        order = np.fromiter(self.features, dtype=np.int64)
        for start in range(0, len(order), self.batch):
            yield self.features.at(order[start : start + self.batch])


def _gathered(rows: Sequence[Cached]) -> npt.NDArray[np.float32]:
    return np.stack([row.array for row in rows]).astype(np.float32)
