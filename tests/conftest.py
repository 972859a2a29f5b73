"""What every test has around it."""

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Features that tests compute are kept in a folder of theirs, and not in the user's cache."""
    place = tmp_path_factory.mktemp("cache")
    patch = pytest.MonkeyPatch()
    patch.setenv("PELLUCID_CACHE", str(place))
    yield place
    patch.undo()
