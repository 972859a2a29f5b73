"""Decoding ahead of computing: threads open the next images while the network works on these, in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")

WORKERS = 4  # decoding leaves the interpreter's lock for most of its time


def ahead(make: Callable[[Given], Made], given: Iterable[Given], *, depth: int) -> Iterator[Made]:
    """`make` of each, in order, computed in threads; at most `depth` are begun before they are asked for.

    `given` is read in the caller's thread, and only as far as that. What `make` raises is raised in its place.
    """
    waiting: deque[Future[Made]] = deque()
    pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="decode")
    try:
        for item in given:
            waiting.append(pool.submit(make, item))
            if len(waiting) >= depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def windows(items: Iterable[Made], size: int) -> Iterator[list[Made]]:
    """`items` in lists of `size`, the last one shorter."""
    rest = iter(items)
    while window := list(islice(rest, size)):
        yield window
