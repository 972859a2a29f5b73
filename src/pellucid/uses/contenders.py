"""Processes that compute in turns, each for itself, so that no library's memory or threads are another's."""

from collections.abc import Callable
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from signal import Signals
from typing import Any

from pellucid.errors import UserError


class Contender:
    """A process that runs `serve(pipe, *arguments)`: it sends what it has to say first, then an answer to each wish.

    A UserError that it sends is raised here; so is one that says how it ended, if it is gone without a word.
    """

    def __init__(self, name: str, serve: Callable[..., None], *arguments: Any) -> None:
        context = get_context("spawn")
        self.name = name
        self.first: Any = None  # what it said first
        self._pipe, self._there = context.Pipe()
        self._process = context.Process(target=serve, args=(self._there, *arguments), daemon=True)

    def __enter__(self) -> "Contender":
        self._process.start()
        self._there.close()  # so that the end of the process is the end of the pipe
        try:
            self.first = self._answer()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.close()  # which ends its loop
        self._process.join(5)
        self._process.terminate()
        self._process.join()

    def ask(self, wish: Any) -> Any:
        """What it answers."""
        try:
            self._pipe.send(wish)
        except OSError as cause:
            raise self._ended() from cause
        return self._answer()

    def _answer(self) -> Any:
        try:
            answer = self._pipe.recv()
        except (EOFError, OSError) as cause:
            raise self._ended() from cause
        if isinstance(answer, UserError):
            raise answer
        return answer

    def _ended(self) -> UserError:
        """A process that is gone without a word: only the system kills one so, most often for its memory."""
        self._process.join(5)
        code = self._process.exitcode
        if code is not None and code < 0:
            name = Signals(-code).name
            hint = "a smaller --batch takes less memory" if name == "SIGKILL" else ""
            memory = ", as the system does when memory runs out" if name == "SIGKILL" else ""
            return UserError(f"{self.name}'s process was ended by {name}{memory}", hint=hint)
        return UserError(f"{self.name}'s process ended with code {code} before it was timed")


def answer_wishes(pipe: Connection, answer: Callable[[Any], Any]) -> None:
    """The loop of such a process, until the other end is closed."""
    with suppress(EOFError):
        while True:
            pipe.send(answer(pipe.recv()))
