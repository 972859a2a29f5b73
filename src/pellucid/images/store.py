"""Arrays on disk, shared between runs: memory-mapped, bounded, and never believed without their key and their hash.

A cache has a folder of its own, with a tag in it; on a shelf there each key has a folder, and in that each stretch of
images that was written at once is one file of their values, end to end (.values), beside a note (.json) of whose they
are and how they are shaped. The note is written last, so what was interrupted does not count; two processes that
compute the same write two stretches, and one of them is used. Only notes and what they speak of are ever removed.
"""

import errno
import hashlib
import json
import os
import re
import secrets
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from threading import Lock
from typing import IO, Any, Protocol

import numpy as np
import numpy.typing as npt
import PIL

from pellucid.errors import UserError, listed
from pellucid.images.decode import DECODING
from pellucid.images.scratch import followed
from pellucid.records import hold, is_held, write

FORMAT = 4
VALUES = ".values"
KEY, STEM = re.compile(r"[0-9a-f]{32}"), re.compile(r"[0-9a-f]{16}")  # names of a key's folder and of its stretches
PART = re.compile(r"[0-9a-f]{16}\.\d+\.part|\.[0-9a-f]{16}\.json\.[0-9a-f]{8}")  # values and notes, half written
NOTED = frozenset({"key", "sha256", "dtype", "images", "shapes"})

TAG = "CACHEDIR.TAG"
SIGNATURE = "Signature: 8a477f597d28d172789f06886806bc55"  # bford.info/cachedir: backups leave such folders out
OURS = "# pellucid: what is in here is computed again where it is missing"
SHELVES = frozenset({"features", "pixels"})  # all that lay in a cache before it had a tag
NOBODYS = frozenset({".DS_Store", "Thumbs.db", "desktop.ini", "lost+found"})  # what systems put into any folder


def cache_folder(chosen: str | None) -> Path:
    """Where features and pixels are cached: `chosen`, else $PELLUCID_CACHE, else the user's cache."""
    # An empty or relative XDG_CACHE_HOME counts as none (XDG Base Directory Specification).
    home = os.environ.get("XDG_CACHE_HOME", "")
    usual = f"{home if Path(home).is_absolute() else '~/.cache'}/pellucid"
    try:
        return Path(chosen or os.environ.get("PELLUCID_CACHE") or usual).expanduser()
    except RuntimeError:  # nobody knows a home
        return Path(tempfile.gettempdir()) / "pellucid-cache"


def check_folder(folder: Path, *, data: Path | None = None) -> None:
    """Raises UserError where `folder` is not the cache's own: where it holds anything that no cache put there, or lies
    in the folder of `data`, which would then have a class more.
    """
    flag = "PELLUCID_CACHE=" if folder == cache_folder(None) else "--features.folder "
    if strangers := sorted(_strangers(folder)):
        raise UserError(
            f"{folder} is no folder of the cache's own, which removes what is used least: it holds other things",
            listed(strangers, 5),
            hint=f"name one that is new or empty: {flag}{folder / 'pellucid-cache'}",
        )
    try:
        place, root = followed(folder), followed(data) if data and data.is_dir() else None
    except OSError:  # nothing can be written there, which is told when it is tried
        return
    if root and place.is_relative_to(root) and not any(name.startswith(".") for name in place.relative_to(root).parts):
        raise UserError(
            f"the cache {folder} would lie among the images in {data}",
            hint=f"name a folder beside them: {flag}{root.with_name('pellucid-cache')}",
        )


def _strangers(folder: Path) -> Iterator[str]:
    if _tagged(folder):
        return
    for entry in _entries(folder):
        if entry.name in NOBODYS:
            continue
        keys = entry.name in SHELVES and entry.is_dir(follow_symlinks=False)
        if not keys or not all(_is_key(each) for each in _entries(entry.path)):
            yield entry.name


def _tagged(folder: Path) -> bool:
    try:
        lines = (folder / TAG).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return False
    return lines[:1] == [SIGNATURE] and OURS in lines


def claim(folder: Path) -> None:
    """Make the folder and its tag. Raises UserError where it holds other things, OSError where it cannot be made."""
    check_folder(folder)
    if folder.is_file():
        raise NotADirectoryError(errno.ENOTDIR, "it is a file")
    folder.mkdir(parents=True, exist_ok=True)
    if not _tagged(folder):
        _write(folder / TAG, f"{SIGNATURE}\n{OURS}\n")


def _write(path: Path, text: str) -> None:
    """As records.write, with what the system said: here it ends no command."""
    try:
        write(path, text)
    except UserError as refused:
        raise refused.__cause__ or OSError(refused.problem) from refused


class Flat(Protocol):
    """Arrays, end to end."""

    @property
    def flat(self) -> npt.NDArray[Any]: ...


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
class InMemory:
    """Arrays in memory, where the disk does not take them."""

    flat: npt.NDArray[Any]


@dataclass(frozen=True)
class Cached:
    """What a stretch has of one image."""

    stretch: Flat
    start: int
    shape: tuple[int, ...]

    @property
    def array(self) -> npt.NDArray[Any]:
        return self.stretch.flat[self.start : self.start + prod(self.shape)].reshape(self.shape)


class Store:
    """The arrays of one key: what was computed, from which images, in which way. `kind` names its shelf.

    The versions of Pillow and of our decoding belong to every key: all of it comes from decoded pixels. `refused` says
    why the last arrays are not on disk, and is empty where they are.
    """

    def __init__(self, folder: Path, kind: str, key: Mapping[str, Any], *, limit: int) -> None:
        self.key = {"format": FORMAT, "pillow": PIL.__version__, "decoding": DECODING, **key}
        self.folder, self.limit = folder, limit
        self.place = folder / kind / _name(self.key)
        self.refused = ""

    def rows(self, images: Sequence[str]) -> dict[str, Cached]:
        """The arrays of those `images` (content hashes) that are here and whole; damaged stretches are removed.

        Stretches that hold none of them, of other data under the same key, are neither read nor counted as used.
        A folder that cannot be read has nothing.
        """
        lookup = self.lookup()
        return {name: row for name in images if (row := lookup.get(name))}

    def lookup(self) -> "Lookup":
        """What is here now, to be asked for one image after the other, where not all are known yet; see `rows`."""
        claims = dict[str, list[_Claim]]()
        for note, noted in _notes(self.place) if self._is_real() else ():
            try:
                if noted["key"] != json.loads(_plain(self.key)):
                    raise ValueError("the note of another key")
                claim = _Claim(note, noted)
                for name in frozenset[str](noted["images"]):
                    claims.setdefault(name, []).append(claim)
            except (ValueError, TypeError):
                _remove(note)
        return Lookup(claims)

    def add(self, images: Sequence[str], arrays: Sequence[npt.NDArray[Any]]) -> dict[str, Cached]:
        """Cache an array (all of one dtype, of any shape) for each of `images`.

        Gives them back; the least recently used of other keys make room. Where the folder cannot be written to or has
        no room, they stay in memory, and `refused` says why. Raises UserError for a folder that holds other things.
        """
        with self.writing() as stretch:
            for image, array in zip(images, arrays, strict=True):
                stretch.append(image, array)
        if not stretch.refused:
            return stretch.cached
        values = InMemory(np.concatenate([array.reshape(-1) for array in arrays]))
        return _rows(values, images, [array.shape for array in arrays])

    @contextmanager
    def writing(self) -> Iterator["Writing"]:
        """A stretch to which arrays are appended; cached when the context ends, and gone without a trace if it breaks.

        Where the folder cannot be written to or has no room, nothing is cached, and `refused` says why, of the stretch
        too. Raises UserError for a folder that holds other things.
        """
        stretch = Writing(
            self.place / secrets.token_hex(8), room=self.limit - sum(size for size, _ in _files(self.place))
        )
        try:
            with stretch.trying():
                claim(self.folder)
                _clear(self.folder)
                if not self._is_real():
                    raise OSError(f"{self.place} is a link, or lies behind one")
                stretch.open()
            yield stretch
            if stretch.images:
                with stretch.trying():
                    stretch.finish(self.key)
                    self._make_room()
        finally:
            stretch.close()
            with suppress(OSError):  # unless something is cached in it
                self.place.rmdir()
            self.refused = stretch.refused and f"{self.folder} cannot keep them: {stretch.refused}"

    def _is_real(self) -> bool:
        """Whether no link leads out of the cache: of what is elsewhere, nothing is ours to write or to remove."""
        try:
            return not (self.place.is_symlink() or self.place.parent.is_symlink())
        except OSError:  # such a name cannot be
            return False

    def _make_room(self) -> None:
        """Remove other keys, the least recently used first, until all fit; what lies under this key is in use."""
        keys = _keys(self.folder)
        used = {place: sum(size for size, _ in _files(place)) for place in keys}
        moments = {place: max((moment for _, moment in _files(place)), default=0.0) for place in keys}
        for place in sorted(keys, key=moments.__getitem__):
            if sum(used.values()) <= self.limit:
                return
            if place != self.place:
                _remove_key(place)
                used[place] = 0


class Lookup:
    """The arrays of a key, by content; any thread may ask."""

    def __init__(self, claims: Mapping[str, Sequence["_Claim"]]) -> None:
        self._claims = claims

    def get(self, image: str) -> Cached | None:
        return next((row for claim in self._claims.get(image, ()) if (row := claim.rows().get(image))), None)


class _Claim:
    """What a note says of its stretch. It is believed when it is first asked for, and one that is damaged removed."""

    def __init__(self, note: Path, noted: Mapping[str, Any]) -> None:
        self._note, self._noted = note, noted
        self._lock = Lock()
        self._rows: dict[str, Cached] | None = None

    def rows(self) -> dict[str, Cached]:
        with self._lock:
            if self._rows is None:
                self._rows = self._read()
            return self._rows

    def _read(self) -> dict[str, Cached]:
        file, noted = self._note.with_suffix(VALUES), self._noted
        try:
            if _hash(file) != noted["sha256"]:
                raise ValueError("damaged")
            rows = _rows(Stretch(file, noted["dtype"]), noted["images"], noted["shapes"])
        except (OSError, ValueError, TypeError):
            _remove(self._note)
            return {}
        with suppress(OSError):  # a folder that can only be read
            os.utime(self._note)  # used now: what is used least goes first
        return rows


class Writing:
    """A stretch as it is written, hashed as it goes; `cached` once it is whole, or `refused` with the reason."""

    def __init__(self, path: Path, *, room: int) -> None:
        self.path, self.partial = path, path.with_suffix(f".{os.getpid()}.part")
        self.room = room
        self.file: IO[bytes] | None = None
        self.images: list[str] = []
        self.shapes: list[tuple[int, ...]] = []
        self.dtype = ""
        self.cached: dict[str, Cached] = {}
        self.refused = ""
        self._hash = hashlib.sha256()

    @contextmanager
    def trying(self) -> Iterator[None]:
        """What the disk refuses in it ends the writing, and nothing else."""
        try:
            yield
        except OSError as cause:
            self.refused = cause.strerror or str(cause)
            self.cached = {}
            self.close()

    def open(self) -> None:
        for last in (False, True):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self.file = self.partial.open("xb")
                hold(self.file.fileno())
                return
            except FileNotFoundError:  # another process has just made room
                if last:
                    raise

    def append(self, image: str, array: npt.NDArray[Any]) -> None:
        """The array (of one dtype with all the others) of `image`, a content hash."""
        if self.file is None:
            return
        values = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
        self.room -= len(values)
        with self.trying():
            if self.room < 0:
                raise OSError("they are more than the cache may take (--cache-size)")
            self.file.write(values)
            self._hash.update(values)
            self.images.append(image)
            self.shapes.append(array.shape)
            self.dtype = array.dtype.str

    def finish(self, key: Mapping[str, Any]) -> None:
        """Give the stretch its name, then its note."""
        if self.file is None:
            return
        self.file.close()  # what the disk refuses at last, it refuses here
        file = self.path.with_suffix(VALUES)
        self.partial.replace(file)
        note: dict[str, Any] = {"key": key, "sha256": self._hash.hexdigest(), "dtype": self.dtype}
        note |= {"images": self.images, "shapes": self.shapes}
        try:
            _write(self.path.with_suffix(".json"), json.dumps(note))
        except BaseException:
            file.unlink(missing_ok=True)
            raise
        self.cached = _rows(Stretch(file, self.dtype), self.images, self.shapes)

    def close(self) -> None:
        """Leave nothing behind that is not whole."""
        if self.file is not None:
            with suppress(OSError):
                self.file.close()
            with suppress(OSError):
                self.partial.unlink(missing_ok=True)
        self.file = None


def _rows(stretch: Flat, images: Sequence[str], shapes: Sequence[Any]) -> dict[str, Cached]:
    """Opens the stretch, so that it stays open whoever makes room. Raises ValueError where something else is in it."""
    if len(shapes) != len(images) or sum(prod(shape) for shape in shapes) != len(stretch.flat):
        raise ValueError("the note speaks of other arrays")
    found, start = dict[str, Cached](), 0
    for name, shape in zip(images, shapes, strict=True):
        found[name] = Cached(stretch, start, tuple(shape))
        start += prod(shape)
    return found


def _entries(folder: str | Path) -> list["os.DirEntry[str]"]:
    """What lies in a folder; nothing where it is none, or another process removed it."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def _is_key(entry: "os.DirEntry[str]") -> bool:
    return KEY.fullmatch(entry.name) is not None and entry.is_dir(follow_symlinks=False)


def _keys(folder: Path) -> list[Path]:
    shelves = [entry.path for entry in _entries(folder) if entry.is_dir(follow_symlinks=False)]
    return [Path(entry.path) for shelf in shelves for entry in _entries(shelf) if _is_key(entry)]


def _clear(folder: Path) -> None:
    """Remove what dead processes left half written; what a living one holds stays."""
    for place in _keys(folder):
        for entry in _entries(place):
            ours = PART.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)
            if ours and not is_held(Path(entry.path)):
                with suppress(OSError):
                    Path(entry.path).unlink()


def _notes(place: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every file in `place` that is a note by its name and its fields, with what it says; no link is followed."""
    for entry in sorted(_entries(place), key=lambda entry: entry.name):
        path = Path(entry.path)
        if path.suffix != ".json" or not STEM.fullmatch(path.stem) or not entry.is_file(follow_symlinks=False):
            continue
        with suppress(OSError, ValueError):
            noted = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(noted, dict) and noted.keys() == NOTED:
                yield path, noted


def _remove_key(place: Path) -> None:
    """A key's notes, what they speak of, and the folder if that was all; whatever else lies there stays."""
    for note, noted in _notes(place):
        if _name(noted["key"]) == place.name:
            _remove(note)
    with suppress(OSError):
        place.rmdir()


def _remove(note: Path) -> None:
    with suppress(OSError):  # a folder that can only be read, or another process was quicker
        values = note.with_suffix(VALUES)
        if values.exists() and stat.S_ISREG(values.lstat().st_mode):
            values.unlink()
        note.unlink()


def _files(place: Path) -> Iterator[tuple[int, float]]:
    """The size and the last use of all that lies in a key's folder."""
    for entry in _entries(place):
        with suppress(OSError):
            if entry.is_file(follow_symlinks=False):
                state = entry.stat(follow_symlinks=False)
                yield state.st_size, state.st_mtime


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _name(key: Any) -> str:
    """Of the folder that a key has."""
    return hashlib.sha256(_plain(key).encode()).hexdigest()[:32]


def _plain(key: Any) -> str:
    return json.dumps(key, sort_keys=True, separators=(",", ":"))
