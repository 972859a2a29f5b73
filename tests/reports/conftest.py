"""Images that the made-up records speak of."""

from pathlib import Path

import pytest

from tests.reports.made import write_images


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """30 images of each of two classes, as `split` and `evaluation` name them."""
    return write_images(tmp_path / "photos", [f"{name}/{n}.png" for name in ("ants", "bees") for n in range(30)])
