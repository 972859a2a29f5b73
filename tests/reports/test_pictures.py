"""Grids of images and of predictions, as figures. Images are real files."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from matplotlib.colors import to_hex
from PIL import Image

from pellucid.errors import UserError
from pellucid.reports import palette
from pellucid.reports.curves import curves
from pellucid.reports.pictures import LONGEST_SAID, image_grid, prediction_grid, show
from pellucid.runs.run_folder import create_run
from pellucid.uses.predict import Failure, Prediction
from tests import golden
from tests.reports.made import CONFIG, PREDICTIONS, evaluation, split, training


def titles(figure: Any) -> list[tuple[str, str]]:
    return [(axes.get_title(), to_hex(axes.title.get_color())) for axes in figure.axes if axes.get_title()]


def title(figure: Any) -> str:
    """In one line."""
    return " ".join(figure.get_suptitle().split())


def test_a_grid_of_labelled_images(photos: Path) -> None:
    figure = show(photos, most=4, columns=2)
    assert [title for title, _ in titles(figure)] == ["ants", "ants", "bees", "bees"]
    assert figure.get_suptitle() == "4 of 60 images in 2 classes"


def test_right_is_green_with_a_tick_and_wrong_red_with_a_cross(photos: Path) -> None:
    figure = show(evaluation([[9, 1], [0, 10]], data=str(photos)), most=3)
    wrong, *right = titles(figure)
    assert wrong == ("✗ predicted bees 61 %,\ntrue ants", palette.LIGHT["wrong-text"])
    assert right[0] == ("✓ predicted ants 60 %,\ntrue ants", palette.LIGHT["right-text"])


def test_predictions_are_right_or_wrong_only_where_the_truth_is_known(photos: Path) -> None:
    predictions = [
        Prediction(name=str(photos / "ants/0.png"), best="ants", probability=0.9, sure=True, ranking=(("ants", 0.9),)),
        Prediction(name=None, best="ants", probability=0.8, sure=True, ranking=(("ants", 0.8),)),
    ]
    images = [Image.new("RGB", (8, 8))] * 2
    assert titles(show(predictions[:1])) == [("predicted ants 90 %", palette.INK)]
    named = show(predictions, images=images, truth=["ants", "bees"])
    assert [title for title, _ in titles(named)] == [
        "✗ predicted ants 80 %,\ntrue bees",  # mistakes first
        "✓ predicted ants 90 %,\ntrue ants",
    ]
    assert title(named) == "1 of 2 predictions right; here 1 mistake, 1 right answer"


def test_a_mistake_has_a_frame_that_is_wider_than_that_of_a_right_answer(photos: Path) -> None:
    wrong, right = (axes.patches[-1] for axes in show(evaluation([[9, 1], [0, 1]], data=str(photos)), most=2).axes)
    assert wrong.get_linewidth() > right.get_linewidth()
    assert to_hex(wrong.get_edgecolor()) == palette.WRONG
    assert to_hex(right.get_edgecolor()) == palette.RIGHT


def test_failures_keep_their_place_in_a_grid_and_say_why(photos: Path) -> None:
    predictions = [*predicted(photos), Failure(name="lost.jpg", error="is not there")]
    figure = show(predictions, truth=["ants", "ants"])
    assert "lost.jpg" in figure.axes[1].texts[0].get_text()
    assert title(figure).endswith("1 image without a truth or an answer")


def test_a_grid_of_many_predictions_says_how_many_it_shows(photos: Path) -> None:
    predictions = predicted(photos) * 30
    assert title(show(predictions)) == "24 of 30 predictions, spread evenly from the first to the last"
    figure = show(predictions, truth=["ants"] * 15 + ["bees"] * 15, most=4)
    assert title(figure) == (
        "15 of 30 predictions right; here 2 of 15 mistakes, the most confident first, 2 of 15 right answers"
    )
    with pytest.raises(UserError, match="1 to 400 images"):
        show(predictions, most=500)


def predicted(photos: Path) -> list[Prediction | Failure]:
    return [Prediction(name=str(photos / "ants/0.png"), best="ants", probability=0.9, sure=True, ranking=())]


@pytest.mark.filterwarnings("error")  # matplotlib warns of letters that its fonts lack
@pytest.mark.parametrize("name", ["猫科の動物" * 4, "قطة", "бабочка", "a\nb\x1b", "$x_$", "n" * 300, "🐜"])
def test_any_name_of_a_class_can_be_drawn(photos: Path, name: str) -> None:
    prediction = predicted(photos)[0].model_copy(update={"best": name})
    figure = show([prediction], truth=[name])
    assert figure._repr_png_()
    longest = max(map(len, figure.axes[0].get_title(loc="left").split("\n")))
    assert longest <= len("✓ predicted  90 %,") + LONGEST_SAID + 1


@pytest.mark.parametrize("size", [(3000, 2), (2, 3000), (8, 8)])
def test_images_of_any_shape_have_a_square_each(size: tuple[int, int]) -> None:
    image = Image.new("RGB", size)
    axes = image_axes = show([predicted(Path())[0].model_copy(update={"name": None})], images=[image]).axes[0]
    left, right = image_axes.get_xlim()
    below, above = axes.get_ylim()
    assert right - left == below - above > 0


def test_a_run_folder_shows_its_curves(photos: Path, tmp_path: Path) -> None:
    run = create_run(tmp_path / "runs", "photos-small", config=CONFIG, provenance={}, split=split(root=str(photos)))
    for event in training(1):
        run.note(event)
    assert len(show(str(run.path)).charts) == 2
    assert len(show(run.split(), most=6).axes) == 6


def test_a_figure_is_a_picture_in_a_notebook(photos: Path) -> None:
    png = show(photos, most=2)._repr_png_()
    assert Image.open(io.BytesIO(png)).format == "PNG"


def test_dollars_in_a_name_are_no_formula(photos: Path) -> None:
    predictions = [Prediction(name=str(photos / "ants/0.png"), best="a$^$b", probability=1.0, sure=True, ranking=())]
    assert show(predictions)._repr_png_()


def test_an_unreadable_image_is_shown_as_such(photos: Path) -> None:
    (photos / "ants/0.png").write_bytes(b"no image")
    figure = image_grid(split(train=1, root=str(photos)))
    assert any(axes.texts for axes in figure.axes)


@pytest.mark.parametrize(
    ("name", "draw"),
    [
        ("show-number", lambda: show(3)),
        ("show-empty-list", lambda: show([])),
        ("curves-without-epoch", lambda: curves(training()[:1])),
        ("grid-without-images", lambda: image_grid([])),
        ("predictions-without-images", lambda: prediction_grid([PREDICTIONS[0].model_copy(update={"name": None})])),  # type: ignore[list-item]
        ("predictions-too-few-images", lambda: prediction_grid([PREDICTIONS[0]], images=[])),  # type: ignore[list-item]
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_refused_in_words(name: str, draw: Callable[[], Any]) -> None:
    with pytest.raises(UserError) as refused:
        draw()
    golden.check(f"reports/error-{name}", str(refused.value))
