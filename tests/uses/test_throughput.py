"""How fast a stream goes: what held the model up is told where it was decoding, and only then."""

from collections.abc import Iterator

import pytest

from pellucid.uses import throughput
from pellucid.uses.throughput import Throughput

CLOCK, OTHERS = [0.0], [0.0]  # what we do takes processors' time, what others do meanwhile does not


def sleep(seconds: float) -> None:
    CLOCK[0] += seconds


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that goes forward where something takes time, and nowhere else."""
    monkeypatch.setattr(throughput, "perf_counter", lambda: CLOCK[0] + OTHERS[0])
    monkeypatch.setattr(throughput, "process_time", lambda: CLOCK[0])


def stream(decoding: float, computing: float, consuming: float = 0.0, others: float = 0.0) -> Throughput:
    """Four batches of 8, each decoded and computed for so many seconds, and looked at by whoever takes the answers."""
    measured = Throughput()

    def batches() -> Iterator[int]:
        for number in range(4):
            sleep(decoding + computing)
            OTHERS[0] += others
            measured.note(8, lambda: sleep(computing))
            yield number

    for _ in measured.timed(batches()):
        sleep(consuming)
    return measured


def test_where_decoding_takes_as_long_as_the_model_it_is_twice_as_slow_as_that_alone() -> None:
    words = stream(5, 5).words()
    assert words == "decoding was the limit: the model alone would do 2 images per second, 2.0 times as many"


def test_nothing_is_told_where_the_model_is_the_limit_or_whoever_takes_the_answers() -> None:
    assert stream(0.3, 5).words() == ""
    assert stream(0.3, 5, consuming=10).words() == ""
    assert stream(0.3, 5, others=10).words() == ""


def test_nothing_is_told_of_who_waits_for_answers_or_of_a_moment() -> None:
    measured = stream(5, 2)
    measured.paused = True
    assert measured.words() == ""
    assert Throughput().words() == ""
    assert stream(1, 1).words() == ""
