"""New folders that appear whole or not at all, and what dead writers left of them."""

import errno
import os
import shutil
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from pellucid.records import SCRATCH, hold, is_held, scratch_name


@contextmanager
def new_folder(folder: Path, *, holds: Collection[str]) -> Iterator[Path]:
    """A folder to be filled, which becomes `folder` in the end; that must be empty, or not be there yet.

    `holds` are the names of what may lie in it: by them, and by its own name, what a dead writer left is known, and
    removed. Raises OSError where the system refuses.
    """
    folder = followed(folder)
    scratch = folder.with_name(scratch_name(folder.name))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError as cause:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), cause.filename) from cause
    _clear(folder, holds)
    scratch.mkdir()
    held = None if sys.platform == "win32" else os.open(scratch, os.O_RDONLY)
    try:
        if held is not None:
            hold(held)
        yield scratch
        if folder.exists():
            folder.rmdir()
        scratch.rename(folder)
    finally:
        if held is not None:
            os.close(held)
        shutil.rmtree(scratch, ignore_errors=True)


def followed(path: Path) -> Path:
    """Where `path` leads, links and all. Raises OSError, for links that lead in a circle too."""
    try:
        return path.resolve()
    except RuntimeError as cause:  # until Python 3.12
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path)) from cause


def _clear(folder: Path, holds: Collection[str]) -> None:
    for entry in folder.parent.iterdir():
        found = SCRATCH.fullmatch(entry.name)
        if not found or found[1] != folder.name or entry.is_symlink() or not entry.is_dir():
            continue
        if all(path.name in holds for path in entry.iterdir()) and not is_held(entry):
            shutil.rmtree(entry, ignore_errors=True)
