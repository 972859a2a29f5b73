"""The small images inside a report."""

import base64
import io
from pathlib import Path

from PIL import Image

from pellucid.reports.thumbnails import thumbnail


def test_a_thumbnail_stands_upright_and_keeps_no_metadata(tmp_path: Path) -> None:
    path = tmp_path / "sideways.jpg"
    image = Image.new("RGB", (40, 20), "red")
    exif = image.getexif()
    exif[0x0112] = 6  # turned by a quarter
    exif[0x010F] = "camera maker"
    image.save(path, exif=exif)
    small = thumbnail(path, most_bytes=50_000)
    assert (small.width, small.height) == (20, 40)
    inside = Image.open(io.BytesIO(base64.b64decode(small.uri.partition(",")[2])))
    assert not inside.getexif()
