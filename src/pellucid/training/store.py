"""Features on disk, shared between runs: memory-mapped, bounded, and never believed without their key and their hash.

A key has a folder; in it, each stretch of images that was computed at once is an array (.npy) beside a note (.json) of
whose features it holds. The note is written last, so what was interrupted does not count; two processes that compute
the same write two stretches, and one of them is used.
"""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pellucid.records import write

FORMAT = 1
Row = tuple[npt.NDArray[np.floating[Any]], int]  # the stretch, and the image's place in it


def cache_folder(chosen: str | None) -> Path:
    """Where features are kept: `chosen`, else $PELLUCID_CACHE, else the user's cache."""
    if chosen:
        return Path(chosen)
    if place := os.environ.get("PELLUCID_CACHE"):
        return Path(place)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "pellucid"


class Store:
    """The features of one key: what was computed, of which network, from which pixels."""

    def __init__(self, folder: Path, key: Mapping[str, Any], *, limit: int) -> None:
        self.key = {"format": FORMAT, **key}
        self.root, self.limit = folder / "features", limit
        self.place = self.root / hashlib.sha256(_plain(self.key).encode()).hexdigest()[:32]

    def rows(self, images: Sequence[str]) -> dict[str, Row]:
        """The features of those `images` (content hashes) that are here and whole; damaged stretches are removed."""
        wanted, found = set(images), dict[str, Row]()
        for note in sorted(self.place.glob("*.json")):
            held = self._read(note)
            if held is None:
                note.unlink(missing_ok=True)
                note.with_suffix(".npy").unlink(missing_ok=True)
                continue
            names, array = held
            for row, name in enumerate(names):
                if name in wanted:
                    found.setdefault(name, (array, row))
            note.touch()  # used now: what is used least goes first
        return found

    def add(self, images: Sequence[str], features: npt.NDArray[np.floating[Any]]) -> dict[str, Row]:
        """Keep the features of `images`, in their order, and give them back as kept; older keys make room."""
        self.place.mkdir(parents=True, exist_ok=True)
        stretch = self.place / secrets.token_hex(8)
        partial = stretch.with_suffix(f".{os.getpid()}.part")
        with partial.open("wb") as file:
            np.save(file, features)
        content = _hash(partial)
        array = stretch.with_suffix(".npy")
        partial.replace(array)
        kept = np.load(array, mmap_mode="r", allow_pickle=False)  # open from now on, whoever makes room
        write(stretch.with_suffix(".json"), json.dumps({"key": self.key, "sha256": content, "images": list(images)}))
        self._make_room()
        return {name: (kept, row) for row, name in enumerate(images)}

    def _read(self, note: Path) -> tuple[list[str], npt.NDArray[np.floating[Any]]] | None:
        try:
            told = json.loads(note.read_text(encoding="utf-8"))
            file = note.with_suffix(".npy")
            if told["key"] != json.loads(_plain(self.key)) or _hash(file) != told["sha256"]:
                return None
            array = np.load(file, mmap_mode="r", allow_pickle=False)
            return (told["images"], array) if len(array) == len(told["images"]) else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _make_room(self) -> None:
        """Remove other keys, the least recently used first, until all fit; what this key holds is in use."""
        keys = [place for place in self.root.iterdir() if place.is_dir()]
        used = {place: sum(size for size, _ in _files(place)) for place in keys}
        moments = {place: max((moment for _, moment in _files(place)), default=0.0) for place in keys}
        for place in sorted(keys, key=moments.__getitem__):
            if sum(used.values()) <= self.limit:
                return
            if place != self.place:
                shutil.rmtree(place, ignore_errors=True)
                used[place] = 0


def _files(place: Path) -> Iterator[tuple[int, float]]:
    for path in place.iterdir():
        try:
            state = path.stat()
        except OSError:  # another process removed it
            continue
        yield state.st_size, state.st_mtime


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _plain(key: Mapping[str, Any]) -> str:
    return json.dumps(key, sort_keys=True, separators=(",", ":"))
