"""Real images and weights that lie beside a developer's checkout; tests that want them skip where they are absent."""

import os
from pathlib import Path

import pytest

PLACE = Path(os.environ.get("PELLUCID_SHARED", Path(__file__).parents[2] / "shared"))


def shared(name: str) -> Path:
    """The shared file or folder `name`; skips the test that asked where it is not there."""
    path = PLACE / name
    if not path.exists():
        pytest.skip(f"shared/{name} is not beside this checkout")
    return path
