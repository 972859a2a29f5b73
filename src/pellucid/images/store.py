"""Arrays on disk, shared between runs: memory-mapped, bounded, and never believed without their key and their hash.

A key has a folder; in it, each stretch of images that was written at once is one file of their values, end to end
(.values), beside a note (.json) of whose they are and how they are shaped. The note is written last, so what was
interrupted does not count; two processes that compute the same write two stretches, and one of them is used.
"""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from pellucid.errors import UserError
from pellucid.records import write

FORMAT = 3
VALUES = ".values"


def cache_folder(chosen: str | None) -> Path:
    """Where features and pixels are kept: `chosen`, else $PELLUCID_CACHE, else the user's cache."""
    if chosen:
        return Path(chosen)
    if place := os.environ.get("PELLUCID_CACHE"):
        return Path(place)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "pellucid"


@dataclass
class Stretch:
    """One file of arrays, end to end. Sent to another process, it is opened there and not copied."""

    path: Path
    dtype: str

    @cached_property
    def flat(self) -> npt.NDArray[Any]:
        return np.asarray(np.memmap(self.path, self.dtype, mode="r"))

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "dtype": self.dtype}


@dataclass(frozen=True)
class Row:
    """What a stretch holds of one image."""

    stretch: Stretch
    start: int
    shape: tuple[int, ...]

    @property
    def array(self) -> npt.NDArray[Any]:
        return self.stretch.flat[self.start : self.start + prod(self.shape)].reshape(self.shape)


class Store:
    """The arrays of one key: what was computed, from which images, in which way. `kind` names its shelf."""

    def __init__(self, folder: Path, kind: str, key: Mapping[str, Any], *, limit: int) -> None:
        self.key = {"format": FORMAT, **key}
        self.folder, self.limit = folder, limit
        self.place = folder / kind / hashlib.sha256(_plain(self.key).encode()).hexdigest()[:32]

    def rows(self, images: Sequence[str]) -> dict[str, Row]:
        """The arrays of those `images` (content hashes) that are here and whole; damaged stretches are removed.

        Stretches that hold none of them, of other data under the same key, are neither read nor counted as used.
        """
        wanted, found = set(images), dict[str, Row]()
        for note in sorted(self.place.glob("*.json")):
            held = self._read(note, wanted)
            if held is None:
                note.unlink(missing_ok=True)
                note.with_suffix(VALUES).unlink(missing_ok=True)
                continue
            used = {name: row for name, row in held.items() if name in wanted}
            for name, row in used.items():
                found.setdefault(name, row)
            if used:
                note.touch()  # used now: what is used least goes first
        return found

    def add(self, images: Sequence[str], arrays: Sequence[npt.NDArray[Any]]) -> dict[str, Row]:
        """Keep an array (all of one dtype, of any shape) for each of `images`.

        Gives them back as kept; the least recently used of other keys make room. Raises UserError where the folder
        cannot be written to.
        """
        with self.writing() as stretch:
            for image, array in zip(images, arrays, strict=True):
                stretch.append(image, array)
        return stretch.kept

    @contextmanager
    def writing(self) -> Iterator["Writing"]:
        """A stretch to which arrays are appended; kept when the context ends, and gone without a trace if it breaks.

        Raises UserError where the folder cannot be written to.
        """
        stretch = Writing(self.place / secrets.token_hex(8))
        try:
            self.place.mkdir(parents=True, exist_ok=True)
            try:
                with stretch.partial.open("wb") as stretch.file:
                    yield stretch
                if stretch.images:
                    stretch.keep(self.key)
                    self._make_room()
            finally:
                stretch.partial.unlink(missing_ok=True)
        except OSError as cause:
            raise UserError(
                f"{self.folder} cannot keep what was computed: {cause.strerror or cause}",
                hint="name another --features.folder, or go without: --features.cache off --features.pixels off",
            ) from cause

    def _read(self, note: Path, wanted: set[str]) -> dict[str, Row] | None:
        """What a stretch holds, None where it is damaged."""
        try:
            noted = json.loads(note.read_text(encoding="utf-8"))
            file = note.with_suffix(VALUES)
            if noted["key"] != json.loads(_plain(self.key)):
                return None
            if wanted.isdisjoint(noted["images"]):
                return {}
            if _hash(file) != noted["sha256"]:
                return None
            return _rows(Stretch(file, noted["dtype"]), noted["images"], noted["shapes"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _make_room(self) -> None:
        """Remove other keys, the least recently used first, until all fit; what this key holds is in use."""
        keys = [place for place in self.folder.glob("*/*") if place.is_dir()]
        used = {place: sum(size for size, _ in _files(place)) for place in keys}
        moments = {place: max((moment for _, moment in _files(place)), default=0.0) for place in keys}
        for place in sorted(keys, key=moments.__getitem__):
            if sum(used.values()) <= self.limit:
                return
            if place != self.place:
                shutil.rmtree(place, ignore_errors=True)
                used[place] = 0


class Writing:
    """A stretch as it is written, hashed as it goes; `kept` once it is whole."""

    file: IO[bytes]

    def __init__(self, path: Path) -> None:
        self.path, self.partial = path, path.with_suffix(f".{os.getpid()}.part")
        self.images: list[str] = []
        self.shapes: list[tuple[int, ...]] = []
        self.dtype = ""
        self.kept: dict[str, Row] = {}
        self._hash = hashlib.sha256()

    def append(self, image: str, array: npt.NDArray[Any]) -> None:
        """The array (of one dtype with all the others) of `image`, a content hash."""
        values = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
        self.file.write(values)
        self._hash.update(values)
        self.images.append(image)
        self.shapes.append(array.shape)
        self.dtype = array.dtype.str

    def keep(self, key: Mapping[str, Any]) -> None:
        """Give the stretch its name, then its note."""
        file = self.path.with_suffix(VALUES)
        self.partial.replace(file)
        note = {"key": key, "sha256": self._hash.hexdigest(), "dtype": self.dtype}
        self.kept = _rows(Stretch(file, self.dtype), self.images, self.shapes)
        write(self.path.with_suffix(".json"), json.dumps(note | {"images": self.images, "shapes": self.shapes}))


def _rows(stretch: Stretch, images: list[str], shapes: Sequence[Any]) -> dict[str, Row]:
    """Opens the stretch, so that it stays open whoever makes room. Raises ValueError where it holds something else."""
    if len(shapes) != len(images) or sum(prod(shape) for shape in shapes) != len(stretch.flat):
        raise ValueError("the note speaks of other arrays")
    found, start = dict[str, Row](), 0
    for name, shape in zip(images, shapes, strict=True):
        found[name] = Row(stretch, start, tuple(shape))
        start += prod(shape)
    return found


def _files(place: Path) -> Iterator[tuple[int, float]]:
    try:
        paths = list(place.iterdir())
    except OSError:  # another process removed it
        return
    for path in paths:
        try:
            state = path.stat()
        except OSError:
            continue
        yield state.st_size, state.st_mtime


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _plain(key: Mapping[str, Any]) -> str:
    return json.dumps(key, sort_keys=True, separators=(",", ":"))
