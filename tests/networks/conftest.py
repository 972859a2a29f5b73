"""Images, and a run of one's own network."""

from collections.abc import Callable
from pathlib import Path

import pytest

import pellucid as pl
from pellucid.networks import own
from pellucid.runs.run_folder import RunFolder
from tests.pictures import make_classes


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_classes(tmp_path_factory.mktemp("data") / "photos")


@pytest.fixture(scope="session")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    from tests.networks.own_nets import QUICK, Small  # brings torch

    return pl.train(photos, model=Small, **QUICK, runs=tmp_path_factory.mktemp("runs"))


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Forget what was named, as another process would not know it."""
    return lambda: monkeypatch.setattr(own, "_NAMED", {})
