"""What every test has around it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pellucid.spelling import in_a_shell

# Before anything imports torch. A process of tests runs on each core, and two threads of each were twice as slow: most
# networks here are tiny. Tests of threads set a number of their own.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Features that tests compute are kept in a folder of theirs, and not in the user's cache."""
    place = tmp_path_factory.mktemp("cache")
    patch = pytest.MonkeyPatch()
    patch.setenv("PELLUCID_CACHE", str(place))
    yield place
    patch.undo()


@pytest.fixture(autouse=True)
def spelled_as_in_a_shell() -> Iterator[None]:
    """Texts are compared as whoever types commands reads them, also those of functions; see tests/test_spelling.py."""
    with in_a_shell():
        yield
