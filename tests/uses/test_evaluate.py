"""Evaluating: which images are measured, what comes of each, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pellucid.errors import UserError
from pellucid.images.sources import read_samples
from pellucid.images.split import split
from pellucid.measures.intervals import wilson
from pellucid.reports.cautions import of_evaluation
from pellucid.runs.evaluation import Evaluation, LeftOut, read_evaluation, write_evaluation
from pellucid.runs.run_folder import RunFolder, create_run
from pellucid.uses.evaluate import evaluate
from pellucid.uses.predict import Classifier
from pellucid.uses.requirements import check_requirements, measure_names, unmet
from tests import golden
from tests.brightness import classifier, probability, save


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def judge() -> Classifier:
    return classifier(Path("models/model.safetensors"))


def folders(root: str, **greys: list[int]) -> Path:
    """One folder a class, with one image for each grey level."""
    for name, levels in greys.items():
        for level in levels:
            save(Path(root, name, f"{level:03}.png"), level)
    return Path(root)


def refusal(*arguments: Any, **options: Any) -> str:
    with pytest.raises(UserError) as refused:
        evaluate(*arguments, **options)
    return str(refused.value)


# Three dark images, one of them lighter than mid-grey; two bright ones, both right.
GREYS = {"bright": [190, 250], "dark": [10, 20, 200]}


def test_every_measure_is_the_one_that_is_worked_out_by_hand(judge):
    result = evaluate(judge, folders("photos", **GREYS))
    assert result.n == 5
    assert result.classes == ("dark", "bright")
    assert result.confusion == ((2, 1), (0, 2))
    assert result.accuracy == wilson(4, 5)
    dark, bright = result.per_class
    assert (dark.name, dark.recall, dark.precision, dark.support) == ("dark", wilson(2, 3), wilson(2, 2), 3)
    assert (bright.name, bright.recall, bright.precision, bright.support) == ("bright", wilson(2, 2), wilson(2, 3), 2)
    assert dark.f1.value == bright.f1.value == pytest.approx(4 / 5)
    assert result.balanced_accuracy.value == pytest.approx((2 / 3 + 1) / 2)
    of_truth = [probability(190), probability(250), *(1 - probability(grey) for grey in (10, 20, 200))]
    assert result.log_loss.value == pytest.approx(-np.mean(np.log(of_truth)), rel=1e-6)
    assert result.roc_auc.value == pytest.approx(5 / 6)  # of 2 x 3 pairs, 200 lies above 190
    assert result.average_precision.value == pytest.approx((1 + 2 / 3) / 2)  # in order: right, wrong, right
    assert (result.threshold, result.seen_in_training, result.left_out) == (None, None, ())


def test_every_image_is_there_in_order_with_what_was_said_of_it(judge):
    import hashlib

    result = evaluate(judge, folders("photos", **GREYS), batch=2)
    assert [each.path for each in result.predictions] == [
        "bright/190.png",
        "bright/250.png",
        "dark/010.png",
        "dark/020.png",
        "dark/200.png",
    ]
    wrong = result.predictions[4]
    assert (wrong.truth, wrong.best) == ("dark", "bright")
    assert (wrong.probability, wrong.of_truth) == pytest.approx((probability(200), 1 - probability(200)), rel=1e-6)
    assert result.location(wrong).samefile("photos/dark/200.png")
    assert wrong.sha256 == hashlib.sha256(Path("photos/dark/200.png").read_bytes()).hexdigest()
    assert result.fingerprint == split(read_samples("photos")).fingerprint()


def test_the_batch_changes_nothing_and_progress_is_told(judge):
    data = folders("photos", **GREYS)
    heard: list[tuple[int, int]] = []
    one = evaluate(judge, data, batch=2, progress=lambda done, total: heard.append((done, total)))
    other = evaluate(judge, data, batch=32)
    timeless = {"seconds": 0.0, "images_per_second": 0.0}
    assert one.model_copy(update=timeless) == other.model_copy(update=timeless)
    assert heard == [(2, 5), (4, 5), (5, 5)]
    assert one.images_per_second == pytest.approx(5 / one.seconds)


def test_the_threshold_of_the_card_decides_and_is_recorded():
    strict = classifier(Path("models/model.safetensors"), threshold=0.9)
    result = evaluate(strict, folders("photos", bright=[190, 250], dark=[195]))
    assert (result.threshold, result.confusion) == (0.9, ((1, 0), (1, 1)))


# Classes


def test_classes_are_matched_by_name_whatever_their_order(judge):
    turned = classifier(Path("models/model.safetensors"), classes=("bright", "dark"))
    data = folders("photos", **GREYS)
    assert evaluate(judge, data).accuracy == evaluate(turned, data).accuracy == wilson(4, 5)
    assert evaluate(turned, data).confusion == ((2, 0), (1, 2))


def test_a_class_that_is_not_in_the_data_has_no_support():
    judge = classifier(Path("models/model.safetensors"), classes=("bright", "dark", "dusk"))
    result = evaluate(judge, folders("photos", **GREYS))
    dusk = result.per_class[2]
    assert (dusk.name, dusk.support, dusk.recall.value, dusk.precision.value, dusk.f1.value) == ("dusk", 0, *[None] * 3)
    assert result.roc_auc is None
    assert result.average_precision is None


def test_of_one_class_alone_the_auc_is_not_defined(judge):
    result = evaluate(judge, folders("photos", dark=[1, 2]))
    assert (result.roc_auc.value, result.average_precision.value, result.roc_auc.n) == (None, None, 2)
    assert result.balanced_accuracy.value == 1


def test_classes_that_the_model_never_saw_are_named_and_counted(judge):
    data = folders("flowers", bluebell=[1, 2, 3], bright=[250], crocus=[4])
    texts = [refusal(judge, data), refusal(judge, folders("others", crocus=[1, 2])), refusal(judge, data, only_know=1)]
    golden.check("uses/unknown-classes", "\n\n".join(texts))


def test_only_known_leaves_the_other_classes_out_and_says_so(judge):
    data = folders("flowers", bluebell=[1], **GREYS)
    result = evaluate(judge, data, only_known=True)
    assert result.n == 5
    assert result.left_out == (
        LeftOut(path="bluebell/001.png", reason="of class bluebell, which the model does not know"),
    )
    golden.check("uses/only-known-none", refusal(judge, folders("others", crocus=[1]), only_known=True))


# Parts


def test_of_divided_data_the_test_part_is_measured_unless_another_is_named(judge):
    for part, greys in {"train": [1, 2, 3], "val": [4, 5], "test": [6]}.items():
        folders(f"photos/{part}", dark=greys)
    result = evaluate(judge, "photos")
    assert (result.part, [each.path for each in result.predictions]) == ("test", ["test/dark/006.png"])
    assert (evaluate(judge, "photos", part="validation").n, evaluate(judge, "photos", part="val").n) == (2, 2)
    assert evaluate(judge, "photos", part="train").part == "train"


def test_a_part_that_is_not_there_is_refused_with_those_that_are(judge):
    folders("photos/train", dark=[1])
    folders("photos/val", dark=[2])
    folders("whole", dark=[1])
    texts = [
        refusal(judge, "photos"),
        refusal(judge, "photos", part="test"),
        refusal(judge, "photos", part="tset"),
        refusal(judge, "whole", part="test"),
    ]
    golden.check("uses/parts", "\n\n".join(texts))


def test_a_table_is_read_by_the_columns_that_are_named(judge):
    save(Path("photos/a.png"), 10)
    save(Path("photos/b.png"), 250)
    Path("photos/list.csv").write_text("file,what,split\na.png,dark,\nb.png,bright,\n")
    result = evaluate(judge, "photos/list.csv", path_column="file", label_column="what")
    assert result.accuracy == wilson(2, 2)
    assert result.data == "photos/list.csv"
    assert result.location(result.predictions[1]).samefile("photos/b.png")


# Images that cannot be read


def test_all_images_that_cannot_be_read_are_listed(judge):
    data = folders("photos", **GREYS)
    Path("photos/dark/bad.jpg").write_text("no picture")
    Path("photos/dark/empty.jpg").touch()
    golden.check("uses/unreadable", refusal(judge, data, batch=2))


def test_skipped_images_are_recorded(judge):
    data = folders("photos", **GREYS)
    Path("photos/dark/bad.jpg").write_text("no picture")
    Path("photos/dark/notes.txt").write_text("no picture")
    result = evaluate(judge, data, skip_unreadable=True)
    assert result.n == 5
    assert result.left_out == (
        LeftOut(path="dark/notes.txt", reason=".txt is no image"),
        LeftOut(path="dark/bad.jpg", reason="not an image"),
    )


def test_where_none_can_be_read_nothing_is_measured(judge):
    Path("photos/dark").mkdir(parents=True)
    Path("photos/dark/bad.jpg").write_text("no picture")
    golden.check("uses/none-readable", refusal(judge, "photos", skip_unreadable=True))


# A run's own images


def run_folder(**amounts: str) -> tuple[RunFolder, Classifier]:
    """A run on 40 grey levels of which none is a twin, as training would have left it."""
    folders("photos", dark=list(range(0, 100, 5)), bright=list(range(150, 250, 5)))
    run = create_run(Path("runs"), "photos", config={}, provenance={}, split=split(read_samples("photos"), **amounts))
    run.model.touch()
    return run, classifier(run.path)


def test_without_data_a_run_is_measured_on_its_own_test_part():
    run, judge = run_folder(train="0.5", validation="0.25", test="rest")
    result = evaluate(judge)
    assert (result.part, result.n, result.accuracy, result.seen_in_training) == ("test", 10, wilson(10, 10), 0)
    assert {each.path for each in result.predictions} == set(map(run.split().below, run.split().part("test")))
    assert (result.data, result.model) == (str(Path("photos").resolve()), str(run.path))


def test_without_a_test_part_it_is_the_validation_part_and_says_so():
    _, judge = run_folder(train="0.5", validation="rest")
    assert (evaluate(judge).part, evaluate(judge).n) == ("validation", 20)
    assert evaluate(judge, part="train").seen_in_training == 20


def test_images_that_the_model_was_trained_on_are_noticed_by_their_content():
    run, judge = run_folder(train="0.5", validation="0.25", test="rest")
    assert evaluate(judge, "photos").seen_in_training == 20
    known = run.split().part("train")[0].path
    copied = Path("elsewhere/dark/other-name.png")
    copied.parent.mkdir(parents=True)
    copied.write_bytes(known.read_bytes())
    assert evaluate(judge, "elsewhere").seen_in_training == 1
    by_file = Classifier(judge.engine, model=run.model)
    assert evaluate(by_file, "elsewhere").seen_in_training == 1


def test_a_runs_own_images_must_be_as_they_were_and_be_named_otherwise():
    run, judge = run_folder(train="0.5", validation="0.25", test="rest")
    file = run.split().part("test")[0]
    save(file.path, 77)
    loose = classifier(Path("models/model.safetensors"))
    texts = [refusal(judge), refusal(loose), refusal(judge, label_column="what")]
    _, no_test = run_folder(train="0.5", validation="rest")
    texts.append(refusal(no_test, part="test"))
    shown = "\n\n".join(texts).replace(str(Path.cwd()), "HERE").replace(run.split().below(file), "THE FILE")
    for folder in sorted(Path("runs").iterdir(), reverse=True):  # the second run's name begins with the first's
        shown = shown.replace(str(folder), "runs/photos")
    golden.check("uses/own-images", shown)


def test_an_evaluation_is_kept_in_its_run_and_read_again():
    run, judge = run_folder()
    with pytest.raises(UserError, match=r"evaluation\.json is not there"):
        read_evaluation(run)
    result = evaluate(judge)
    assert write_evaluation(result, run) == run.path / "evaluation.json"
    assert read_evaluation(run) == result


# Requirements


@pytest.fixture
def result(judge) -> Evaluation:
    return evaluate(judge, folders("photos", **GREYS))


def test_a_requirement_is_met_by_the_value_and_by_reaching_it_exactly(result):
    fine = {"accuracy": 0.8, "recall.bright": 1.0, "precision.dark": 1.0, "f1.dark": 0.79, "roc_auc": 0.8}
    assert unmet(result, fine | {"log_loss": 1.0, "average_precision": 0.8, "balanced_accuracy": 0.83}) == []


def test_each_requirement_that_is_not_met_is_a_line(result):
    lines = unmet(result, {"accuracy": 0.9, "recall.bright": 0.9, "recall.dark": 0.9, "log_loss": 0.1})
    golden.check("uses/unmet", "\n".join(lines))
    assert [line.split(" is ")[0] for line in lines] == ["accuracy", "recall.dark", "log_loss"]


def test_what_is_undefined_is_not_met(judge):
    result = evaluate(judge, folders("photos", dark=[1, 2]))
    assert unmet(result, {"precision.bright": 0.1}) == ["precision.bright is undefined n = 0, required is at least 0.1"]


def test_unknown_measures_and_impossible_bounds_are_refused_before_anything_is_computed():
    texts = []
    for requirements in (
        {"acuracy": 0.9},
        {"recall.brigth": 0.9},
        {"zzz": 1},
        {"accuracy": 90},
        {"accuracy": float("nan")},
        {"log_loss": -1},
    ):
        with pytest.raises(UserError) as refused:
            check_requirements(requirements, ("dark", "bright"))
        texts.append(str(refused.value))
    golden.check("uses/requirements", "\n\n".join(texts))
    assert "roc_auc" in measure_names(("a", "b"))
    assert "roc_auc" not in measure_names(("a", "b", "c"))
    assert "recall.v1.2" in measure_names(("v1.2", "b"))


def test_an_image_too_long_to_be_resized_is_listed_or_left_out_by_name(judge):
    data = folders("photos", **GREYS)
    Image.new("RGB", (60_000, 2)).save("photos/dark/strip.png")
    wide = judge.card.preprocessing.model_copy(update={"resize": 2048, "interpolation": "bilinear"})
    judge.engine.card = judge.card.model_copy(update={"preprocessing": wide})
    assert "strip.png: too long and thin" in refusal(judge, data)
    assert [left.path for left in evaluate(judge, data, skip_unreadable=True).left_out] == ["dark/strip.png"]


def test_what_was_decided_in_reading_and_what_was_left_out_is_told(judge):
    data = folders("photos/testing", **GREYS)
    folders("photos/training", **GREYS)
    Path("photos/testing/dark/IMG_1.heic").write_bytes(b"\0\0\0\x18ftypheic")
    told = list(of_evaluation(evaluate(judge, data.parent)))
    assert any("taken for parts: testing for test" in words for words in told)
    assert any("1 file was left out of the measurement: 1 x .heic (HEIF) is not read" in words for words in told)


def test_images_of_one_class_alone_are_measured_with_a_caution(judge):
    told = list(of_evaluation(evaluate(judge, folders("photos", dark=[0, 10, 20]))))
    assert any("All of these images are of one class, dark" in words for words in told)


def test_a_class_in_another_spelling_is_told_with_the_map_that_joins_it(judge):
    data = folders("photos", Dark=[0, 10], bright=[200])
    said = refusal(judge, data)
    assert "Dark is dark there" in said and said.endswith("--map Dark=dark")
    assert evaluate(judge, data, map={"Dark": "dark"}).n == 3
