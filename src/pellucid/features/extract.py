"""What the frozen part of a network makes of every image, computed once; and training data made of it."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pellucid.errors import UserError, counted
from pellucid.images.augmentation import Augmentation
from pellucid.images.loading import Images, Loader
from pellucid.images.preprocessing import Preprocessing, averaged
from pellucid.images.store import Row, Store, memory_left
from pellucid.interruption import Interrupted, Interruption
from pellucid.networks.cut import Halves
from pellucid.networks.network import Network
from pellucid.networks.quick import keep_memory, native_bfloat16, quick

STRETCH = 512  # images that are computed before they are kept
LARGEST_HALF = 6e4  # float16 ends at 65,504
# How far a quicker way may be from the plain one, as a share of the spread of what it computes.
QUICK_TO = {"float32": 1e-3, "bfloat16": 0.1}


@dataclass(frozen=True)
class Engine:
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


def fastest(frozen: nn.Module, images: Tensor, *, device: torch.device, precision: str = "auto") -> Engine:
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
        engine = Engine(module.bfloat16() if tried == "bfloat16" else module, tried, 0.0, device)
        try:
            difference = float(np.abs(engine(images) - plain.numpy()).max()) / spread
        except (RuntimeError, ValueError, UserError):  # somebody's own code may know one kind of number only
            continue
        if difference <= QUICK_TO[tried]:
            return Engine(engine.module, tried, difference, device)
    return Engine(frozen, "float32", 0.0, device)


def fingerprint(network: Network, halves: Halves) -> dict[str, Any]:
    """What decides the features, for a key: the network's name and options, the place, and a hash of its weights.

    Classes do not: the frozen part ends before them.
    """
    digest = hashlib.sha256()
    heads = {id(tensor) for module in network.head_modules() for tensor in module.state_dict(keep_vars=True).values()}
    for name, tensor in halves.frozen.state_dict(keep_vars=True).items():
        if id(tensor) not in heads:
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return {
        "network": network.name,
        "options": dict(network.options),
        "place": asdict(halves.place),
        "weights": digest.hexdigest(),
    }


def chosen_views(views: int, images: int, *, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """Which of its views each image shows in that epoch."""
    return np.random.default_rng((seed, epoch, 1)).integers(views, size=images)


class Features:
    """Features in the place of images: batches of (features, labels, indices), in the order that `show` set last.

    Each image has one or more views, and an epoch shows one of them, by (seed, epoch, index) alone.
    """

    def __init__(self, views: Sequence[Sequence[Row]], labels: Sequence[int], *, seed: int) -> None:
        self.views, self.labels, self.seed = views, np.asarray(labels), seed
        self.show()

    def __len__(self) -> int:
        return len(self.labels)

    def show(self, *, epoch: int = 0, order: Sequence[int] | None = None) -> None:
        self._chosen = chosen_views(len(self.views), len(self), seed=self.seed, epoch=epoch)
        self._order = np.arange(len(self)) if order is None else np.asarray(order)

    def add_views(self, views: Sequence[Sequence[Row]]) -> None:
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


def _gathered(rows: Sequence[Row]) -> npt.NDArray[np.float32]:
    return np.stack([row.array for row in rows]).astype(np.float32)


@dataclass
class Extraction:
    """Everything that turns images into features. Of the last run, `found` has
    the features of each view, and `computed` counts those that were not kept before. `refused` says why the disk did
    not take them: then they are held in memory.
    """

    network: Network
    halves: Halves
    engine: Engine
    folder: Path  # of the cache
    limit: int  # bytes that the cache may take
    half: bool  # kept as float16
    batch: int
    workers: int
    seed: int
    computed: int = 0
    refused: str = ""
    found: list[dict[str, Row]] = field(default_factory=list)

    @cached_property
    def _fingerprint(self) -> dict[str, Any]:
        return fingerprint(self.network, self.halves)

    def store(self, images: Images, augmentation: Augmentation | None, view: int) -> Store:
        seen = {"augmentation": augmentation.model_dump(), "seed": self.seed, "view": view} if augmentation else None
        key = self._fingerprint | {
            "preprocessing": images.preprocessing.model_dump(mode="json"),
            "view": seen,
            "computed": self.engine.precision,
            "kept": "float16" if self.half else "float32",
        }
        return Store(self.folder, "features", key, limit=self.limit)

    def run(
        self,
        images: Images,
        hashes: Sequence[str],
        *,
        views: int,
        augmentation: Augmentation | None,
        interruption: Interruption,
        first: int = 0,
        until: float | None = None,
    ) -> Iterator[tuple[int, int]]:
        """Compute and keep what is missing; yields (done, total) images. With no `augmentation` there is one
        view; the views are those from number `first` on.

        After the moment `until` no view is gone on with, save the first of them. Raises Interrupted, with what was
        computed so far kept, once a stop was asked for.
        """
        total, self.computed, self.found = views * len(images), 0, []
        for view in range(first, first + views):
            store = self.store(images, augmentation, view)
            known = store.rows(hashes)
            self.found.append(known)
            earliest = {name: index for index, name in reversed(list(enumerate(hashes)))}  # twins once
            missing = [index for name, index in earliest.items() if name not in known]
            done = (view - first + 1) * len(images) - len(missing)
            yield done, total
            shown = images.versions_by([int(name[:15], 16) for name in hashes], augmentation)
            with closing(Loader(shown, batch=self.batch, workers=self.workers)) as batches:
                for start in range(0, len(missing), STRETCH):
                    part = missing[start : start + STRETCH]
                    shown.show(epoch=view, order=part)
                    made, late = [], False
                    for pixels, _, _ in batches:
                        made.append(self.engine(pixels))
                        done += len(pixels)
                        yield done, total
                        late = until is not None and view > first and perf_counter() > until
                        if interruption.asked or late:
                            break
                    features = self._kept(self._numbers(np.concatenate(made), images, part))
                    self.computed += len(features)
                    known |= store.add([hashes[index] for index in part[: len(features)]], list(features))
                    if store.refused:
                        self.refused = store.refused
                        self._check_memory(len(missing) - start + (first + views - 1 - view) * len(images), features)
                    if interruption.asked:
                        raise Interrupted
                    if late and len(known) < len(earliest):
                        self.found.pop()
                        return

    def _numbers(
        self, features: npt.NDArray[np.float32], images: Images, part: Sequence[int]
    ) -> npt.NDArray[np.float32]:
        """`features` of those images, or a UserError where they are no numbers: they are not kept, nor learned from."""
        whole = np.isfinite(features.reshape(len(features), -1)).all(axis=1)
        if not whole.all():
            first = images.named(part[int(np.argmin(whole))])
            raise UserError(
                f"what {self.network.name} makes of {counted(int((~whole).sum()), 'image')} is no number",
                [first],
                hint="other weights, or a larger --input.std: some value inside grows beyond what can be computed with",
            )
        return features

    def _check_memory(self, images: int, features: npt.NDArray[Any]) -> None:
        """Raises UserError where memory will not hold features like these of as many `images`."""
        takes, left = images * features[:1].nbytes, memory_left()
        if left is not None and takes > left / 2:
            raise UserError(
                f"{self.refused}; and they take {takes / 1e9:,.1f} GB, more than half of the memory that is left",
                hint="PELLUCID_CACHE=FOLDER names a place with more room; --features.cache off computes them anew "
                "in each epoch (of a probe with --optimizer adamw)",
            )

    def features(self, images: Images, hashes: Sequence[str]) -> Features:
        """What the last `run` found and kept, as training data."""
        return Features([[rows[name] for name in hashes] for rows in self.found], images.labels, seed=self.seed)

    def _kept(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.floating[Any]]:
        """In half precision, which loses 1 part in 2,000, where every number fits."""
        small = self.half and float(np.abs(features).max(initial=0.0)) < LARGEST_HALF
        return features.astype(np.float16) if small else features
