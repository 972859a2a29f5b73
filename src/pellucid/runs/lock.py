"""One training at a time for a run folder: who is at it holds a lock, which the system lets go when that process dies.

The lock is on RUN/running.json, which also says who it is, for those who are kept out. Where a file system knows no
locks, what that file says is all there is.
"""

import json
import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import sleep

from pellucid.errors import UserError, of_system

FILE = "running.json"
TRIES = 3  # who only asks whether it is held holds it for a moment
_held: set[Path] = set()  # by this process, whose own locks never keep it out
_changing = threading.Lock()


@dataclass(frozen=True)
class Holder:
    pid: int
    host: str


@contextmanager
def held(run: Path) -> Iterator[None]:
    """Hold the run folder for as long as it is trained. UserError where somebody else does, or may."""
    path = run.resolve() / FILE
    with _changing:
        if path in _held:
            raise UserError(f"{run} is being trained already, in this very process", hint="wait until it ends")
        number = _taken(run, path)
        _held.add(path)
    try:
        yield
    finally:
        with _changing:
            with suppress(OSError):  # its folder may be gone
                path.unlink()
            os.close(number)
            _held.discard(path)


def is_running(run: Path) -> bool:
    """Whether somebody on this machine is training it now."""
    path = run.resolve() / FILE
    with _changing:  # closing a file lets go of every lock that this process has on it
        if path in _held:
            return True
        try:
            number = os.open(path, os.O_RDWR)
        except OSError:
            return False
        try:
            return not _locked(number)
        finally:
            os.close(number)


def _taken(run: Path, path: Path) -> int:
    """The lock's open file. Waits for a moment, since who only asks whether it is held holds it for one too."""
    for attempt in range(TRIES):
        try:
            number = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as cause:
            raise of_system(cause, str(run), doing="trained further") from cause
        try:
            if _locked(number) and _is_still(number, path):
                _sign(number, run, path)
                return number
            if attempt == TRIES - 1:
                raise _busy(run, _holder(number))
        except OSError as cause:
            os.close(number)
            raise of_system(cause, str(path), doing="written") from cause
        except BaseException:
            os.close(number)
            raise
        os.close(number)
        sleep(0.05)
    raise AssertionError("the last attempt returns or raises")


def _is_still(number: int, path: Path) -> bool:
    """Whether the locked file is the one that others find: who ended a moment ago has removed theirs."""
    try:
        return os.fstat(number).st_ino == path.stat().st_ino
    except FileNotFoundError:
        return False


def _sign(number: int, run: Path, path: Path) -> None:
    """Say in the file who holds it, if nobody on another machine may."""
    before = _holder(number)
    if before and before.host != socket.gethostname():
        raise UserError(
            f"process {before.pid} on {before.host} began to train {run}, and never said that it ended",
            hint=f"if nothing runs there any more, remove {path}",
        )
    os.truncate(number, 0)
    os.lseek(number, 0, os.SEEK_SET)
    os.write(number, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode())


def _busy(run: Path, holder: Holder | None) -> UserError:
    if holder is None:
        return UserError(f"{run} is being trained by another process", hint="wait until it ends")
    here = holder.host == socket.gethostname()
    where = "" if here else f" on {holder.host}"
    stop = f", or stop it (kill -INT {holder.pid}) and resume" if here else ""
    return UserError(
        f"{run} is being trained by process {holder.pid}{where}, and two would spoil each other's work",
        hint=f"wait until it ends{stop}",
    )


def _holder(number: int) -> Holder | None:
    """Who wrote the file; None where it is empty, or cut short by a full disk."""
    try:
        os.lseek(number, 0, os.SEEK_SET)
        said = json.loads(os.read(number, 4096))
        return Holder(int(said["pid"]), str(said["host"]))
    except (ValueError, KeyError, TypeError):
        return None


def _locked(number: int) -> bool:
    """Lock the open file, unless another process has."""
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.lockf(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # this file system knows no locks
        return True
    return True
