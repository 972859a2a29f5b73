"""How many images have been answered, on a line of a terminal that is written over. Without rich, to answer at once."""

import sys
from collections.abc import Callable
from time import perf_counter

EVERY = 0.2  # seconds
GONE = "\r\x1b[K"  # back to the line's begin, and clear it


class Progress:
    """Nothing, where nobody looks, or where the answers themselves go past on the terminal."""

    def __init__(self, *, silent: bool) -> None:
        self.images = 0
        self._shown = not silent and sys.stderr.isatty() and sys.platform != "win32"
        self._began = self._last = perf_counter()

    def advance(self) -> None:
        """One image more."""
        self.images += 1
        now = perf_counter()
        if self._shown and now - self._last >= EVERY:
            self._last = now
            rate = self.images / (now - self._began)
            words = f"{self.images:,} images, {rate:,.0f} per second"
            print(f"{GONE}{words}", end="", file=sys.stderr, flush=True)

    def around(self, speak: Callable[[], None]) -> None:
        """Let somebody else write a line."""
        self.clear()
        speak()

    def clear(self) -> None:
        """Make room for another line."""
        if self._shown:
            print(GONE, end="", file=sys.stderr, flush=True)
