"""Which epoch's weights are kept, and when training ends before its epochs do."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import pellucid as pl
from pellucid.runs.events import Stopped, Validated
from pellucid.runs.run_folder import RunFolder
from tests.pictures import make_classes
from tests.training.plain import Plain


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_classes(tmp_path_factory.mktemp("data") / "photos", images=20)
    for file in sorted((folder / "smooth").iterdir())[8:]:  # accuracy and balanced accuracy are not the same
        file.unlink()
    return folder


def trained(photos: Path, runs: Path, *, rate: float, epochs: int, **learning: Any) -> RunFolder:
    torch.manual_seed(0)
    return pl.train(
        photos,
        model=Plain(2),
        size=32,
        validation=0.5,
        workers=0,
        runs=runs,
        epochs=epochs,
        batch=4,
        learning={"optimizer": "sgd", "rate": rate, "warm_up": 0, "schedule": "constant", **learning},
    )


def validated(run: RunFolder) -> list[Validated]:
    return [event for event in run.events() if isinstance(event, Validated)]


@pytest.mark.parametrize("best_by", ["accuracy", "balanced_accuracy", "loss"])
def test_patience_ends_a_training_in_which_nothing_gets_better(photos: Path, tmp_path: Path, best_by: str) -> None:
    run = trained(photos, tmp_path, rate=1e-30, epochs=30, patience=2, best_by=best_by)
    assert run.state() == "early"
    assert [event.best for event in validated(run)] == [True, False, False]  # the first, and two that are no better
    (stopped,) = (event for event in run.events() if isinstance(event, Stopped))
    assert (stopped.epoch, stopped.best_epoch, stopped.why) == (3, 1, "early")


def test_without_patience_it_goes_on_to_the_end(photos: Path, tmp_path: Path) -> None:
    run = trained(photos, tmp_path, rate=1e-30, epochs=5)
    assert run.state() == "finished" and len(validated(run)) == 5


@pytest.mark.parametrize("best_by", ["accuracy", "balanced_accuracy", "loss"])
def test_the_epoch_that_is_best_by_what_was_asked_is_kept(photos: Path, tmp_path: Path, best_by: str) -> None:
    run = trained(photos, tmp_path, rate=0.02, epochs=8, best_by=best_by)
    found = validated(run)
    assert {event.measure for event in found} == {best_by}
    assert len({event.loss for event in found}) > 1
    good = {event.epoch: (-event.value if best_by == "loss" else event.value, -event.loss) for event in found}
    best = max(good, key=lambda epoch: good[epoch])  # where two are alike, the one with the lower loss
    assert max(event.epoch for event in found if event.best) == best
    assert pl.load(run.path).card.provenance["epoch"] == best
    kept, last = load_file(run.model), load_file(run.last)
    assert (best == 8) == all(torch.equal(kept[name], last[name]) for name in kept)
    if best_by == "accuracy":
        assert all(event.value == event.accuracy.value for event in found)
    if best_by == "loss":
        assert all(event.value == event.loss for event in found)


def test_balanced_accuracy_is_the_mean_of_the_classes_recalls(photos: Path, tmp_path: Path) -> None:
    run = trained(photos, tmp_path, rate=1e-3, epochs=1, best_by="balanced_accuracy")
    judged = pl.evaluate(run.path, part="validation")
    (event,) = validated(run)
    recalls = [row[index] / sum(row) for index, row in enumerate(judged.confusion)]
    assert event.value == pytest.approx(sum(recalls) / len(recalls))
