"""Images on disk become batches of pixels, which become input on the device: the data set, the loader, `prepare`."""

from collections.abc import Iterator, Sequence
from copy import copy
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pellucid.images.augmentation import Augmentation, augment
from pellucid.images.decode import Unreadable, content_of
from pellucid.images.manifest import sha256_of
from pellucid.images.pixels import Form, PixelCache, decode
from pellucid.images.preprocessing import Pixels, Preprocessing, normalise, order
from pellucid.images.samples import Sample
from pellucid.images.workers import Workers

MEMORY = 512 << 20  # bytes: 3,500 crops of 224 pixels, or 2,700 photos of 256

Item = tuple[Tensor, int, int]
Batch = tuple[Tensor, Tensor, Tensor]


class Images:
    """Samples of a split as input: item -> (float32 tensor (3, size, size), index of the label, index of the item).

    With an augmentation, each epoch shows another version of every image, by (seed, epoch, index) alone: any number of
    workers gives the same pixels. Without one, every image is prepared as for prediction. What does not change
    between epochs (see pixels.Form) is looked up in the `cache`, or decoded and left in memory up to `memory` bytes.
    `show` says what comes next: loaders, their workers and what these remember live on from epoch to epoch.
    """

    def __init__(
        self,
        files: Sequence[Sample],
        classes: Sequence[str],
        preprocessing: Preprocessing,
        augmentation: Augmentation | None,
        seed: int,
        *,
        cache: PixelCache | None = None,
        memory: int = MEMORY,
    ) -> None:
        number = {name: index for index, name in enumerate(classes)}
        self.paths = tuple(file.path for file in files)
        self.contents = tuple(file.content for file in files)
        self.labels = tuple(number[file.label] for file in files)
        self.preprocessing = preprocessing
        self.augmentation = augmentation
        self.seed = seed
        self.numbers: Sequence[int] = range(len(self.paths))  # what versions are drawn by, beside seed and epoch
        self.order: Sequence[int] = range(len(self.paths))
        self.epoch = 0
        self.cache = cache
        self.form = Form.of(preprocessing, augmentation)
        self._in_memory: dict[int, Pixels] = {}
        self.room = memory

    def show(self, *, epoch: int = 0, order: Sequence[int] | None = None) -> None:
        """Choose the versions, and the items in their order (None: every item once), that loaders give from now on."""
        self.epoch = epoch
        self.order = range(len(self)) if order is None else order

    def versions_by(self, numbers: Sequence[int], augmentation: Augmentation | None) -> "Images":
        """The same files, in versions of their own that are drawn by `numbers` and not by an image's place."""
        other = copy(self)
        other.numbers, other.augmentation = numbers, augmentation
        other.form = Form.of(self.preprocessing, augmentation)
        other._in_memory = {}
        other.show()
        return other

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Item:
        """Raises Unreadable, with the file's name, where it cannot be decoded."""
        return torch.from_numpy(normalise(self.pixels(index), self.preprocessing)), self.labels[index], index

    def pixels(self, index: int) -> Pixels:
        """The item before it is normalised: uint8 (size, size, 3)."""
        unvaried = self._unvaried(index)
        if self.augmentation is None:
            return unvaried
        seed = (self.seed, self.epoch, self.numbers[index])
        return augment(unvaried, self.augmentation, self.preprocessing, seed=seed)

    @property
    def bytes(self) -> int:
        """Of one item's pixels."""
        return 3 * (self.preprocessing.size if self.augmentation else self.preprocessing.seen) ** 2

    def named(self, index: int) -> str:
        """What errors call the item."""
        return str(self.paths[index])

    def begin_worker(self, workers: int) -> None:
        """This process is one of so many that share the work, and the room in memory."""
        torch.set_num_threads(1)
        self.room //= workers

    def __getstate__(self) -> dict[str, Any]:
        """For another process: it is told its order a batch at a time, and remembers what it decodes itself."""
        return self.__dict__ | {"order": (), "_in_memory": {}}

    def _unvaried(self, index: int) -> Pixels:
        """What of the item is the same in every epoch."""
        found = self._in_memory.get(index)
        if found is None and self.cache is not None:
            found = self.cache.get(self.form, self.contents[index])
        if found is None:
            found = self._decoded(index)
            if found.nbytes <= self.room:
                self._in_memory[index] = found
                self.room -= found.nbytes
        return found

    def _decoded(self, index: int) -> Pixels:
        """From a file that is still what it was when it was divided: its hash names what comes of it."""
        name = self.named(index)
        content = content_of(self.paths[index], name)
        if sha256_of(content) != self.contents[index]:
            raise Unreadable(name, "changed since the images were divided")
        return decode(content, (self.form,), name=name)[self.form].pixels


def epoch_order(n: int, *, seed: int, epoch: int, weights: Sequence[float] | None = None) -> npt.NDArray[np.int64]:
    """The order in which an epoch visits `n` items: a permutation, or with weights `n` draws in proportion to them."""
    random = np.random.default_rng((seed, epoch))
    if weights is None:
        return random.permutation(n)
    share = np.asarray(weights, dtype=np.float64)
    return random.choice(n, size=n, p=share / share.sum())


class Loader:
    """Batches of (pixels, labels (N,), indices (N,)), each time in the order that `images.show` set last.

    Pixels are uint8 (N, 3, S, S), red first, channels last in memory; `prepare` makes input of them. They are cropped,
    flipped and coloured already, which is done in uint8 where an image is decoded.

    `workers` processes make them, or with 0 this one; they live on from pass to pass, until `close`, an error, or until
    nothing refers to the loader. Raises Unreadable for the first image that cannot be decoded, wherever it was met, and
    UserError where a process ends or hangs.
    """

    def __init__(self, images: Images, *, batch: int, workers: int) -> None:
        self.images, self.batch = images, batch
        self._workers = Workers(images, workers, size=batch * images.bytes) if workers else None

    def __iter__(self) -> Iterator[Batch]:
        images, order = self.images, list(self.images.order)
        parts = [order[start : start + self.batch] for start in range(0, len(order), self.batch)]
        labels = torch.tensor(images.labels)
        for indices, pixels in zip(parts, self._made(parts), strict=True):
            chosen = torch.tensor(indices)
            yield torch.from_numpy(pixels).permute(0, 3, 1, 2), labels[chosen], chosen

    def _made(self, parts: list[list[int]]) -> Iterator[Pixels]:
        if self._workers and self._workers.most:
            made = self._workers.batches(parts, epoch=self.images.epoch)
            return (pixels.copy() for pixels in made)  # where theirs lie is written over
        return (np.stack([self.images.pixels(index) for index in part]) for part in parts)

    def close(self) -> None:
        if self._workers:
            self._workers.close()


def prepare(pixels: Tensor, device: torch.device | str, preprocessing: Preprocessing) -> Tensor:
    """A loader's uint8 (N, 3, S, S) as float32 input on `device`, which bytes reach: four times less to carry.

    Equal to preprocessing.normalise, bit for bit; channels stay last in memory.
    """
    rows = pixels.to(device).permute(0, 2, 3, 1).contiguous()
    number, height, width, channels = rows.shape
    # A row of pixels at once: with three numbers a time, torch takes six times as long.
    seen = order(preprocessing)
    if preprocessing.channels != "RGB":
        rows = rows[..., seen]
    most, mean, std = (
        torch.tensor(three, device=device)[seen].repeat(width)
        for three in ((255.0,) * channels, preprocessing.mean, preprocessing.std)
    )
    # Of a number that is no tensor of its own a GPU would take the reciprocal, and multiply: other last digits.
    scaled = rows.float().view(number * height, width * channels).div_(most).sub_(mean).div_(std)
    return scaled.view(rows.shape).permute(0, 3, 1, 2)
