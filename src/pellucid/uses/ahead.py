"""Decoding ahead of computing: threads open the next images while the network works on these, in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from enum import Enum
from typing import Any, Final, Literal, TypeVar

from pellucid.granted import processors

Made = TypeVar("Made")


class _Pause(Enum):
    """Among what is given: no more will come for a while, so what there is should not wait for it."""

    PAUSE = "pause"


Pause = Literal[_Pause.PAUSE]
PAUSE: Final = _Pause.PAUSE


def ahead(make: Callable[[Any], Made], given: Iterable[Any], *, depth: int) -> Iterator[Made | Pause]:
    """`make` of each, in order, computed in threads; at most `depth` are begun before they are asked for.

    `given` is read in the caller's thread, and only as far as that; at a PAUSE, which is passed on, all that came
    before it is made first. What `make` raises is raised in its place.
    """
    waiting: deque[Future[Made]] = deque()
    pool = ThreadPoolExecutor(processors(), thread_name_prefix="decode")  # decoding leaves the interpreter's lock
    joined = True
    try:
        for item in given:
            if item is PAUSE:
                while waiting:
                    yield waiting.popleft().result()
                yield PAUSE
                continue
            waiting.append(pool.submit(make, item))
            if len(waiting) >= depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except GeneratorExit:
        # Left half read, it may be closed by the garbage collector, in a thread that is just being started: Python's
        # list of threads is locked then, and to join one would be to wait for ever.
        joined = False
        raise
    finally:
        pool.shutdown(wait=joined, cancel_futures=True)


def windows(items: Iterable[Made | Pause], size: int) -> Iterator[list[Made]]:
    """`items` in lists of `size`, those before a PAUSE and the last one shorter."""
    window: list[Made] = []
    for item in items:
        if item is not PAUSE:
            window.append(item)
        if window and (item is PAUSE or len(window) == size):
            yield window
            window = []
    if window:
        yield window
