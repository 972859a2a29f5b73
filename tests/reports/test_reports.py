"""What people are shown: terminal texts, figures, report.html. Records are made up; images are real files."""

import base64
import csv
import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from PIL import Image
from rich.cells import cell_len
from rich.console import Console, RenderableType

from pellucid.architectures.geometry import structure
from pellucid.errors import UserError
from pellucid.images.manifest import Split
from pellucid.images.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from pellucid.images.samples import Sample
from pellucid.measures.intervals import Measured, wilson
from pellucid.reports import palette
from pellucid.reports.cautions import of_division, of_evaluation, of_split, of_training
from pellucid.reports.charts import BOTTOM, LEFT, RIGHT, TOP, accuracy_chart, loss_chart, nice_ticks
from pellucid.reports.curves import curves
from pellucid.reports.history import history, means, usual_mean
from pellucid.reports.html import render, write_report
from pellucid.reports.lists import ModelRow, RunRow, models_text, runs_text
from pellucid.reports.live_table import LiveTable
from pellucid.reports.picks import spread, spread_by_class
from pellucid.reports.pictures import LONGEST_SAID, image_grid, prediction_grid, save, show
from pellucid.reports.spending import spent_words, starving
from pellucid.reports.structure import structure_text
from pellucid.reports.text import (
    card_text,
    evaluation_text,
    prediction_header,
    prediction_line,
    split_text,
)
from pellucid.reports.thumbnails import thumbnail
from pellucid.reports.tiles import CLASS_BYTES, IMAGE_BYTES
from pellucid.reports.words import disk_space
from pellucid.runs.card import FORMAT, Card, Proof, Result
from pellucid.runs.evaluation import ClassResult, Evaluation, Judged, LeftOut
from pellucid.runs.events import (
    BatchLosses,
    Epoch,
    Event,
    Failed,
    PixelsReady,
    Preparing,
    Progress,
    Saved,
    Spent,
    Started,
    Stopped,
    Validated,
)
from pellucid.runs.run_folder import create_run
from pellucid.uses.predict import Failure, Prediction
from tests import golden

TIME = "2026-11-20T23:04:11+00:00"
NASTY = '<script>alert("1")</script> & [red]é$_$'
CONFIG = {"model": "small", "mode": "scratch", "weights": "none", "seed": 0, "learning": {"epochs": 3, "clip": 2.0}}
PROVENANCE = {"versions": {"pellucid": "0.1.0"}, "commit": None, "machine": {"cores": 2}, "asked": ["learning.clip"]}


def measured(value: float, n: int) -> Measured:
    return Measured(value=value, low=max(0, value - 0.05), high=min(1, value + 0.03), n=n)


def evaluation(
    confusion: list[list[int]], classes: tuple[str, ...] = ("ants", "bees"), data: str = "photos", **changes: Any
) -> Evaluation:
    """An evaluation with this confusion matrix, whose images are CLASS/NUMBER.png beneath `data`."""
    n, columns = sum(map(sum, confusion)), [sum(column) for column in zip(*confusion, strict=True)]
    numbers = {name: iter(range(1_000_000)) for name in classes}
    judged = [
        Judged(
            path=f"{truth}/{(number := next(numbers[truth]))}.png",
            truth=truth,
            best=best,
            probability=0.6 + 0.001 * number,
            of_truth=0.3,
            sha256=f"{truth}{number}",
        )
        for truth, row in zip(classes, confusion, strict=True)
        for best, images in zip(classes, row, strict=True)
        for _ in range(images)
    ]
    results = tuple(
        ClassResult(
            name=name,
            precision=wilson(confusion[i][i], columns[i]),
            recall=wilson(confusion[i][i], sum(confusion[i])),
            f1=measured(2 * confusion[i][i] / max(1, columns[i] + sum(confusion[i])), n),
            support=sum(confusion[i]),
        )
        for i, name in enumerate(classes)
    )
    values: dict[str, Any] = {
        "model": "runs/photos-small",
        "data": data,
        "part": "test",
        "fingerprint": "0" * 64,
        "n": n,
        "classes": classes,
        "threshold": 0.5 if len(classes) == 2 else None,
        "accuracy": wilson(sum(confusion[i][i] for i in range(len(classes))), n),
        "balanced_accuracy": measured(0.91, n),
        "log_loss": Measured(value=0.274, low=0.201, high=0.352, n=n),
        "roc_auc": measured(0.95, n) if len(classes) == 2 else None,
        "average_precision": measured(0.94, n) if len(classes) == 2 else None,
        "per_class": results,
        "confusion": tuple(map(tuple, confusion)),
        "predictions": tuple(judged),
        "left_out": (),
        "seconds": 3.2,
        "images_per_second": n / 3.2,
    }
    return Evaluation(**values | changes)


def split(
    train: int = 30,
    validation: int = 10,
    test: int = 10,
    classes: tuple[str, ...] = ("ants", "bees"),
    root: str = "photos",
) -> Split:
    """So many images of each class in each part."""
    files = [
        Sample(Path(root, name, f"{number}.png"), name, part, sha256=f"{name}{part}{number}")
        for name in classes
        for part, images in (("train", train), ("validation", validation), ("test", test))
        for number in range(images)
    ]
    return Split(root=root, rule="0.6 train, 0.2 validation, rest test", seed=7, classes=classes, files=tuple(files))


def training(epochs: int = 3, run: str = "runs/photos-small", why: str | None = "finished") -> list[Event]:
    """Events of a run that gets better until its second last epoch; `why` None: it was killed."""
    events: list[Event] = [
        Started(
            time=TIME, run=run, epoch=0, epochs=epochs, train_images=60, validation_images=20, parameters=1_234_567,
            trained_parameters=1026, device="cpu", precision="float32", workers=1,
        )
    ]  # fmt: skip
    best = max(1, epochs - 1)
    for epoch in range(1, epochs + 1):
        right = 10 + 2 * min(epoch, best) - (epoch > best)
        events += [
            Epoch(
                time=TIME, epoch=epoch, loss=1 / epoch, accuracy=wilson(30 + 5 * min(epoch, 5), 60), rate=0.002 / epoch,
                images_per_second=412.4, seconds_waiting=1, seconds_computing=3,
            ),
            Validated(
                time=TIME, epoch=epoch, loss=1.1 / epoch, accuracy=wilson(min(right, 20), 20), measure="accuracy",
                value=right / 20, best=epoch <= best, seconds=0.5, seconds_left=4.0 * (epochs - epoch),
            ),
        ]  # fmt: skip
        if epoch <= best:
            events.append(Saved(time=TIME, epoch=epoch, file="model.safetensors", why="best"))
    if why:
        events.append(Stopped(time=TIME, epoch=epochs, why=why, best_epoch=best, seconds=149.2))  # type: ignore[arg-type]
    return events


def card(**changes: Any) -> Card:
    values: dict[str, Any] = {
        "format": FORMAT,
        "architecture": "small",
        "options": {"width": 0.5},
        "classes": ("ants", "bees"),
        "one_logit": False,
        "preprocessing": Preprocessing(
            resize=256,
            interpolation="bilinear",
            size=224,
            background=(255, 255, 255),
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
        ),
        "temperature": 1.43,
        "threshold": 0.5,
        "sure_from": 0.872,
        "provenance": {"epoch": 2},
        "results": (Result(part="validation", measure="accuracy", **wilson(18, 20).model_dump()),),
        "proof": Proof(image="waves-1", pixels=(0.5,), logits={"ants": 1.0}, probabilities={"ants": 1.0}),
    }
    return Card(**values | changes)


def write_images(root: Path, names: list[str], *, side: int = 8) -> Path:
    """A folder of images of noise, which compresses worse than any photograph."""
    random = np.random.default_rng(0)
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(path)
    return root


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """30 images of each of two classes, as `split` and `evaluation` name them."""
    return write_images(tmp_path / "photos", [f"{name}/{n}.png" for name in ("ants", "bees") for n in range(30)])


def page(photos: Path, **changes: Any) -> str:
    values: dict[str, Any] = {
        "config": CONFIG,
        "provenance": PROVENANCE,
        "split": split(root=str(photos)),
        "events": training(),
        "card": card(),
        "evaluation": evaluation([[9, 1], [2, 8]], data=str(photos)),
    }
    return render("photos-small", **values | changes)


def printed(thing: RenderableType, width: int = 80) -> str:
    console = Console(width=width, file=io.StringIO(), no_color=True)
    console.print(thing)
    return _unpadded(console)


def _unpadded(console: Console) -> str:
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())  # type: ignore[attr-defined]


# Terminal


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


def test_a_card_without_calibration() -> None:
    bare = card(temperature=1.0, sure_from=None, threshold=None, classes=("a", "b", "c"), options={})
    golden.check("reports/card-bare", printed(card_text(bare)))


def test_models() -> None:
    rows = [
        ModelRow("small", 96, 123_456, 12_345_678, ""),
        ModelRow("resnet18", 224, 11_689_512, 1_814_073_344, "torchvision"),
    ]
    golden.check("reports/models", printed(models_text(rows)))


@pytest.mark.parametrize("name", ["small", "resnet18"])
def test_a_structure(name: str) -> None:
    text = printed(structure_text(structure(name, classes=7)))
    assert max(map(len, text.splitlines())) <= 80
    golden.check(f"reports/structure-{name}", text)


def test_runs() -> None:
    rows = [
        RunRow("photos-resnet18-20261120-2304", "finished", "test", wilson(121, 132)),
        RunRow("photos-small-20261121-0911", "interrupted", "validation", wilson(33, 40)),
        RunRow("photos-small-20261121-0954", "unfinished", "", None),
    ]
    golden.check("reports/runs", printed(runs_text(rows)))


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


PREDICTIONS: list[Prediction | Failure] = [
    Prediction(name="a.jpg", best="bees", probability=0.9832, sure=True, ranking=(("bees", 0.9832), ("ants", 0.0168))),
    Prediction(name='b, "c".jpg', best="ants", probability=0.55, sure=False, ranking=(("ants", 0.55), ("bees", 0.45))),
    Failure(name="cut.jpg", error="it is cut short"),
]


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


# Training as it happens


def shown(events: list[Event], *, terminal: bool, **console: Any) -> str:
    ticks = iter(range(1_000_000))
    target = Console(width=80, file=io.StringIO(), force_terminal=terminal, legacy_windows=False, **console)
    with LiveTable(target, clock=lambda: next(ticks)) as table:
        for event in events:
            table.show(event)
    return target.file.getvalue()  # type: ignore[attr-defined]


def with_progress(events: list[Event]) -> list[Event]:
    seen: list[Event] = [Preparing(phase="checking the images", done=done, total=60) for done in (0, 30, 60)]
    for event in events:
        if isinstance(event, Epoch):
            seen += [
                Progress(phase="train", epoch=event.epoch, epochs=3, step=step, steps=4, loss=0.4, mean_loss=0.5,
                         images_per_second=410.0, seconds_left=None if event.epoch == 1 else 61.0)
                for step in range(1, 5)
            ]  # fmt: skip
        seen.append(event)
    return seen


def test_without_a_terminal_each_epoch_is_one_plain_line() -> None:
    text = shown(with_progress(training()), terminal=False)
    assert "\x1b" not in text
    golden.check("reports/training-plain", text)


@pytest.mark.parametrize("terminal", [False, True])
def test_batch_losses_are_told_where_they_were_asked_for(terminal: bool) -> None:
    seen = {"time": "", "epoch": 1, "batches": 40}
    asked = BatchLosses(**seen, first=1, losses=(*[0.7] * 19, 0.6861), told=True)
    rest = BatchLosses(**seen, first=21, losses=(0.123,))
    text = shown([asked, rest], terminal=terminal)
    assert "epoch 1, batch 20 of 40: loss 0.686" in text and "0.123" not in text


def test_the_curve_of_batches_is_the_mean_of_every_so_many() -> None:
    losses = [float(number) for number in range(1, 41)]
    told = [
        BatchLosses(time=TIME, epoch=epoch, first=first, batches=20, losses=tuple(losses[start : start + 10]))
        for epoch, first, start in ((1, 1, 0), (1, 11, 10), (2, 1, 0), (2, 1, 20), (2, 11, 30))  # a part done twice
    ]
    course = history([*training(), *told])
    assert means(course.batches, 8) == [(0.4, 4.5), (0.8, 12.5), (1.2, 20.5), (1.6, 28.5), (2.0, 36.5)]
    assert len(means(course.batches, 30)) == 1  # what is left over makes none
    assert [usual_mean(batches) for batches in (1, 200, 201, 1000, 1001, 200_000)] == [1, 1, 2, 5, 10, 1000]
    chart = loss_chart(course, every=8)
    assert len(chart.batches.split()) == 5 and chart.every == 8
    assert "thin: mean of every 8 batches" in curves([*training(), *told], every=8).svg
    with pytest.raises(UserError, match="not of 0"):
        curves(training(), every=0)


def test_norms_and_auxiliary_heads_are_told_of() -> None:
    first, *rest = training()
    begun = first.model_copy(update={"heads": 1, "head_weight": 0.3, "fresh_norms": 94, "norms_keep": 0.9997})
    learned = next(event for event in rest if event.event == "epoch").model_copy(update={"auxiliary_loss": 0.712})
    text = shown([begun, learned], terminal=False)
    assert "the running mean and variance of 94 batch norms, of which each batch leaves 0.9997, are corrected" in text
    assert f"loss {learned.loss:.3f}, auxiliary loss 0.712, accuracy" in text


def test_on_a_terminal_finished_rows_are_written_once() -> None:
    text = shown(with_progress(training()), terminal=True, no_color=True)
    kept = [
        line for line in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "\n", text).replace("\r", "\n").split("\n") if line.strip()
    ]
    assert [sum(line.strip().startswith(f"{epoch}/3 ") for line in kept) for epoch in (1, 2, 3)] == [1, 1, 1]
    assert max(map(cell_len, kept)) <= 80
    moving = [line for line in kept if "━" in line]
    assert moving
    lasting = [line.rstrip() for line in kept if "━" not in line and "╸" not in line]
    golden.check("reports/training-terminal", "\n".join(dict.fromkeys(lasting)))
    assert "left: not yet known" in text
    assert "1:01 left" in text


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    text = shown(with_progress(training()), terminal=True)
    assert not re.search(r"\x1b\[[0-9;]*(3[0-7]|38|9[0-7])[0-9;]*m", text)


def test_an_interruption_says_what_was_reached() -> None:
    text = shown(training(why="interrupted"), terminal=False)
    assert "interrupted after 3 epochs and 2:29\nbest was epoch 2: validation accuracy 70.0 %" in text


def test_an_epoch_without_validation_is_shown_too() -> None:
    events = [event for event in training() if not isinstance(event, Validated)]
    assert shown(events, terminal=False).count("\nepoch ") == 3


def test_what_went_wrong_is_left_to_who_catches_it() -> None:
    text = shown([*training(why=None), Failed(time=TIME, epoch=3, problem="the loss became nan")], terminal=False)
    assert "stopped by an error after epoch 3" in text  # of three, perhaps: while the last was saved
    assert "nan" not in text


# History and cautions


def test_a_resumed_run_counts_an_epoch_once_and_forgets_the_first_end() -> None:
    first = training(3, why="interrupted")
    again = [event for event in training(4) if isinstance(event, Started | Stopped) or getattr(event, "epoch", 0) >= 3]
    course = history([*first, *again])
    assert [lap.epoch for lap in course.laps] == [1, 2, 3, 4]
    assert course.stopped is not None
    assert course.stopped.why == "finished"
    assert course.best is not None
    assert course.best.epoch == 3


@pytest.mark.parametrize(
    ("said", "cautions"),
    [
        ("the accuracy is known only to lie within [82", of_evaluation(evaluation([[45, 5], [5, 45]]))),
        ("by which the best epoch", of_evaluation(evaluation([[45, 5], [5, 45]], part="validation"))),
        ("3 of these images were among", of_evaluation(evaluation([[45, 5], [5, 45]], seen_in_training=3))),
        ("images that the model learned from", of_evaluation(evaluation([[45, 5], [5, 45]], part="train"))),
        ("Always answering bees would be right for 90.9 %", of_evaluation(evaluation([[0, 3], [0, 30]]))),
        ("Few images of ants (3)", of_evaluation(evaluation([[0, 3], [0, 30]]))),
        ("10 times as many images of bees as of ants", of_evaluation(evaluation([[0, 3], [0, 30]]))),
        ("few training images of ants (5) and bees (5)", of_split(split(train=5))),
        ("There were no validation images", of_split(split(validation=0))),
        ("set apart for a test", of_split(split(test=0))),
        ("train part has few images of ants (5) and bees (5)", of_division(split(train=5))),
        ("no validation part", of_division(split(validation=0))),
        ("no test part", of_division(split(test=0))),
        ("interrupted after 3 of 3 epochs", of_training(history(training(why="interrupted")))),
        ("still running, or it was killed", of_training(history(training(why=None)))),
        ("ended with an error: no memory", of_training(history([Failed(time=TIME, epoch=0, problem="no memory")]))),
    ],
)  # fmt: skip
def test_a_weakness_is_said(said: str, cautions: Any) -> None:
    assert any(said in caution for caution in cautions)


def test_a_strong_result_is_not_talked_down() -> None:
    strong = evaluation([[990, 10], [12, 988]])
    assert not [
        *of_evaluation(strong),
        *of_split(split()),
        *of_training(history(training())),
    ]


# Choosing images


@given(st.lists(st.integers(), max_size=50), st.integers(1, 20))
def test_spread_keeps_order_and_takes_what_it_may(items: list[int], most: int) -> None:
    indices = spread(range(len(items)), most)
    assert len(indices) == min(most, len(items))
    assert indices == sorted(set(indices))


def test_each_class_has_its_share() -> None:
    items = ["a"] * 100 + ["b"] * 3
    assert spread_by_class(items, ["a", "b"], str, 10) == ["a"] * 5 + ["b"] * 3


# Colours


def contrast(one: str, other: str) -> float:
    """WCAG 2.2's contrast ratio."""

    def luminance(colour: str) -> float:
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("colours", [palette.LIGHT, palette.DARK], ids=["light", "dark"])
@pytest.mark.parametrize("text", ["ink", "muted", "link", "right-text", "wrong-text"])
@pytest.mark.parametrize("ground", ["paper", "raised"])
def test_text_has_the_contrast_that_wcag_asks_for(colours: dict[str, str], text: str, ground: str) -> None:
    assert contrast(colours[text], colours[ground]) >= 4.5


@pytest.mark.parametrize("colours", [palette.LIGHT, palette.DARK], ids=["light", "dark"])
@pytest.mark.parametrize("fill", ["right", "wrong"])
def test_the_deepest_cells_of_the_confusion_matrix_can_be_read(colours: dict[str, str], fill: str) -> None:
    paper, deep = (np.array([int(colours[name][i : i + 2], 16) for i in (1, 3, 5)]) for name in ("paper", fill))
    cell = "#" + "".join(f"{level:02x}" for level in np.round(0.6 * deep + 0.4 * paper).astype(int))
    assert contrast(colours["ink"], cell) >= 4.5


def test_40_classes_look_different() -> None:
    assert len({palette.look(index) for index in range(40)}) == 40


# Curves in the report


def test_a_chart_draws_its_points_where_the_axes_say() -> None:
    chart = accuracy_chart(history(training(3)), commonest=0.4)  # axis from 0 to 100 %
    validation = next(line for line in chart.lines if line.name == "validation")
    x, y = map(float, validation.points.split()[1].split(","))  # epoch 2 of 1..3: 14 of 20 right
    assert x == (LEFT + RIGHT) / 2
    assert y == pytest.approx(BOTTOM - 0.7 * (BOTTOM - TOP), abs=0.05)
    assert chart.best == (x, y)
    assert "epoch 2, with 70.0 %, was the best" in chart.summary


@given(st.floats(1e-6, 1e6))
def test_ticks_are_round_and_reach_the_value(high: float) -> None:
    ticks = nice_ticks(0.0, high)
    assert ticks[0] == 0
    assert ticks[-1] >= high * (1 - 1e-6)
    assert 2 <= len(ticks) <= 7


# report.html


class Page(HTMLParser):
    """What a browser would find: elements with their attributes, ids, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in ("dd", "td", "li", "p", "figcaption", "br", "summary"):
            self.words.append(" ")

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return re.sub(r"[\s\u00a0]+", " ", "".join(self.words))


def test_the_report_loads_nothing_from_anywhere(photos: Path) -> None:
    text = page(photos)
    assert not re.search(r"https?:|//[a-z]|@import|url\(", re.sub(r"base64,[\w+/=]+", "", text))
    for _, attributes in Page(text).elements:
        assert (attributes.get("href") or "#").startswith("#")
        assert (attributes.get("src") or "data:image/webp").startswith("data:image/webp")
        assert "srcset" not in attributes


def test_every_link_arrives_and_every_image_has_words(photos: Path) -> None:
    report = Page(page(photos))
    ids = [attributes["id"] for _, attributes in report.elements if "id" in attributes]
    assert len(ids) == len(set(ids)) == 8
    assert {attributes["href"] for attributes in report.all("a")} == {f"#{id}" for id in ids}
    thumbnails = [image for image in report.all("img") if "src" in image]
    assert thumbnails
    assert all(image["alt"] and image["loading"] == "lazy" for image in thumbnails)
    assert all("aria-label" in drawing for drawing in report.all("svg"))


def test_the_report_says_the_accuracy_with_its_interval(photos: Path) -> None:
    text = Page(page(photos)).text
    # Wilson's interval for 17 of 20, from R: prop.test(17, 20, correct = FALSE)
    assert "85.0 % accuracy [64.0, 94.8], n = 20 on the test images" in text
    assert "The model was right about 17 of 20 images." in text
    assert "it would be right about 64 to 95 of every 100" in text
    assert "Always answering the commonest class would be right for 50.0 % of these images." in text
    assert "✗ bees 61 % is ● ants" in text


def test_settings_that_somebody_chose_come_before_the_usual(photos: Path) -> None:
    config = CONFIG | {"augmentation": {"flip": 0.5, "scale": [0.35, 1.0]}}
    chosen, usual = Page(page(photos, config=config)).text.split("The settings #")[1].split("All other settings")
    assert "model small" in chosen
    assert "learning.epochs 3" in chosen
    assert "learning.clip 2" in chosen
    assert "augmentation.scale 0.35, 1" in usual


def test_words_from_outside_are_escaped(tmp_path: Path) -> None:
    classes = (NASTY.replace("/", "|"), "bees")
    root = write_images(tmp_path, [f"{name}/{n}.png" for name in classes for n in range(12)])
    text = page(
        root,
        split=split(train=12, classes=classes, root=str(root)),
        evaluation=evaluation([[9, 1], [2, 8]], classes, data=str(root), left_out=(LeftOut(path=NASTY, reason=NASTY),)),
        card=card(classes=classes),
        config=CONFIG | {"model": NASTY},
        provenance=PROVENANCE | {"commit": NASTY},
    )
    assert "<script>alert" not in text
    assert text.count("<script>") == 1
    assert classes[0] in Page(text).text


def test_the_report_stays_under_5_mb(tmp_path: Path) -> None:
    classes = tuple(f"class {index:02}" for index in range(40))
    root = write_images(tmp_path, [f"{name}/{n}.png" for name in classes for n in range(3)], side=400)
    confusion = (np.eye(40, dtype=int) * 2 + np.eye(40, k=3, dtype=int)).tolist()
    text = page(
        root,
        split=split(train=3, validation=0, test=0, classes=classes, root=str(root)),
        evaluation=evaluation(confusion, classes, data=str(root)),
        card=card(classes=classes, threshold=None),
    )
    assert len(text.encode()) < 5_000_000
    assert len(Page(text).all("img")) > 80


def test_a_thousand_classes_leave_room_for_images(photos: Path) -> None:
    classes = tuple(f"class number {index}" for index in range(1000))
    text = page(
        photos,
        split=split(1, 1, 1, classes, root=str(photos)),
        evaluation=evaluation((np.eye(1000, dtype=int) + np.eye(1000, k=1, dtype=int)).tolist(), classes),
        card=card(classes=classes, threshold=None),
    )
    assert len(text.encode()) < 5_000_000 - (IMAGE_BYTES - 1000 * CLASS_BYTES)
    assert "40 of 999 confused pairs" in Page(text).text


def test_the_confusion_matrix_is_a_table_of_counts(photos: Path) -> None:
    cells = re.findall(r'<td class="(good|bad|none)"[^>]*>([\d,]+)', page(photos))
    assert cells == [("good", "9"), ("bad", "1"), ("bad", "2"), ("good", "8")]


def test_a_report_without_mistakes(photos: Path) -> None:
    text = Page(page(photos, evaluation=evaluation([[10, 0], [0, 10]], data=str(photos)))).text
    # Wilson's lower bound for 20 of 20: 20 / (20 + 1.96 ** 2) = 0.839
    assert "The model was wrong about none of the 20 images." in text
    assert "up to 16.1 % wrong answers in the long run" in text


def test_a_report_of_one_epoch_shows_dots(photos: Path) -> None:
    text = page(photos, events=training(1))
    assert "<polyline" not in text
    assert "whisker is the 95 % interval" in Page(text).text


def test_a_report_before_anything_was_measured(photos: Path) -> None:
    text = Page(page(photos, events=training()[:1], card=None, evaluation=None)).text
    assert "No epoch was finished" in text
    assert "Class by class" not in text


def test_a_report_of_an_interrupted_run_flatters_no_one(photos: Path) -> None:
    text = Page(page(photos, events=training(why="interrupted"), evaluation=None)).text
    assert "on the validation images, while it was trained" in text
    assert "The best weights have not been evaluated" in text


def test_an_image_that_went_missing_is_named(photos: Path) -> None:
    (photos / "ants/9.png").unlink()  # the one mistake among the ants
    assert "ants/9.png: " in Page(page(photos)).text


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


def test_write_report_reads_the_run_folder(photos: Path, tmp_path: Path) -> None:
    run = create_run(
        tmp_path / "runs", "photos-small", config=CONFIG, provenance=PROVENANCE, split=split(root=str(photos))
    )
    for event in training():
        run.note(event)
    run.evaluation_path.write_text(evaluation([[9, 1], [2, 8]], data=str(photos)).to_json())
    assert write_report(run) == run.report_path
    text = Page(run.report_path.read_text(encoding="utf-8")).text
    assert run.path.name in text
    assert "85.0 %" in text


# Figures


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


# How eyes without one kind of cones see linear RGB (Machado, Oliveira and Fernandes 2009, severity 1).
BLIND = {
    "red": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "green": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "none": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
}


def lab(colour: str, eye: str) -> Any:
    """CIE L*a*b* (D65) of a colour as that eye sees it."""
    light = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    light = np.where(light <= 0.04045, light / 12.92, ((light + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(BLIND[eye]) @ light, 0, 1)
    white = np.array([0.9505, 1.0, 1.089])
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ seen / white
    x, y, z = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("colours", [palette.LIGHT, palette.DARK], ids=["light", "dark"])
@pytest.mark.parametrize("kind", ["", "-text"])
def test_wrong_is_red_and_right_green_to_every_eye(colours: dict[str, str], kind: str) -> None:
    right, wrong = colours[f"right{kind}"], colours[f"wrong{kind}"]
    for eye in BLIND:
        assert np.linalg.norm(lab(right, eye) - lab(wrong, eye)) > 15  # 2.3 can just be told apart
    hue = {name: np.degrees(np.arctan2(*lab(colour, "none")[:0:-1])) for name, colour in (("r", right), ("w", wrong))}
    assert 15 < hue["w"] < 50  # pure red has 40, Okabe and Ito's vermillion 58
    assert 140 < hue["r"] < 185


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
    assert title(show(predictions)) == "24 of 30 predictions, spread evenly"
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


def test_reports_need_neither_torch_nor_pyplot() -> None:
    rooms = ", ".join(f"pellucid.reports.{room}" for room in ("html", "pictures", "text", "live_table"))
    heavy = ["torch", "torchvision", "timm", "sklearn", "pandas", "matplotlib.pyplot"]
    program = f"import sys, {rooms}; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("needed", "said"), [(944_640, "945 KB"), (1_889_280, "1.9 MB"), (2 * 10**10, "20.0 GB"), (0.4, "0 KB")]
)
def test_room_on_a_disk_has_a_unit_however_little_it_is(needed: float, said: str) -> None:
    assert disk_space(needed) == said


def test_where_time_went_is_told_and_a_starved_loader_named() -> None:
    spent = Spent(waiting=60, computing=120, validating=15, saving=5)
    assert spent_words(spent) == "computing 60 %, waiting for data 30 %, validating 8 %, saving 2 %"
    assert spent_words(Spent()) == "" == starving(Spent(waiting=4, computing=1), None, None)
    kept = PixelsReady(time=TIME, images=9, decoded=9, reduced=0, needed=10**9, room=10**10, kept=True, seconds=1)
    (started,) = (event for event in training(3) if isinstance(event, Started))
    said = starving(spent, started, kept)
    assert said.startswith(
        "The network waited for data 33 % of its time (1:00): more processes that decode may help (--workers"
    )
    lost = kept.model_copy(update={"kept": False, "needed": 3 * 10**10})
    assert "with --cache-size 60.0GB decoded pixels are cached" in starving(spent, started, lost)
    events = [
        event.model_copy(update={"spent": spent}) if isinstance(event, Stopped) else event for event in training(3)
    ]
    assert any("waited for data" in caution for caution in of_training(history(events)))
