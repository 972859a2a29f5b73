"""How fast a stream of images went, and whether decoding held the model up."""

from collections.abc import Callable, Iterable, Iterator
from statistics import median
from time import perf_counter
from typing import TypeVar

Item = TypeVar("Item")
LEAST = 10.0  # seconds of a stream; what is over sooner is nobody's trouble
ROUNDS = 3  # times that a batch is computed at the end
ENOUGH = 0.9  # of what the model alone does


class Throughput:
    """Counts the images of a stream and the time it takes; what is done with the answers meanwhile is not counted."""

    def __init__(self) -> None:
        self.images = 0
        self.seconds = 0.0
        self.paused = False  # whoever sends the images was slower, or waited for answers
        self._batch = 0
        self._compute: Callable[[], object] = lambda: None

    def timed(self, items: Iterable[Item]) -> Iterator[Item]:
        """`items` as they are, the time that they take counted."""
        left = iter(items)
        while True:
            began = perf_counter()
            try:
                item = next(left)
            except StopIteration:
                return
            finally:
                self.seconds += perf_counter() - began
            yield item

    def note(self, images: int, compute: Callable[[], object]) -> None:
        """So many images were computed; `compute` does it once more."""
        self.images += images
        if images >= self._batch:
            self._batch, self._compute = images, compute

    def words(self) -> str:
        """That decoding was the limit, and by how much; empty where it was not, or nobody waited for it.

        For that the model computes its last batch anew, with nothing else going on.
        """
        if self.paused or self.seconds < LEAST or not self._batch:
            return ""
        took = []
        for _ in range(ROUNDS):
            began = perf_counter()
            self._compute()
            took.append(perf_counter() - began)
        alone, here = self._batch / median(took), self.images / self.seconds
        if here >= ENOUGH * alone:
            return ""
        return (
            f"decoding was the limit: the model alone would do {alone:,.0f} images per second, "
            f"{alone / here:.1f} times as many"
        )
