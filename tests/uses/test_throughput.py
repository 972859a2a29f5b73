"""How fast a stream goes: what held the model up is told where it was decoding, and only then."""

from collections.abc import Iterator
from time import sleep

import pytest

from pellucid.uses import throughput
from pellucid.uses.throughput import Throughput


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "LEAST", 0.05)


def stream(decoding: float, computing: float, consuming: float = 0.0) -> Throughput:
    """Four batches of 8, each decoded and computed for so many seconds, and looked at by whoever takes the answers."""
    measured = Throughput()

    def batches() -> Iterator[int]:
        for number in range(4):
            sleep(decoding + computing)
            measured.note(8, lambda: sleep(computing))
            yield number

    for _ in measured.timed(batches()):
        sleep(consuming)
    return measured


def test_where_decoding_takes_as_long_as_the_model_it_is_twice_as_slow_as_that_alone() -> None:
    words = stream(0.05, 0.05).words()
    assert words.startswith("decoding was the limit: the model alone would do 1")
    assert float(words.split(", ")[1].split()[0]) == pytest.approx(2.0, abs=0.2)


def test_nothing_is_told_where_the_model_is_the_limit_or_whoever_takes_the_answers() -> None:
    assert stream(0.0, 0.05).words() == ""
    assert stream(0.0, 0.05, consuming=0.1).words() == ""


def test_nothing_is_told_of_who_waits_for_answers_or_of_a_moment() -> None:
    measured = stream(0.05, 0.02)
    measured.paused = True
    assert measured.words() == ""
    assert Throughput().words() == ""
    assert stream(0.005, 0.002).words() == ""
