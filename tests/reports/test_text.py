"""Records as text for the terminal: evaluations, splits, cards, predictions."""

import csv
import io
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from pellucid.reports.predictions import prediction_header, prediction_line
from pellucid.reports.sentences import preprocessing
from pellucid.reports.text import card_text, evaluation_text, split_text
from pellucid.runs.evaluation import LeftOut
from pellucid.uses.predict import Prediction
from tests import golden
from tests.reports.made import NASTY, PREDICTIONS, card, evaluation, printed, split


def test_an_evaluation_of_two_classes() -> None:
    golden.check("reports/evaluation", printed(evaluation_text(evaluation([[62, 4], [7, 59]]))))


def test_an_evaluation_of_many_classes_names_what_is_confused_most() -> None:
    classes = tuple(f"class number {index}" for index in range(20))
    confusion = (np.eye(20, dtype=int) * 12 + np.eye(20, k=1, dtype=int) * 2).tolist()
    confusion[3][9] = 5
    golden.check("reports/evaluation-many", printed(evaluation_text(evaluation(confusion, classes))))


def test_an_evaluation_that_is_weak_says_so() -> None:
    weak = evaluation(
        [[0, 3], [0, 30]],
        part="validation",
        left_out=(LeftOut(path="a.jpg", reason="it is cut short"), LeftOut(path="b.jpg", reason="it is cut short")),
    )
    golden.check("reports/evaluation-weak", printed(evaluation_text(weak)))


def test_a_split() -> None:
    uneven = split(train=1200, validation=9, test=0).model_copy(update={"notes": ("2 images are twins",)})
    golden.check("reports/split", printed(split_text(uneven)))


def test_a_card() -> None:
    golden.check("reports/card", printed(card_text(card())))


@pytest.mark.parametrize(
    ("background", "colour"),
    [((255, 255, 255), "white"), ((0, 0, 0), "black"), ((1, 2, 3), "a colour (red 1, green 2, blue 3, each of 255)")],
)
def test_the_colour_behind_transparent_pixels_has_a_name(background: tuple[int, int, int], colour: str) -> None:
    known = card()
    shown = known.model_copy(
        update={"preprocessing": known.preprocessing.model_copy(update={"background": background})}
    )
    assert preprocessing(shown).endswith(f"Where pixels are transparent, {colour} shows through.")


def test_a_card_without_calibration() -> None:
    bare = card(temperature=1.0, sure_from=None, threshold=None, classes=("a", "b", "c"), options={})
    golden.check("reports/card-bare", printed(card_text(bare)))


@pytest.mark.parametrize(
    "name", ["a", "a very long name of a class that goes on and on" * 2, "日本語のクラス名" * 5, NASTY]
)
def test_texts_fit_80_columns_whatever_a_class_is_called(name: str) -> None:
    classes = (name, "bees")
    for text in (
        printed(evaluation_text(evaluation([[100, 0], [0, 100]], classes))),
        printed(split_text(split(classes=classes))),
        printed(card_text(card(classes=classes))),
    ):
        assert max(map(cell_len, text.splitlines())) <= 80
        assert name[:6] in text


@pytest.mark.parametrize("form", ["text", "json", "csv"])
def test_predictions_are_a_line_each(form: Any) -> None:
    header = prediction_header(form)
    lines = [*([header] if header else []), *(prediction_line(predicted, form) for predicted in PREDICTIONS)]
    golden.check(f"reports/predictions-{form}", "\n".join(lines))


@given(name=st.text(), best=st.text())
def test_csv_and_json_give_back_any_name(name: str, best: str) -> None:
    prediction = Prediction(name=name, best=best, probability=0.5, sure=True, ranking=((best, 0.5),))
    rows = list(csv.reader(io.StringIO(prediction_line(prediction, "csv") + "\n", newline="")))
    assert rows == [[name, best, "0.5", "True", ""]]
    line = prediction_line(prediction, "json")
    assert "\n" not in line
    assert json.loads(line)["name"] == name
