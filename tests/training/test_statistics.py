"""Running statistics of batch norms, beside TF-Slim's moving averages and plain means."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import nn
from torch.optim.swa_utils import AveragedModel

import pellucid as pl
from pellucid.interruption import Interruption
from pellucid.training.configure import configure
from pellucid.training.statistics import Statistics, fresh_norms, momentum_at
from pellucid.training.stepping import averaging
from pellucid.training.train import train_events
from tests.pictures import make_classes
from tests.shared import shared


def after(values: np.ndarray, *, keeps: float) -> nn.BatchNorm1d:
    """A norm that keeps so much of itself, after a batch for each row of `values`, (batches, images)."""
    norm = nn.BatchNorm1d(1, momentum=1 - keeps)
    statistics = Statistics(nn.Sequential(norm), fresh_norms(nn.Sequential(norm)))
    for batch in torch.from_numpy(values).float():
        norm(batch[:, None])
    statistics.leave()
    assert norm.momentum == 1 - keeps
    return norm


def test_after_50_000_batches_they_are_tf_slims() -> None:
    random = np.random.default_rng(0)
    values = random.normal(3.0, 2.0, (50_000, 4)) + np.linspace(0, 5, 50_000)[:, None]  # they go on changing
    mean, variance = 0.0, 1.0
    for batch in values:  # assign_moving_average: variable -= (variable - value) * (1 - decay)
        mean -= (mean - batch.mean()) * 0.0003
        variance -= (variance - batch.var(ddof=1)) * 0.0003
    norm = after(values, keeps=0.9997)
    assert norm.running_mean.item() == pytest.approx(mean, rel=1e-4)  # summed up in float32
    assert norm.running_var.item() == pytest.approx(variance, rel=1e-4)


@given(st.floats(0.5, 0.99999), st.integers(1, 500))
def test_the_start_has_no_weight_and_every_batch_counts_less_than_the_next(keeps: float, batches: int) -> None:
    weights = np.zeros(batches + 1)
    weights[0] = 1.0  # what it starts from
    for batch in range(1, batches + 1):
        momentum = momentum_at(1 - keeps, batch)
        weights *= 1 - momentum
        weights[batch] += momentum
    assert weights[0] == 0
    assert weights.sum() == pytest.approx(1)
    assert (np.diff(weights[2:]) >= -1e-15).all()  # the first may count for more than the second: nothing came before


def test_while_batches_are_few_they_are_of_the_last_ones() -> None:
    values = np.concatenate([np.full((300, 4), 100.0), np.random.default_rng(1).normal(-4.0, 3.0, (300, 4))])
    norm = after(values, keeps=0.9997)
    # The weights moved on: by half of the batches, what was true of the first half has 1/2**9 of the weight left.
    assert norm.running_mean.item() == pytest.approx(-4.0 + 104 / 2**9, abs=0.4)
    norm = after(values[:300] + np.random.default_rng(2).normal(0, 3, (300, 4)), keeps=0.9997)
    assert norm.running_mean.item() == pytest.approx(100, rel=0.01)
    assert norm.running_var.item() == pytest.approx(9, rel=0.4)


def test_statistics_that_came_with_weights_go_on_from_there() -> None:
    norm = nn.BatchNorm1d(1)
    norm(torch.randn(8, 1))
    assert fresh_norms(nn.Sequential(norm)) == ()
    assert fresh_norms(pl.network("resnet18", 2)) != ()


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_classes(tmp_path_factory.mktemp("data") / "photos")


SLOW: dict[str, Any] = {
    "model": "inception_v1",
    "mode": "scratch",
    "size": 48,
    "epochs": 4,
    "batch": 8,
    "workers": 0,
    "options": {"norm_decay": 0.9997, "width": 0.1, "auxiliary": True, "conventions": "tensorflow"},
    "learning": {"optimizer": "sgd", "rate": 0.02},
}


def test_a_norm_that_keeps_almost_all_of_itself_is_of_the_images_at_once(photos: Path, tmp_path: Path) -> None:
    events = list(train_events(configure(photos, **SLOW, runs=tmp_path / "runs")))
    started = next(event for event in events if event.event == "started")
    assert started.norms_keep == 0.9997 and started.fresh_norms > 50
    losses = [event.loss for event in events if event.event == "validated"]
    assert max(losses) < 5  # with the statistics that it starts from, they grow beyond all bounds
    learned = [event for event in events if event.event == "epoch"]
    # The loss is the main one alone, which validation measures; chance is log(2) for either head.
    assert all(event.auxiliary_loss is not None and 0 < event.auxiliary_loss < 2 for event in learned)
    assert learned[0].loss == pytest.approx(np.log(2), abs=0.3)


class Shared(nn.Module):
    """A norm that is used twice, and one that half of the batches pass over."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(4, classes)
        self.twice, self.now_and_then = nn.BatchNorm2d(4, momentum=0.003), nn.BatchNorm2d(4, momentum=0.003)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.twice(self.second(self.twice(self.first(images))))
        return self.head((self.now_and_then(maps) if torch.rand(()) > 0.5 else maps).mean((2, 3)))


def test_a_norm_that_two_batches_passed_over_begins_with_the_third() -> None:
    often, seldom = (nn.BatchNorm1d(1, momentum=0.001) for _ in range(2))
    Statistics(net := nn.ModuleList([often, seldom]), fresh_norms(net))
    for batch in range(3):
        often(torch.tensor([[3.0], [5.0]]))
        if batch == 2:
            seldom(torch.tensor([[3.0], [5.0]]))
    assert seldom.running_mean.item() == 4.0 and seldom.running_var.item() == 2.0


@pytest.mark.parametrize("network", [SLOW, {"model": Shared, "size": 32, "batch": 4}], ids=["table", "own"])
def test_resumed_in_the_first_epoch_they_are_as_if_it_had_not_been(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: dict[str, Any]
) -> None:
    settings = network | {"epochs": 1, "workers": 0}
    whole = pl.train(photos, **settings, runs=tmp_path / "whole")
    asked = iter([False, True, True])
    monkeypatch.setattr(Interruption, "asked", property(lambda _: next(asked), lambda *_: None), raising=False)
    list(train_events(configure(photos, **settings, runs=tmp_path / "cut")))
    monkeypatch.undo()
    (cut,) = (tmp_path / "cut").iterdir()
    resumed = pl.resume(cut)
    ours, theirs = load_file(whole.last), load_file(resumed.last)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_ones_own_norms_are_given_their_momentum_back(photos: Path, tmp_path: Path) -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, momentum=0.02)
            self.head = nn.Linear(4, 2)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.head(self.norm(self.conv(images)).mean((2, 3)))

    own = Own()
    events = list(train_events(configure(photos, model=own, size=32, epochs=1, batch=8, workers=0, runs=tmp_path)))
    started = next(event for event in events if event.event == "started")
    assert (started.fresh_norms, started.norms_keep) == (1, 0.98)
    assert own.norm.momentum == 0.02


def averages(values: np.ndarray, *, decay: float) -> torch.nn.Parameter:
    """The moving average of a weight that has each of `values` in turn."""
    moving = nn.Linear(1, 1, bias=False)
    average = AveragedModel(moving, multi_avg_fn=averaging(decay))
    for value in values.tolist():
        nn.init.constant_(moving.weight, value)
        average.update_parameters(moving)
    return average.module.weight


def test_the_moving_average_of_weights_is_not_of_the_first_ones_either() -> None:
    values = np.array([100.0] + [3.0] * 60)  # random weights, and what training made of them
    assert averages(values, decay=0.9999).item() == pytest.approx(3.0, abs=1e-3)  # of 0.9999 all the time: 99.4
    values = np.random.default_rng(0).normal(3.0, 1.0, 5_000)
    expected = values[0]
    for value in values[1:]:
        expected += 0.01 * (value - expected)
    assert averages(values, decay=0.99).item() == pytest.approx(expected, rel=1e-4)


def test_a_slow_average_of_a_short_training_has_learned(photos: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"model": "small", "size": 32, "epochs": 5, "batch": 8, "rate": 5e-3, "workers": 0}
    run = pl.train(photos, **settings, mode="scratch", learning={"ema": 0.9999}, runs=tmp_path)
    assert [event.loss for event in run.events() if event.event == "validated"][-1] < 0.3  # was 0.57; 0.69 is chance


@pytest.mark.slow
def test_tf_slims_scope_falls_below_its_first_epoch_on_244_photographs(tmp_path: Path) -> None:
    photos = shared("data/hymenoptera/train")
    run = pl.train(photos, recipe="inception-v3-slim", size=107, epochs=6, validation=0.2, workers=0, runs=tmp_path)
    losses = [event.loss for event in run.events() if event.event == "validated"]
    assert min(losses[1:]) < losses[0] and min(losses) < 100, losses  # uncorrected: 10^22 and more
