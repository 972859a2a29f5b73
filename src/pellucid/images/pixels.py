"""The cached pixels of images, for training: decoded once, no larger than crops need, on disk and memory-mapped.

Validation and prediction see what the reference path gives (`open_image`, then `crop`), cached or not. For training's
own crops a large photograph is decoded at a reduced scale; a part of it has pixels close to the reference's for the
same part, and not equal.
"""

import math
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from math import prod
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from PIL import Image

from pellucid.images.augmentation import Augmentation
from pellucid.images.decode import THREADS, Unreadable, content_of, decoding_threads, open_image, open_reduced
from pellucid.images.manifest import sha256_of
from pellucid.images.preprocessing import INTERPOLATIONS, Pixels, Preprocessing, crop, resized, single
from pellucid.images.store import Cached, Lookup, Store, Writing

STRETCH, STRETCH_BYTES = 64, 256 << 20  # what an interruption loses, at most
AHEAD = 4 * THREADS  # images that may be decoded before they are written
SHARE = 0.5  # of the cache, and of the disk's free room, that one training's pixels may take
SAMPLED = 8  # images by which the room for all is judged
FEWEST = 1  # pixels: the reduced scale at which a file that nobody wants to see is still read to its end


Made = TypeVar("Made")


@dataclass(frozen=True)
class Decoded:
    """Pixels (height, width, 3), uint8, and whether they come from a JPEG decoded at a reduced scale."""

    pixels: Pixels
    reduced: bool = False


@dataclass(frozen=True)
class Form:
    """What is the same in every epoch.

    The reference `crop`; or the image `resized`, of which crops are taken; or the `whole` image, no larger than is
    needed. A JPEG needs a short side of `least` pixels; with None, it is decoded in full.
    """

    what: Literal["crop", "resized", "whole"]
    preprocessing: Preprocessing
    least: int | None = None

    @classmethod
    def of(cls, preprocessing: Preprocessing, augmentation: Augmentation | None) -> "Form":
        """What versions by `augmentation` start from; with None, what validation and prediction see."""
        bare = preprocessing.model_copy(update={"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0), "channels": "RGB"})
        if augmentation is None:
            return cls("crop", bare)
        reduced = augmentation.decode == "reduced"
        if augmentation.crop != "random-resized" and preprocessing.resize is not None:
            how = single(bare).model_copy(update={"size": 1})
            return cls("resized", how, int(np.max(preprocessing.resize)) if reduced else None)
        same = single(bare).model_copy(update={"resize": None, "interpolation": None, "size": 1})
        if augmentation.crop != "random-resized" or not reduced:
            return cls("whole", same)
        # A crop of the smallest share of the area still has `size` pixels per side.
        return cls("whole", same, math.ceil(preprocessing.size / math.sqrt(augmentation.scale[0])))

    def cut(self, image: Image.Image, extent: tuple[int, int], *, name: str = "the image") -> Decoded:
        """From an image, which may be a reduced one of the (width, height) `extent`. Raises Unreadable with `name`."""
        how, reduced = self.preprocessing, image.size != extent
        if self.what == "crop":
            return Decoded(crop(image, how, name=name))
        if how.resize is not None and how.interpolation is not None:
            image = image.resize(resized(extent, how.resize, name=name), INTERPOLATIONS[how.interpolation])
        elif self.least is not None and min(image.size) > 2 * self.least:  # no JPEG, or one beyond the smallest scale
            image = image.resize(resized(image.size, self.least), Image.Resampling.BOX)
        return Decoded(np.asarray(image, dtype=np.uint8), reduced)


def decode(content: bytes, forms: Sequence[Form], *, name: str) -> dict[Form, Decoded]:
    """Every form of one file's `content`, decoded in full at most once. Raises Unreadable with `name`."""
    found: dict[Form, Decoded] = {}
    whole: dict[tuple[int, int, int], Image.Image] = {}  # by background
    for form in sorted(forms, key=lambda form: form.least is None):
        background = form.preprocessing.background
        if form.least is None:
            image = whole.get(background) or open_image(content, background=background, name=name)
            whole[background] = image
            found[form] = form.cut(image, image.size, name=name)
            continue
        image, extent = open_reduced(content, least=form.least, background=background, name=name)
        if image.size == extent:
            whole[background] = image
        found[form] = form.cut(image, extent, name=name)
    return found


@dataclass(frozen=True)
class Request:
    """A file, and the forms in which it will be seen; with none, it is only read to its end.

    `resize` is what it will be resized to later on, by whoever looks at it then: one that cannot be is refused now.
    """

    path: Path
    forms: tuple[Form, ...]
    resize: int | tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class _Read:
    """What was `found` of a file, the hash of its content or why it cannot be read; the forms that were decoded, and
    whether it is `new`: not all that is wanted of it was cached.
    """

    found: str | Unreadable
    new: bool = False
    forms: Mapping[Form, Decoded] = field(default_factory=dict)


@dataclass(frozen=True)
class Decoding:
    """How it stands with decoding; the last one has the content hash of every file, or why it cannot be read."""

    done: int
    total: int
    found: tuple[str | Unreadable, ...] = ()


class PixelCache:
    """Decoded pixels by form and content, shared between runs. What is not cached is decoded by whoever asks.

    After `fill`: how many images were `decoded` for it and how many of them at a `reduced` scale, and the bytes
    `needed` for all that was wanted; whether it `fits` into `room`, and so is cached; `refused` says why
    the disk did not take it.
    """

    def __init__(self, folder: Path, *, limit: int) -> None:
        self.folder, self.limit = folder, limit
        self.rows: dict[Form, dict[str, Cached]] = {}
        self.decoded = self.reduced = self.needed = 0
        self.fits, self.refused = True, ""
        self._new = False  # whether anything was not cached yet

    @cached_property
    def room(self) -> int:
        """Bytes that one training's pixels may take."""
        try:
            place = next(place for place in (self.folder, *self.folder.absolute().parents) if place.exists())
            free = shutil.disk_usage(place).free
        except OSError:  # nobody may look at it
            free = 0
        return int(SHARE * min(self.limit, free))

    @property
    def has_all(self) -> bool:
        """Whether nothing that was wanted must be decoded again."""
        return self.fits and self.needed > 0

    def get(self, form: Form, content: str) -> Pixels | None:
        row = self.rows.get(form, {}).get(content)
        return row.array if row else None

    def fill(self, wanted: Sequence[Request]) -> Iterator[Decoding]:
        """Read every file to its end and cache the forms that are wanted of it, where there is room for all.

        A file is read once: hash and pixels are of the same bytes, whoever writes to it meanwhile. The last Decoding
        has the content hash of each file, or why it cannot be read.
        """
        found: list[str | Unreadable] = []
        yield Decoding(0, len(wanted))
        lookups = {form: self._store(form).lookup() for form in {form for each in wanted for form in each.forms}}
        self.rows |= {form: {} for form in lookups}
        self.fits, self.refused, self._new = True, "", False
        with decoding_threads() as pool:
            sampled = self._estimate(wanted, lookups, pool)
            made = _ahead(
                pool, lambda place: sampled.pop(place, None) or self._read(wanted[place], lookups), len(wanted)
            )
            for start in range(0, len(wanted), stretch := self._stretch(len(wanted))):
                yield Decoding(start, len(wanted))
                found += self._written(islice(made, stretch))
        self.fits = self.fits or not self._new
        if self.fits:
            self.needed = self._bytes()
        yield Decoding(len(wanted), len(wanted), tuple(found))

    def _stretch(self, images: int) -> int:
        """How many images are written at once."""
        return STRETCH if not self.fits else max(1, min(STRETCH, STRETCH_BYTES * images // max(1, self.needed)))

    def _read(self, request: Request, lookups: Mapping[Form, Lookup]) -> _Read:
        """The forms that are not cached yet; an image of which one is cached was read before."""
        name = str(request.path)
        try:
            content = content_of(request.path, name)
            read = _Read(sha256_of(content))
            missing = [form for form in request.forms if not self._cached(form, str(read.found), lookups)]
            if missing and self.fits:
                return replace(read, new=True, forms=decode(content, missing, name=name))
            if missing or not request.forms:
                _, extent = open_reduced(content, least=FEWEST, name=name)
                if request.resize is not None:
                    resized(extent, request.resize, name=name)
            return replace(read, new=bool(missing))
        except Unreadable as unreadable:
            return _Read(unreadable)

    def _cached(self, form: Form, content: str, lookups: Mapping[Form, Lookup]) -> bool:
        rows = self.rows[form]
        if content not in rows and (row := lookups[form].get(content)):
            rows[content] = row
        return content in rows

    def _written(self, made: Iterable[_Read]) -> Iterator[str | Unreadable]:
        """Write what is `made`: the hash of each content, or why there is nothing to write."""
        with ExitStack() as stack:
            stretches: dict[Form, Writing] = {}
            for read in made:
                yield read.found
                self._new |= read.new
                self.decoded += bool(read.forms)
                for form, image in read.forms.items():
                    if form not in stretches:
                        stretches[form] = stack.enter_context(self._store(form).writing())
                    stretches[form].append(str(read.found), image.pixels)
                    self.reduced += image.reduced
        for form, stretch in stretches.items():
            self.rows[form] |= stretch.cached
            if stretch.refused:
                self.fits, self.refused = False, f"{self.folder} cannot keep them: {stretch.refused}"

    def _estimate(
        self, wanted: Sequence[Request], lookups: Mapping[Form, Lookup], pool: ThreadPoolExecutor
    ) -> dict[int, _Read]:
        """What all of it takes, judged by a few images: what was read of them, by their places in `wanted`."""
        seen = [place for place, each in enumerate(wanted) if each.forms]
        some = seen[:: max(1, len(seen) // SAMPLED)]
        read = dict(zip(some, pool.map(lambda place: self._read(wanted[place], lookups), some), strict=True))
        sizes = [
            sum(
                one.forms[form].pixels.nbytes if form in one.forms else prod(self.rows[form][one.found].shape)
                for form in wanted[place].forms
            )
            for place, one in read.items()
            if isinstance(one.found, str)
        ]
        self.needed = round(len(seen) * sum(sizes) / len(sizes)) if sizes else 0
        self.fits = self.needed <= self.room
        return {place: one for place, one in read.items() if self.fits or not one.forms}

    def _bytes(self) -> int:
        """Of all that is cached of what was wanted."""
        return sum(prod(row.shape) for rows in self.rows.values() for row in rows.values())

    def _store(self, form: Form) -> Store:
        how = form.preprocessing.model_dump(mode="json", exclude={"mean", "std", "channels"})
        return Store(self.folder, "pixels", {"what": form.what, "least": form.least, **how}, limit=self.limit)


def _ahead(pool: ThreadPoolExecutor, make: Callable[[int], Made], number: int) -> Iterator[Made]:
    """As pool.map over so many numbers, but no further ahead of what is taken than AHEAD."""
    pending = deque[Future[Made]]()
    for each in range(number):
        pending.append(pool.submit(make, each))
        if len(pending) == AHEAD:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()
