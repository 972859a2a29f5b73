"""One accuracy for the same weights and images, whatever training computes with."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pellucid as pl
from pellucid.runs.run_folder import RunFolder
from tests.pictures import make_classes

WAYS: dict[str, dict[str, Any]] = {
    "bfloat16": {"mode": "scratch", "rate": 5e-3},
    "averaged": {"mode": "scratch", "learning": {"ema": 0.7}, "rate": 5e-3},
    "crops": {"mode": "scratch", "input": {"crops": 2, "region": 40}},
    "one logit": {"mode": "scratch", "one_logit": True},
    "probe by steps": {"mode": "probe", "weights": "none", "optimizer": "adamw"},
    "probe solved": {"mode": "probe", "weights": "none"},
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_classes(tmp_path_factory.mktemp("data") / "photos", images=40)


@pytest.mark.parametrize("way", WAYS)
def test_what_is_told_of_the_kept_weights_is_what_they_do(photos: Path, tmp_path: Path, way: str) -> None:
    settings = {"model": "small", "size": 32, "batch": 8, "validation": 0.5, "workers": 0} | WAYS[way]
    if settings.get("optimizer") == "adamw" or settings["mode"] == "scratch":
        settings["epochs"] = 3
    run = pl.train(photos, **settings, machine={"precision": "bfloat16"}, runs=tmp_path)
    best = [event for event in run.events() if event.event == "validated" and event.best][-1]
    judged = pl.evaluate(run.path, part="validation")
    assert judged.accuracy == best.accuracy
    (told,) = (result for result in run.card().results if result.measure == "accuracy")
    assert (told.value, told.n) == (judged.accuracy.value, judged.accuracy.n)
    kept_as = 2e-3 if settings["mode"] == "probe" else 1e-5  # features are kept in float16
    assert plain_loss(judged, run) == pytest.approx(best.loss, rel=kept_as, abs=1e-6)


def plain_loss(judged: Any, run: RunFolder) -> float:
    """The log loss of what a loaded model says, without the temperature that calibrated its probabilities."""
    temperature, losses = run.card().temperature, []
    said = pl.load(run.path).predict([Path(judged.root) / one.path for one in judged.predictions])
    for one, judgement in zip(said, judged.predictions, strict=True):
        logits = {name: temperature * np.log(probability) for name, probability in one.ranking}
        losses.append(np.log(sum(np.exp(value) for value in logits.values())) - logits[judgement.truth])
    return float(np.mean(losses))
