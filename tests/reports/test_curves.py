"""The curves of a run as a picture of their own."""

import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from pellucid.errors import UserError
from pellucid.reports.curves import curves
from pellucid.reports.pictures import save
from tests.reports.made import page, training


def test_curves_have_both_lines_and_the_best_epoch() -> None:
    drawn = curves(training())
    assert [[line.name for line in chart.lines] for chart in drawn.charts] == [["train", "validation"]] * 2
    assert drawn.charts[1].y_ticks[0][1] == "0 %" and drawn.charts[1].y_ticks[-1][1] == "100 %"
    assert "epoch 2: validation accuracy 70.0 % [48.1, 85.5] n = 20" in drawn.svg.replace("\u00a0", " ")


def test_curves_are_those_of_the_report_in_colours_of_their_own(photos: Path) -> None:
    drawn = curves(training())
    tree = ElementTree.fromstring(drawn.svg)
    assert "var(" not in drawn.svg and len(drawn._repr_svg_()) == len(drawn.svg)
    shown = {line.get("points") for line in tree.iter("{http://www.w3.org/2000/svg}polyline")}
    report = page(photos, events=training())
    assert shown and all(f'points="{points}"' in report for points in shown)


@pytest.mark.parametrize("kind", ["png", "jpg", "pdf", "svg"])
def test_curves_are_written_as_pixels_and_as_an_svg(kind: str, tmp_path: Path) -> None:
    if kind != "svg":
        pytest.importorskip("resvg_py", reason="an installation from before curves were drawn once")
    path = tmp_path / f"curves.{kind}"
    save(curves(training()), path)
    if kind in ("png", "jpg"):
        image = np.asarray(Image.open(path).convert("L"))
        assert image.shape == (2 * 322, 2 * 904) and image[:52, :200].min() < 100 < image.mean()  # words in its heading
    else:
        assert path.read_bytes().startswith({"pdf": b"%PDF", "svg": b"<svg"}[kind])


def test_without_what_makes_pixels_curves_are_still_an_svg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(UserError, match="resvg, which is not installed"):
        save(curves(training()), tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()
    save(curves(training()), tmp_path / "curves.svg")
