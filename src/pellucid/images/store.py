"""Arrays on disk, shared between runs: memory-mapped, bounded, and never believed without their key and their hash.

A key has a folder; in it, each stretch of images that was computed at once is one flat array (.npy) beside a note
(.json) of whose it is and how it is shaped. The note is written last, so what was interrupted does not count; two
processes that compute the same write two stretches, and one of them is used.
"""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pellucid.errors import UserError
from pellucid.records import write

FORMAT = 2


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

    @cached_property
    def flat(self) -> npt.NDArray[Any]:
        return np.asarray(np.load(self.path, mmap_mode="r", allow_pickle=False))

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}


@dataclass(frozen=True)
class Row:
    """What a stretch holds of one image, and what was noted beside it."""

    stretch: Stretch
    start: int
    shape: tuple[int, ...]
    told: Any = None

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
                note.with_suffix(".npy").unlink(missing_ok=True)
                continue
            used = {name: row for name, row in held.items() if name in wanted}
            for name, row in used.items():
                found.setdefault(name, row)
            if used:
                note.touch()  # used now: what is used least goes first
        return found

    def add(
        self, images: Sequence[str], arrays: Sequence[npt.NDArray[Any]], told: Sequence[Any] | None = None
    ) -> dict[str, Row]:
        """Keep an array (all of one dtype, of any shape) for each of `images`, with what is `told` of it.

        Gives them back as kept; the least recently used of other keys make room. Raises UserError where the folder
        cannot be written to.
        """
        try:
            return self._added(list(images), arrays, told)
        except OSError as cause:
            raise UserError(
                f"{self.folder} cannot keep what was computed: {cause.strerror or cause}",
                hint="name another --features.folder, or go without: --features.cache off --features.pixels off",
            ) from cause

    def _added(
        self, images: list[str], arrays: Sequence[npt.NDArray[Any]], told: Sequence[Any] | None
    ) -> dict[str, Row]:
        self.place.mkdir(parents=True, exist_ok=True)
        stretch = self.place / secrets.token_hex(8)
        partial = stretch.with_suffix(f".{os.getpid()}.part")
        with partial.open("wb") as file:
            np.save(file, np.concatenate([array.reshape(-1) for array in arrays]))
        content = _hash(partial)
        partial.replace(stretch.with_suffix(".npy"))
        shapes = [array.shape for array in arrays]
        note = {"key": self.key, "sha256": content, "images": images, "shapes": shapes, "told": told}
        kept = _rows(Stretch(stretch.with_suffix(".npy")), images, shapes, told)
        write(stretch.with_suffix(".json"), json.dumps(note))
        self._make_room()
        return kept

    def _read(self, note: Path, wanted: set[str]) -> dict[str, Row] | None:
        """What a stretch holds, None where it is damaged."""
        try:
            noted = json.loads(note.read_text(encoding="utf-8"))
            file = note.with_suffix(".npy")
            if noted["key"] != json.loads(_plain(self.key)):
                return None
            if wanted.isdisjoint(noted["images"]):
                return {}
            if _hash(file) != noted["sha256"]:
                return None
            return _rows(Stretch(file), noted["images"], noted["shapes"], noted["told"])
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


def _rows(stretch: Stretch, images: list[str], shapes: Sequence[Any], told: Sequence[Any] | None) -> dict[str, Row]:
    """Opens the stretch, so that it stays open whoever makes room. Raises ValueError where it holds something else."""
    if len(shapes) != len(images) or sum(prod(shape) for shape in shapes) != len(stretch.flat):
        raise ValueError("the note speaks of other arrays")
    found, start = dict[str, Row](), 0
    for number, (name, shape) in enumerate(zip(images, shapes, strict=True)):
        found[name] = Row(stretch, start, tuple(shape), told[number] if told else None)
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
