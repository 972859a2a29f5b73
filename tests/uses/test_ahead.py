"""Work done ahead in threads: in order, and left behind without waiting."""

import gc
from collections.abc import Callable, Iterator
from threading import Barrier, Event
from typing import Any

import pytest

from pellucid.images.decode import decoding_threads
from pellucid.uses.ahead import PAUSE, ahead, windows


def test_what_is_made_comes_in_order_whatever_is_done_first() -> None:
    assert list(ahead(lambda number: number * number, range(50), depth=7)) == [number * number for number in range(50)]
    assert list(windows(ahead(str, [1, 2, PAUSE, 3, 4, 5], depth=2), 2)) == [["1", "2"], ["3", "4"], ["5"]]


def half_read(make: Callable[[int], Any]) -> Iterator[Any]:
    return ahead(make, range(8), depth=4)


def filled(make: Callable[[int], Any]) -> Iterator[Any]:
    with decoding_threads(2) as pool:
        yield from pool.map(make, range(8))


@pytest.mark.parametrize("working", [half_read, filled])
def test_what_is_left_half_read_waits_for_nobody(working: Callable[[Callable[[int], Any]], Iterator[Any]]) -> None:
    """As the garbage collector closes it, anywhere: a thread that is waited for there may never end."""
    free = Event()

    def make(number: int) -> int:
        return number if number == 0 else (free.wait(60), number)[1]

    begun = working(make)
    assert next(begun) == 0
    del begun
    gc.collect()
    assert not free.is_set()
    free.set()


def test_as_many_threads_decode_as_there_are_processors_for_us(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pellucid.uses.ahead.processors", lambda: 3)
    together = Barrier(3)  # which opens when three wait at once, and breaks where they never do
    assert list(ahead(lambda number: (together.wait(30), number)[1], range(9), depth=9)) == list(range(9))
