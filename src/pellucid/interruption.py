"""Ctrl-C, noticed between steps, so that what is saved is whole."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(Exception):
    """A stop was asked for before there was anything to train; what had been computed is kept."""


class Interruption:
    """Whether a stop was asked for. A second Ctrl-C stops at once, without saving."""

    def __init__(self) -> None:
        self.asked = False

    def note(self, _signal: int, _frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


@contextmanager
def watch() -> Iterator[Interruption]:
    """Turn SIGINT and SIGTERM into a note while the block runs; outside the main thread nothing is changed."""
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, interruption.note) for number in signals}
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
