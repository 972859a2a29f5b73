"""A budget of time: what fits is chosen, said, kept to; and more time never means a worse model than the probe."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

import pellucid as pl
from pellucid.errors import UserError
from pellucid.networks.build import network
from pellucid.reports.transfer import transfer_words
from pellucid.runs.run_folder import RunFolder
from pellucid.training.budget import LastBlocks, Plan, Speed, check_decoding, choose, planned
from pellucid.training.config import seconds_of
from pellucid.training.configure import configure
from pellucid.training.pace import Pace
from pellucid.training.transfer import last_stage
from tests.pictures import make_classes

QUICK: dict[str, Any] = {"model": "small", "size": 32, "batch": 8, "machine": {"workers": 0, "precision": "float32"}}
SPEED = Speed(step=0.05, look=0.01, decode=0.002, head=4000)
LAST = replace(SPEED, last=LastBlocks("conv5_x", before=0.008, step=0.005))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_classes(tmp_path_factory.mktemp("data") / "photos")


@pytest.fixture(scope="module")
def weights(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pl.train(photos, **QUICK, epochs=3, runs=tmp_path_factory.mktemp("runs")).model


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("5m", 300), ("1.5 H", 5400), ("45", 45)])
def test_times_are_read(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["soon", "0m", "-3s", "5 minutes"])
def test_what_is_no_time_is_told(text: str) -> None:
    with pytest.raises(UserError, match="budget: it is no time: write 90s, 5m or 1h"):
        configure("photos", budget=text)


def chosen(left: float, speed: Speed = SPEED, **settings: Any) -> Plan:
    config = configure("photos", budget="10m", **settings)
    return choose(config, speed, left=left, train=1000, validation=200, side=224)


def test_plans_by_hand() -> None:
    """A look at 1,200 images is 12 s and solving 2 s; an epoch is 50 s of steps and 2 s of looking."""
    assert chosen(16) == Plan("probe", 1.0, 1, pytest.approx(14))
    assert chosen(60).mode == "probe"
    tuned = chosen((14 + 52 * 3) / 0.9 + 1)
    assert (tuned.mode, tuned.epochs) == ("finetune", 3)
    assert chosen(13).share == 0.75  # a probe at a lower resolution
    assert chosen(400, mode="scratch").share < chosen(1000, mode="scratch").share == 1.0
    with pytest.raises(UserError, match="is not enough: 2 s are left of it") as refused:
        chosen(2)
    assert "--budget" in refused.value.hint
    lower = planned(configure("photos", budget="1m"), chosen(13), side=224)
    assert lower.mode == "probe" and lower.learning.optimizer == "solve" and lower.input.size == 160


def test_plans_for_the_last_blocks_by_hand() -> None:
    """Twelve epochs are 66 s, the validation features 1.6 s and each view 8 s; the probe 14 s."""
    assert chosen(60, LAST) == chosen(60)
    for views, epochs, seconds in ((2, 6, 64.6), (2, 12, 97.6), (3, 12, 105.6), (8, 12, 145.6), (12, 12, 177.6)):
        plan = chosen(seconds / 0.9 + 0.1, LAST)
        assert plan == Plan("finetune", 1.0, epochs, pytest.approx(seconds), "conv5_x", views)
    enough = chosen((14 + 52 * 6) / 0.9 + 0.1, LAST)
    assert (enough.train_from, enough.epochs, enough.views) == (None, 6, 1)
    config = planned(configure("photos", budget="3m"), chosen(120, LAST), side=224)
    assert (config.mode, config.train_from, config.features.views, config.learning.epochs) == (
        *("finetune", "conv5_x", 3, 12),
    )
    asked = chosen(1000, LAST, train_from="conv5_x", views=2)
    assert (asked.train_from, asked.views) == ("conv5_x", 2)


def test_what_a_probe_cannot_be_is_not_planned() -> None:
    below = chosen(60, train_from="conv5_x")
    config = planned(configure("photos", budget="1m", train_from="conv5_x"), below, side=224)
    assert (below.mode, config.mode, config.train_from) == ("probe", "probe", None)
    assert chosen(100, augmentation={"mixup": 0.2}).mode == "finetune"
    assert chosen(100, replace(SPEED, solvable=False)).mode == "finetune"  # two heads, of which the mean is taken
    with pytest.raises(UserError, match="only where the head can be solved"):
        chosen(100, mode="probe", optimizer="adamw", augmentation={"mixup": 0.2})
    with pytest.raises(UserError, match="is not enough"):
        chosen(50, augmentation={"mixup": 0.2})  # an epoch takes 52


@given(left=st.floats(13, 3000), more=st.floats(1, 3), speed=st.sampled_from([SPEED, LAST]))
def test_more_time_never_plans_less(left: float, more: float, speed: Speed) -> None:
    def much(plan: Plan) -> tuple[float, bool, bool, int, int]:
        return plan.share, plan.mode == "finetune", not plan.train_from, plan.views, plan.epochs

    one, other = chosen(left, speed), chosen(left * more, speed)
    assert one.seconds <= left and much(other) >= much(one)


def test_epochs_that_fit_are_counted() -> None:
    pace = Pace(deadline=time.perf_counter() + 100)
    assert pace.epochs_that_fit(batches=10, validated=True) is None  # nothing was seen yet
    pace.step(5.0)  # the first says nothing
    pace.step(1.0)
    pace.validation(2.0)
    assert pace.epochs_that_fit(batches=10, validated=True) == 7  # 100 / (1.05 * 12)
    assert not pace.late and Pace(deadline=time.perf_counter() - 1).late
    assert Pace().epochs_that_fit(batches=1, validated=False) is None and not Pace().late


def test_a_budget_is_planned_for_and_leaves_the_best(
    photos: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pellucid.training.train.FINISH", 1.0)
    run = pl.train(photos, **QUICK, weights=str(weights), mode="finetune", budget="30s", runs=tmp_path)
    kinds = [event.event for event in run.events()]
    assert kinds.index("planned") < kinds.index("features_ready")
    measured = [event for event in run.events() if event.event == "validated"]
    assert measured[0].epoch == 0  # the probe
    assert pl.evaluate(run.path, part="validation").accuracy.value == max(event.accuracy.value for event in measured)
    assert RunFolder(run.path).state() in ("finished", "budget")


def test_a_budget_may_train_the_last_blocks_on_kept_views(
    photos: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pellucid.training.budget.FEWEST_TUNED", 1000)  # as where all blocks would take too long
    run = pl.train(photos, **QUICK, weights=str(weights), mode="finetune", budget="40s", runs=tmp_path)
    (plan,) = (event for event in run.events() if event.event == "planned")
    assert (plan.mode, plan.train_from, plan.views) == ("finetune", "pool4", 12)
    assert "12 epochs of fine-tuning from pool4 on, 12 views of each image at 32 pixels" in transfer_words(plan)
    config = RunFolder(run.path).config()
    assert (config["train_from"], config["features"]["views"]) == ("pool4", 12)
    before, after = (load_file(path) for path in (weights, run.last))
    changed = {name.split(".")[0] for name, tensor in before.items() if not tensor.equal(after[name])}
    assert changed == {"conv5", "Logits"}  # conv1 to conv4 are frozen


@pytest.mark.parametrize(
    ("name", "size", "stage"),
    [
        ("resnet18", 64, "conv5_x"),
        ("inception_v3", 107, "Mixed_7a"),
        ("timm/mobilenetv2_050", 64, "blocks.6"),
        ("timm/vit_tiny_patch16_224", 224, "blocks.9"),
    ],
)
def test_the_last_stage_is_where_maps_are_as_small_as_the_last(name: str, size: int, stage: str) -> None:
    """By the papers' tables; in a transformer all are alike, and it is the last quarter of twelve blocks."""
    assert last_stage(network(name, 2), torch.zeros(1, 3, size, size)) == stage


def test_a_deadline_in_the_midst_of_an_epoch_ends_it(photos: Path, weights: Path, tmp_path: Path) -> None:
    from pellucid.training import train as module
    from pellucid.training.job import Job

    def soon(job: Job, **changes: Any) -> Job:
        return replace(job, **(changes | ({"deadline": time.perf_counter()} if "deadline" in changes else {})))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "replace", soon)
        run = pl.train(photos, **QUICK, weights=str(weights), mode="finetune", budget="1m", runs=tmp_path)
    assert run.state() == "budget"
    assert [event.epoch for event in run.events() if event.event == "validated"] == [0]
    assert pl.evaluate(run.path).accuracy.value is not None
    with pytest.raises(UserError, match="has been trained to its end"):
        pl.resume(run.path)


def test_epochs_and_a_budget_contradict_each_other() -> None:
    with pytest.raises(UserError, match="--budget chooses the epochs"):
        configure("photos", budget="1m", epochs=3)


def test_decoding_that_would_take_most_of_the_budget_is_told() -> None:
    config = configure("photos", budget="1m")
    check_decoding(config, done=64, total=1000, spent=1.0)  # too early to say
    check_decoding(config, done=640, total=1000, spent=10.0)  # 16 s in all
    with pytest.raises(UserError, match="decoding 100,000 images takes about 1000 s of it") as refused:
        check_decoding(config, done=640, total=100_000, spent=6.4)
    assert refused.value.hint.startswith("--budget 2000s")
