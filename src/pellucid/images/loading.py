"""Images on disk become batches of input: the data set and what it keeps in memory, the loader, its workers."""

import signal
from collections.abc import Iterator, Sequence
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from pellucid.images.augmentation import Augmentation, augment
from pellucid.images.decode import Unreadable
from pellucid.images.pixels import Form, PixelCache, decode
from pellucid.images.preprocessing import Pixels, Preprocessing, normalise
from pellucid.images.split import SplitFile

KEEP = 512 << 20  # bytes: 3,500 crops of 224 pixels, or 2,700 photos of 256

Item = tuple[Tensor, int, int]
Bare = tuple[Pixels, int, int]


class Images(Dataset):
    """Labelled files as input: item -> (float32 tensor (3, size, size), index of the label, index of the item).

    With an augmentation, each epoch shows another version of every image, by (seed, epoch, index) alone: any number of
    workers gives the same pixels. Without one, every image is prepared as for prediction. What does not change
    between epochs (see pixels.Form) is looked up in the `cache`, or decoded and kept in memory up to `keep` bytes.
    `show` says what comes next: loaders, their workers and what these keep live on from epoch to epoch.
    """

    def __init__(
        self,
        files: Sequence[SplitFile],
        root: Path,
        classes: Sequence[str],
        preprocessing: Preprocessing,
        augmentation: Augmentation | None,
        seed: int,
        *,
        cache: PixelCache | None = None,
        keep: int = KEEP,
    ) -> None:
        number = {name: index for index, name in enumerate(classes)}
        self.paths = tuple(root / file.path for file in files)
        self.contents = tuple(file.sha256 for file in files)
        self.labels = tuple(number[file.label] for file in files)
        self.preprocessing = preprocessing
        self.augmentation = augmentation
        self.seed = seed
        self.numbers: Sequence[int] = range(len(self.paths))  # what versions are drawn by, beside seed and epoch
        self.order: Sequence[int] = range(len(self.paths))
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # workers that are running read it too
        self.cache = cache
        self.form = Form.of(preprocessing, augmentation)
        self._kept: dict[int, Pixels] = {}
        self.room = keep

    def show(self, *, epoch: int = 0, order: Sequence[int] | None = None) -> None:
        """Choose the versions, and the items in their order (None: every item once), that loaders give from now on."""
        self._epoch.fill_(epoch)
        self.order = range(len(self)) if order is None else order

    def versions_by(self, numbers: Sequence[int], augmentation: Augmentation | None) -> "Images":
        """The same files, in versions of their own that are drawn by `numbers` and not by an image's place."""
        other = copy(self)
        other.numbers, other.augmentation = numbers, augmentation
        other.form = Form.of(self.preprocessing, augmentation)
        other._kept, other._epoch = {}, torch.zeros((), dtype=torch.int64).share_memory_()
        return other

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Item:
        """Raises Unreadable, with the file's name, where it cannot be decoded."""
        return torch.from_numpy(normalise(self.pixels(index), self.preprocessing)), self.labels[index], index

    def __getitems__(self, indices: Sequence[int]) -> list[Bare] | Unreadable:
        """A loader's batch before it is normalised, or the error of its first bad image.

        Raised in a worker, that would arrive as a traceback.
        """
        try:
            return [(self.pixels(index), self.labels[index], index) for index in indices]
        except Unreadable as unreadable:
            return unreadable

    def pixels(self, index: int) -> Pixels:
        """The item before it is normalised: uint8 (size, size, 3)."""
        kept = self.kept(index)
        if self.augmentation is None:
            return kept
        seed = (self.seed, int(self._epoch), self.numbers[index])
        return augment(kept, self.augmentation, self.preprocessing, seed=seed)

    def kept(self, index: int) -> Pixels:
        """What of the item is the same in every epoch."""
        kept = self._kept.get(index)
        if kept is None and self.cache is not None:
            kept = self.cache.get(self.form, self.contents[index])
        if kept is None:
            kept = decode(self.paths[index], (self.form,))[self.form].pixels
            if kept.nbytes <= self.room:
                self._kept[index] = kept
                self.room -= kept.nbytes
        return kept


def epoch_order(n: int, *, seed: int, epoch: int, weights: Sequence[float] | None = None) -> npt.NDArray[np.int64]:
    """The order in which an epoch visits `n` items: a permutation, or with weights `n` draws in proportion to them."""
    random = np.random.default_rng((seed, epoch))
    if weights is None:
        return random.permutation(n)
    share = np.asarray(weights, dtype=np.float64)
    return random.choice(n, size=n, p=share / share.sum())


def loader(images: Images, *, batch: int, workers: int) -> DataLoader:
    """Batches of (images (N, 3, S, S), labels (N,), indices (N,)), each time in the order that `images.show` set last.

    Raises Unreadable for the first image that cannot be decoded, also where a worker process met it.
    """
    return _Loader(
        images,
        batch_size=batch,
        sampler=_Shown(images),
        num_workers=workers,
        persistent_workers=workers > 0,
        worker_init_fn=_start_worker if workers else None,
        collate_fn=_collate,
        pin_memory=torch.cuda.is_available(),
        # Without its own generator, each loader would draw its workers' seeds from everybody's.
        generator=torch.Generator().manual_seed(images.seed),
    )


class _Shown(Sampler[int]):
    """The order of the images, as it is when an epoch begins."""

    def __init__(self, images: Images) -> None:
        self.images = images

    def __iter__(self) -> Iterator[int]:
        return iter(self.images.order)

    def __len__(self) -> int:
        return len(self.images.order)


class _Loader(DataLoader):
    dataset: Images

    def __iter__(self) -> Iterator[Any]:
        for batch in super().__iter__():
            if isinstance(batch, Unreadable):
                raise batch
            pixels, labels, indices = batch
            yield _normalised(pixels, self.dataset.preprocessing), labels, indices


def _collate(items: list[Bare] | Unreadable) -> Any:
    """Bytes until a batch has left its worker: they are a quarter of what the network sees."""
    if isinstance(items, Unreadable):
        return items
    pixels, labels, indices = zip(*items, strict=True)
    return torch.from_numpy(np.stack(pixels)), torch.tensor(labels), torch.tensor(indices)


def _normalised(pixels: Tensor, preprocessing: Preprocessing) -> Tensor:
    """As preprocessing.normalise, and equal to it: (N, S, S, 3) to (N, 3, S, S), its channels last in memory."""
    number, height, width, channels = pixels.shape
    # A row of pixels at once: with three numbers a time, torch takes six times as long.
    mean, std = (torch.tensor(three).repeat(width) for three in (preprocessing.mean, preprocessing.std))
    rows = pixels.float().view(number * height, width * channels).div_(255).sub_(mean).div_(std)
    return rows.view(pixels.shape).permute(0, 3, 1, 2)


def _go_on_once(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _start_worker(_: int) -> None:
    torch.set_num_threads(1)
    # A stop is for the main process, which then ends its workers: Ctrl-C and many job schedulers tell all of a group.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _go_on_once)
    worker = get_worker_info()
    worker.dataset.room //= worker.num_workers
