"""The line that says how many images have been answered: on a terminal, written over, and gone at the end."""

import io

import pytest

from pellucid.cli import progress
from pellucid.cli.progress import GONE, Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second passes with each look at it."""
    seconds = iter(range(10_000))
    monkeypatch.setattr(progress, "perf_counter", lambda: next(seconds))


def shown(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, *, silent: bool = False) -> str:
    monkeypatch.setattr("sys.stderr", stream)
    bar = Progress(silent=silent)
    for _ in range(3):
        bar.advance()
    bar.clear()
    return stream.getvalue()


def test_a_terminal_shows_how_many_there_were_and_how_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = "".join(f"{GONE}{number} images, 1 per second" for number in (1, 2, 3))
    assert shown(monkeypatch, Terminal()) == lines + GONE


def test_nothing_is_shown_where_nobody_looks_or_where_the_answers_go_past(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, io.StringIO()) == ""
    assert shown(monkeypatch, Terminal(), silent=True) == ""
