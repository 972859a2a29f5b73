"""How fast a stream of images went, and whether decoding held the model up."""

from collections.abc import Callable, Iterable, Iterator
from statistics import median
from time import perf_counter, process_time
from typing import TypeVar

Item = TypeVar("Item")
LEAST = 10.0  # seconds of a stream; what is over sooner is nobody's trouble
ROUNDS = 3  # times that a batch is computed at the end
ENOUGH = 0.9  # of what the model alone does


class Throughput:
    """Counts the images of a stream and the time it takes; what is done with the answers meanwhile is not counted."""

    def __init__(self) -> None:
        self.images = 0
        self.seconds = self.processor = 0.0  # by the clock, and of processors' time
        self.paused = False  # whoever sends the images was slower, or waited for answers
        self._batch = 0
        self._compute: Callable[[], object] = lambda: None

    def timed(self, items: Iterable[Item]) -> Iterator[Item]:
        """`items` as they are, the time that they take counted."""
        left = iter(items)
        while True:
            began, worked = perf_counter(), process_time()
            try:
                item = next(left)
            except StopIteration:
                return
            finally:
                self.seconds += perf_counter() - began
                self.processor += process_time() - worked
            yield item

    def note(self, images: int, compute: Callable[[], object]) -> None:
        """So many images were computed; `compute` does it once more."""
        self.images += images
        if images >= self._batch:
            self._batch, self._compute = images, compute

    def words(self) -> str:
        """That decoding was the limit, and by how much; empty where it was not, or nobody waited for it.

        For that the model computes its last batch anew, with nothing else going on here. What other programs take from
        the machine just then, or took before, is nobody's decoding: of time by the clock and processors' time, the one
        that says less counts.
        """
        if self.paused or self.seconds < LEAST or not self._batch:
            return ""
        seconds, processor = [], []
        for _ in range(ROUNDS):
            began, worked = perf_counter(), process_time()
            self._compute()
            seconds.append(perf_counter() - began)
            processor.append(process_time() - worked)
        batches = self.images / self._batch
        times = min(
            whole / (batches * max(median(alone), 1e-9))
            for whole, alone in ((self.seconds, seconds), (self.processor, processor))
        )
        if times <= 1 / ENOUGH:
            return ""
        rate = times * self.images / self.seconds
        return (
            f"decoding was the limit: the model alone would do {rate:,.0f} images per second, {times:.1f} times as many"
        )
