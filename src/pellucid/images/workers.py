"""Processes that make batches side by side: none outlives what it works for, and nobody waits for one that is gone.

Bytes leave a process through memory that it has shared with its parent since it was forked, not through /dev/shm,
which is as small as a container wants it; where processes are not forked, through a pipe. No locks are taken, so a
process may be killed at any moment and leaves nothing that another waits for.
"""

import atexit
import mmap
import multiprocessing
import multiprocessing.util  # before atexit below: what is registered last is called first
import os
import signal
import sys
import traceback
import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from math import prod
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pellucid.errors import UserError, counted, listed

AHEAD = 2  # batches that a process has before it: the one that it makes, and the next
TICK = 1.0  # seconds between two looks at whether the others are still there
PATIENCE = 600  # ticks in which no image was finished by anybody: something hangs
ENDING = 5.0  # seconds that a killed process is waited for
SIGNALS = (signal.SIGINT, signal.SIGTERM)
MAIN_GUARD = 'put what the script does under `if __name__ == "__main__":`, since each of its processes reads it anew'
NO_GUARD = f"if this is a script, {MAIN_GUARD}; or --workers 0 needs none"

Bytes = npt.NDArray[np.uint8]


class Batched(Protocol):
    """What batches are made of; each process has its own."""

    def begin_worker(self, workers: int) -> None:
        """Called once in each of so many processes, before anything else."""

    def show(self, *, epoch: int) -> None: ...

    def pixels(self, index: int) -> Bytes:
        """Raises UserError for what cannot be read."""

    def named(self, index: int) -> str:
        """What an error calls it."""


class Workers:
    """Up to `most` processes, started when they are first needed. Closed when nothing refers to it any more, too.

    `size`: bytes of the largest batch that is to be expected.
    """

    def __init__(self, source: Batched, most: int, *, size: int) -> None:
        self.source, self.size = source, size
        self.most = most if may_start() else 0
        self._context: Any = multiprocessing.get_context(start_method())
        self._crew = _Crew()
        self._shared: _Shared | None = None
        self._free: list[int] = []  # slots, or leave to make one more batch where no memory is shared
        self._number = 0
        _CREWS.add(self._crew)
        self._closed = weakref.finalize(self, self._crew.end)

    def close(self) -> None:
        """End every process, whatever it does. Batches can be asked for again."""
        self._crew.end()

    def batches(self, parts: Sequence[Sequence[int]], *, epoch: int) -> Iterator[Bytes]:
        """One (N, height, width, 3) for each of `parts`, to be looked at until the next is asked for.

        Raises what a process raised, or UserError where one ended or nothing moves any more; all are ended then.
        """
        self._start(min(self.most, len(parts)))
        self._forget()
        tasks = deque(_Task(self._number + place, epoch, list(part)) for place, part in enumerate(parts))
        numbers = [task.number for task in tasks]
        self._number += len(parts)
        ready: dict[int, tuple[int, Bytes]] = {}
        try:
            for number in numbers:
                self._hand_out(tasks)
                while number not in ready:
                    self._collect(ready)
                    self._hand_out(tasks)
                yield ready[number][1]
                self._free.append(ready.pop(number)[0])
        except GeneratorExit:  # the reader has enough: what is still being made is for nobody
            self._forget()
            self._free += [slot for slot, _ in ready.values()]
            raise
        except BaseException:
            self.close()
            raise

    def _forget(self) -> None:
        for member in self._crew.members:
            member.doing = deque(replace(task, forgotten=True) for task in member.doing)

    def _start(self, wanted: int) -> None:
        members = self._crew.members
        if not members:
            self._free = list(range(self.most * AHEAD + 1))
            self._shared = self._sharing(len(self._free))
        while len(members) < wanted:
            ours, theirs = self._context.Pipe()
            _OURS.add(ours)  # before the fork: the process must not hold open the end by whose closing it is told
            place = len(members)
            given = (self.source, place, self.most, theirs, self._shared, os.getpid())
            process = self._context.Process(target=_work, args=given, daemon=True, name=f"decoding-{place}")
            try:
                with _undisturbed():
                    process.start()
            except BrokenPipeError as cause:
                self.close()
                raise UserError("a process that was to decode images ended before it began", hint=NO_GUARD) from cause
            except OSError as cause:
                self.close()
                raise UserError(
                    f"the system lets {counted(place, 'process', 'processes')} decode images, not {self.most}: "
                    f"{cause.strerror}",
                    hint=f"--workers {place // 2}",
                ) from cause
            theirs.close()
            members.append(_Member(process, ours))

    def _sharing(self, slots: int) -> "_Shared | None":
        if self._context.get_start_method() != "fork":
            return None
        try:
            return _Shared(self.most, slots, self.size)
        except (OSError, ValueError, OverflowError):  # not so much at once: pipes need no more than what is in them
            return None

    def _hand_out(self, tasks: "deque[_Task]") -> None:
        """Each in turn has as much before it as it may have."""
        ahead = AHEAD if self._shared else 1  # a process that waits to be rid of a batch must not be told of another
        while tasks and self._free:
            member = min(self._crew.members, key=lambda member: len(member.doing))
            if len(member.doing) >= ahead:
                return
            task = replace(tasks.popleft(), slot=self._free.pop())
            member.doing.append(task)
            try:
                member.connection.send(task)
            except OSError:
                raise self._ended(member) from None

    def _collect(self, ready: dict[int, tuple[int, Bytes]]) -> None:
        """Wait until somebody has made something."""
        silent, moved = 0, self._moved()
        busy = [member for member in self._crew.members if member.doing]
        while not (heard := wait([member.connection for member in busy], TICK)):
            silent, moved = (silent + 1, moved) if self._moved() == moved else (0, self._moved())
            if gone := [member for member in busy if not member.process.is_alive() and not member.connection.poll()]:
                raise self._ended(gone[0])
            if silent >= PATIENCE and self._shared:
                raise UserError(
                    f"no image could be read for {PATIENCE * TICK:.0f} s: the disk or the network that holds them "
                    "does not answer",
                    listed([name for member in busy for name in self._reading(member)]),
                    hint="`pellucid resume RUN` goes on once it answers again",
                )
        for member in (member for member in busy if member.connection in heard):
            try:
                made, member.answered = member.connection.recv(), True
            except (OSError, EOFError):
                raise self._ended(member) from None
            task = member.doing.popleft()
            if task.forgotten:
                self._free.append(task.slot)
            elif isinstance(made, BaseException):
                raise made
            else:
                whole = self._shared.batch(task.slot, made) if self._shared and isinstance(made, tuple) else made
                ready[task.number] = task.slot, whole

    def _moved(self) -> int:
        """Grows with every image that a process begins to read."""
        return int(self._shared.begun.sum()) if self._shared else 0

    def _reading(self, member: "_Member") -> list[str]:
        """The image that a process reads or, where that cannot be known, those of the batch that it makes."""
        if not member.doing:
            return []
        place = self._crew.members.index(member)
        indices = [int(self._shared.reading[place])] if self._shared else member.doing[0].indices
        return [self.source.named(index) for index in indices if index >= 0]

    def _ended(self, member: "_Member") -> UserError:
        """Why a process is no longer there, as far as it can be known."""
        member.process.join(ENDING)
        code, reading = member.process.exitcode, listed(self._reading(member))
        if code == -9:  # SIGKILL
            return UserError(
                "a process that decodes images was killed, as the system does where memory runs out; it was reading",
                reading,
                hint="fewer --workers, or a smaller --batch, take less memory; `pellucid resume RUN` goes on",
            )
        if code is not None and code < 0:
            name = signal.Signals(-code).name if -code in list(signal.Signals) else f"signal {-code}"
            return UserError(
                f"a process that decodes images crashed ({name}); it was reading",
                reading,
                hint="if it happens again, take that image away: its decoder cannot bear it",
            )
        if not member.answered and not self._shared:
            return UserError("a process that was to decode images ended before it began", hint=NO_GUARD)
        return UserError(f"a process that decodes images ended by itself (exit code {code}); it was reading", reading)


class _Crew:
    """The processes; they end with it."""

    def __init__(self) -> None:
        self.members: list[_Member] = []
        self.owner = os.getpid()

    def end(self) -> None:
        if os.getpid() != self.owner:
            return  # a copy in a forked process: they are not its own
        members, self.members = self.members, []
        for member in members:
            member.process.kill()
            member.connection.close()
        for member in members:
            member.process.join(ENDING)
            with suppress(ValueError):  # it does not die: it hangs within the system
                member.process.close()


_CREWS = weakref.WeakSet[_Crew]()
_OURS = weakref.WeakSet[Connection]()  # the parent's ends, which forked processes must not hold open


@atexit.register
def _end_all() -> None:
    for crew in list(_CREWS):
        crew.end()


@dataclass(frozen=True)
class _Task:
    number: int
    epoch: int
    indices: list[int]
    slot: int = -1
    forgotten: bool = False


@dataclass
class _Member:
    process: BaseProcess
    connection: Connection
    doing: deque[_Task] = field(default_factory=deque)
    answered: bool = False


class _Shared:
    """Memory that is shared with processes that are forked: what each reads, and slots for batches."""

    def __init__(self, processes: int, slots: int, size: int) -> None:
        notes = 16 * processes
        memory = mmap.mmap(-1, notes + slots * size)
        self.reading, self.begun = np.frombuffer(memory, np.int64, 2 * processes).reshape(2, processes)
        self.reading[:] = -1
        self.slots = np.frombuffer(memory, np.uint8, slots * size, notes).reshape(slots, size)

    def note(self, place: int, index: int) -> None:
        """The process at `place` begins to read an image."""
        self.reading[place] = index
        self.begun[place] += 1

    def put(self, slot: int, batch: Bytes) -> tuple[int, ...] | Bytes:
        """The shape of what was put there, or the batch itself where there is no room for it."""
        if batch.nbytes > self.slots.shape[1]:
            return batch
        self.slots[slot, : batch.nbytes] = batch.ravel()
        return batch.shape

    def batch(self, slot: int, shape: tuple[int, ...]) -> Bytes:
        return self.slots[slot, : prod(shape)].reshape(shape)


def check_not_starting() -> None:
    """Raises UserError in a process that is not forked and reads the main script anew, as every one does first."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise UserError("this script was started again by one of its own processes", hint=MAIN_GUARD)


def may_start() -> bool:
    """Whether this process may start others: a worker of somebody's pool may not."""
    return not multiprocessing.current_process().daemon


def start_method() -> str:
    """As chosen for this process; else by forking, on Linux."""
    chosen = multiprocessing.get_start_method(allow_none=True)
    return chosen or ("fork" if sys.platform == "linux" else multiprocessing.get_start_method())


@contextmanager
def _undisturbed() -> Iterator[None]:
    """No stop arrives while a process is forked, which could not tell yet whom it is for."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(
    source: Batched, place: int, workers: int, connection: Connection, shared: _Shared | None, owner: int
) -> None:
    """A process: makes what it is told to, until nobody is there to be told."""
    for number in SIGNALS:  # Ctrl-C and job schedulers tell every process of a group; the main one ends the others
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    for other in list(_OURS):  # else none of us would notice that the main process is gone
        other.close()
    source.begin_worker(workers)
    try:
        while True:
            while not connection.poll(TICK):
                if os.getppid() != owner:
                    return
            task: _Task = connection.recv()
            connection.send(_made(source, place, shared, task))
    except (EOFError, OSError):  # the main process is gone
        return


def _made(source: Batched, place: int, shared: _Shared | None, task: _Task) -> Any:
    """A batch, the shape of one that lies in its slot, or an error."""
    try:
        source.show(epoch=task.epoch)
        made = []
        for index in task.indices:
            if shared:
                shared.note(place, index)
            made.append(source.pixels(index))
        batch = np.stack(made)
        return shared.put(task.slot, batch) if shared else batch
    except UserError as error:
        return error
    except MemoryError:
        return UserError(
            f"there is not enough memory to make a batch of {counted(len(task.indices), 'image')}",
            hint="a smaller --batch, or fewer --workers",
        )
    except Exception:
        return RuntimeError(f"in a process that decodes images:\n{traceback.format_exc()}")
