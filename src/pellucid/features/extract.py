"""What the frozen part of a network makes of every image, computed once and cached on disk."""

import hashlib
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pellucid.errors import UserError, counted
from pellucid.features.extractor import Extractor, fastest_on
from pellucid.features.views import Features
from pellucid.granted import memory_left
from pellucid.images.augmentation import Augmentation
from pellucid.images.loading import Images, Loader, prepare
from pellucid.images.store import Cached, Store
from pellucid.interruption import Interrupted, Interruption
from pellucid.networks.cut import Halves
from pellucid.networks.network import Network

BATCH = 32
STRETCH = 512  # images that are computed before they are cached
LARGEST_HALF = 6e4  # float16 ends at 65,504


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


@dataclass(frozen=True)
class FeatureCache:
    """Where features are cached, how many bytes may be taken there, and whether as float16."""

    folder: Path
    limit: int
    half: bool


@dataclass(frozen=True)
class Extracted:
    """What an extraction comes to. `computed` counts the features that were not cached before; `refused` says why the
    disk did not take them: then they are in memory.
    """

    features: Features
    computed: int
    refused: str


@dataclass(frozen=True)
class Extraction:
    """Everything that turns images into features; `extraction` finds the quickest way."""

    network: Network
    halves: Halves
    extractor: Extractor
    cache: FeatureCache

    @cached_property
    def _fingerprint(self) -> dict[str, Any]:
        return fingerprint(self.network, self.halves)

    def store(self, images: Images, augmentation: Augmentation | None, view: int) -> Store:
        seen = {"augmentation": augmentation.model_dump(), "seed": images.seed, "view": view} if augmentation else None
        key = self._fingerprint | {
            "preprocessing": images.preprocessing.model_dump(mode="json"),
            "view": seen,
            "computed": self.extractor.precision,
            "kept": "float16" if self.cache.half else "float32",
        }
        return Store(self.cache.folder, "features", key, limit=self.cache.limit)

    def run(
        self,
        images: Images,
        *,
        workers: int = 0,
        views: int = 1,
        augmentation: Augmentation | None = None,
        interruption: Interruption | None = None,
        first: int = 0,
        until: float | None = None,
    ) -> Generator[tuple[int, int], None, Extracted]:
        """Compute and cache what is missing; yields (done, total) images. With no `augmentation` there is one
        view; the views are those from number `first` on. `workers` processes decode.

        After the moment `until` no view is gone on with, save the first of them. Raises Interrupted, with what was
        computed so far cached, once a stop was asked for.
        """
        interruption = interruption or Interruption()
        hashes = images.contents
        total, computed, refused, found = views * len(images), 0, "", list[dict[str, Cached]]()

        def extracted() -> Extracted:
            rows = [[view[name] for name in hashes] for view in found]
            return Extracted(Features(rows, images.labels, seed=images.seed), computed, refused)

        for view in range(first, first + views):
            store = self.store(images, augmentation, view)
            known = store.rows(hashes)
            found.append(known)
            earliest = {name: index for index, name in reversed(list(enumerate(hashes)))}  # twins once
            missing = [index for name, index in earliest.items() if name not in known]
            done = (view - first + 1) * len(images) - len(missing)
            yield done, total
            shown = images.versions_by([int(name[:15], 16) for name in hashes], augmentation)
            with closing(Loader(shown, batch=BATCH, workers=workers)) as batches:
                for start in range(0, len(missing), STRETCH):
                    part = missing[start : start + STRETCH]
                    shown.show(epoch=view, order=part)
                    made, late = [], False
                    for pixels, _, _ in batches:
                        made.append(self.extractor(prepare(pixels, self.extractor.device, images.preprocessing)))
                        done += len(pixels)
                        yield done, total
                        late = until is not None and view > first and perf_counter() > until
                        if interruption.asked or late:
                            break
                    features = self._kept(self._numbers(np.concatenate(made), images, part))
                    computed += len(features)
                    known |= store.add([hashes[index] for index in part[: len(features)]], list(features))
                    if store.refused:
                        refused = store.refused
                        rest = len(missing) - start + (first + views - 1 - view) * len(images)
                        _check_memory(rest, features, refused)
                    if interruption.asked:
                        raise Interrupted
                    if late and len(known) < len(earliest):
                        found.pop()
                        return extracted()
        return extracted()

    def _numbers(
        self, features: npt.NDArray[np.float32], images: Images, part: Sequence[int]
    ) -> npt.NDArray[np.float32]:
        """`features` of those images, or a UserError where they are no numbers: they are neither cached nor used."""
        whole = np.isfinite(features.reshape(len(features), -1)).all(axis=1)
        if not whole.all():
            first = images.named(part[int(np.argmin(whole))])
            raise UserError(
                f"what {self.network.name} makes of {counted(int((~whole).sum()), 'image')} is no number",
                [first],
                hint="other weights, or a larger --input.std: some value inside grows beyond what can be computed with",
            )
        return features

    def _kept(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.floating[Any]]:
        """In half precision, which loses 1 part in 2,000, where every number fits."""
        small = self.cache.half and float(np.abs(features).max(initial=0.0)) < LARGEST_HALF
        return features.astype(np.float16) if small else features


def _check_memory(images: int, features: npt.NDArray[Any], refused: str) -> None:
    """Raises UserError where memory will not hold features like these of as many `images`."""
    takes, left = images * features[:1].nbytes, memory_left()
    if left is not None and takes > left / 2:
        raise UserError(
            f"{refused}; and they take {takes / 1e9:,.1f} GB, more than half of the memory that is left",
            hint="PELLUCID_CACHE=FOLDER names a place with more room; --features.cache off computes them anew "
            "in each epoch (of a probe with --optimizer adamw)",
        )


def extraction(
    network: Network,
    halves: Halves,
    *,
    images: Images,
    cache: FeatureCache,
    device: torch.device,
    precision: str = "auto",
) -> Extraction:
    """With the quickest way on `device`, where `network` is put, that agrees with the plain one on some of `images`."""
    network.eval().to(device)
    return Extraction(network, halves, fastest_on(images, halves.frozen, device=device, precision=precision), cache)
