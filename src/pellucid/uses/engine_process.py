"""An engine in a process of its own, as `bench` measures it: opened, then asked for batches and answers.

What is heavy is imported when the process is asked to open, so that it can tell what it weighed before.
"""

import sys
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from pellucid.errors import UserError, first_line, of_missing
from pellucid.uses.contenders import answer_wishes


def serve(
    pipe: Connection, name: str, path: Path, precision: str | None, threads: int | None, code: str | None
) -> None:
    """Open the file at `path`, answer about one image, tell what computes, and do what is asked: see _Asked."""
    empty = peak_memory()
    try:
        asked = _Asked(name, path, precision, threads, code, empty)
        pipe.send(asked.first())
        answer_wishes(pipe, asked)
    except Exception as cause:
        with suppress(OSError):
            pipe.send(_told(cause, name))


class _Asked:
    """The wishes, as (what, of what): a batch made ready or computed, memory, probabilities."""

    def __init__(
        self, name: str, path: Path, precision: str | None, threads: int | None, code: str | None, empty: int | None
    ) -> None:
        from pellucid.engines.choose import precisions, runtime
        from pellucid.engines.engine import Engine
        from pellucid.networks.own import remember
        from pellucid.runs.card import read_card

        remember(code)
        self._empty = empty
        self._engine = Engine(read_card(path), runtime(name, path, precision=precision, threads=threads), path)
        self._others = tuple(precisions(name))
        self._wishes: dict[str, Callable[[Any], Any]] = {
            "ready": self._ready,
            "batch": self._seconds,
            "memory": self._memory,
            "say": self._say,
        }
        self._ready(1)
        self._seconds(None)

    def __call__(self, wish: tuple[str, Any]) -> Any:
        what, of = wish
        return self._wishes[what](of)

    def first(self) -> dict[str, Any]:
        """Who computes, and in which other precisions it could."""
        runtime = self._engine.runtime
        return {"precision": runtime.precision, "device": runtime.device, "precisions": self._others}

    def _ready(self, images: int) -> None:
        """Prepare a batch: the image of the proof, so many times."""
        import numpy as np

        from pellucid.runs.proof import proof_pixels

        card = self._engine.card
        self._batch = np.repeat(proof_pixels(card.preprocessing, whole=card.inside), images, axis=0)

    def _seconds(self, _: None) -> float:
        """What the batch takes."""
        from pellucid.inspection.stopwatch import seconds_of

        return seconds_of(lambda: self._engine.logits_of_pixels(self._batch))

    def _memory(self, _: None) -> int | None:
        """Bytes that this process has had at its greatest, more than before it opened the model."""
        now = peak_memory()
        return None if now is None or self._empty is None else now - self._empty

    def _say(self, pixels: Any) -> Any:
        """Probabilities (N, classes) of prepared images."""
        from pellucid.uses.predict import shares

        return shares(self._engine, pixels)


def peak_memory() -> int | None:
    """The most bytes of memory that this process has had at once; None where the system does not say."""
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    with suppress(ImportError):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return None


def _told(cause: Exception, name: str) -> UserError:
    """What a person is told, whatever went wrong."""
    if isinstance(cause, UserError):
        return cause
    if isinstance(cause, ModuleNotFoundError) and (told := of_missing(cause)):
        return told
    return UserError(f"{name} cannot compute it: {type(cause).__name__}: {first_line(cause)}")
