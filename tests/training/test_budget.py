"""A budget of time: what fits is chosen, said, kept to; and more time never means a worse model than the probe."""

import subprocess
import sys
import time
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

import pellucid as pl
from pellucid.errors import UserError
from pellucid.networks.build import network
from pellucid.reports.transfer import transfer_words
from pellucid.runs.run_folder import RunFolder
from pellucid.training import planning
from pellucid.training.budget import SOLVED, LastBlocks, Plan, Speed, check_decoding, choose, planned
from pellucid.training.config import seconds_of
from pellucid.training.configure import configure
from pellucid.training.pace import Pace, process_began
from pellucid.training.planning import Budget, measuring, worth_measuring
from pellucid.training.train import train_events
from pellucid.training.transfer import last_stage
from tests.pictures import make_classes

QUICK: dict[str, Any] = {"model": "small", "size": 32, "batch": 8, "machine": {"workers": 0, "precision": "float32"}}
SPEED = Speed(step=0.05, look=0.01, decode=0.002, head=4000)
LAST = replace(SPEED, last=LastBlocks("conv5_x", before=0.008, step=0.005))


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else this machine does: what a plan waits for is simulated below."""
    monkeypatch.setattr(planning, "crowding", lambda: 1.0)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_classes(tmp_path_factory.mktemp("data") / "photos")


@pytest.fixture(scope="module")
def weights(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pl.train(photos, **QUICK, epochs=3, runs=tmp_path_factory.mktemp("runs")).model


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("5m", 300), ("1.5 H", 5400), ("45", 45)])
def test_times_are_read(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    "text", ["soon", "0m", "0s", "-3s", "5 minutes", "1e9h", "inf", "nan", "", " ", "s", f"{10**400}h"]
)
def test_what_is_no_time_is_told(text: str) -> None:
    with pytest.raises(UserError, match="budget: this is not a time: write 90s, 5m or 1h"):
        configure("photos", budget=text)


def chosen(left: float, speed: Speed = SPEED, **flags: Any) -> Plan:
    config = configure("photos", budget="10m", **flags)
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
        steps = pytest.approx(5.5 * epochs)
        assert plan == Plan("finetune", 1.0, epochs, pytest.approx(seconds), "conv5_x", views, steps)
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
    with pytest.raises(UserError, match="only where the best head can be computed"):
        chosen(100, mode="probe", optimizer="adamw", augmentation={"mixup": 0.2})
    with pytest.raises(UserError, match="is not enough"):
        chosen(50, augmentation={"mixup": 0.2})  # an epoch takes 52


@given(left=st.floats(13, 3000), more=st.floats(1, 3), speed=st.sampled_from([SPEED, LAST]))
def test_more_time_never_plans_less(left: float, more: float, speed: Speed) -> None:
    def much(plan: Plan) -> tuple[float, bool, bool, int, int]:
        return plan.share, plan.mode == "finetune", not plan.train_from, plan.views, plan.epochs

    one, other = chosen(left, speed), chosen(left * more, speed)
    assert one.seconds <= left and much(other) >= much(one)


class Crowded:
    """A machine on which everything takes `times` as long for the first `until` seconds, and a clock that tells."""

    def __init__(self, speed: Speed, *, times: float, until: float) -> None:
        self.speed, self.times, self.until, self.now = speed, times, until, 0.0

    def clock(self) -> float:
        return self.now

    def crowding(self) -> float:
        self.spend(0.1)
        return self.times if self.now < self.until else 1.0

    def spend(self, quiet: float) -> None:
        """What takes so many seconds where nobody else computes."""
        crowded = min(quiet, max(0.0, self.until - self.now) / self.times)
        self.now += crowded * self.times + quiet - crowded

    def measured(self, quiet: float) -> Speed:
        """Takes so long itself, and is held up as everything is."""
        began = self.now
        self.spend(quiet)
        slow = (self.now - began) / quiet
        last = self.speed.last and replace(
            self.speed.last, before=self.speed.last.before * slow, step=self.speed.last.step * slow
        )
        decode = self.speed.decode * slow
        return replace(self.speed, step=self.speed.step * slow, look=self.speed.look * slow, decode=decode, last=last)


def spent(machine: Crowded, budget: Budget, *, train: int, validation: int) -> tuple[Plan, float]:
    """What a budget comes to on that machine: the last plan, and the seconds that were left at the end of all."""
    counts, speed = {"train": train, "validation": validation, "side": 224}, machine.speed
    machine.spend(8.0)  # imports, reading, building
    first = budget.asked.model_copy(update={"mode": "probe"})

    def ahead(_: Speed) -> float:
        return 10.0 * machine.crowding()

    begun = planning.chosen(
        budget, lambda: machine.measured(1.5), lambda speed, left: choose(first, speed, left=left, **counts), ahead
    )
    at = speed.at(begun.plan.share)
    machine.spend((train + validation) * (at.look + (at.decode if begun.plan.share < 1 else 0)))
    machine.spend(train * speed.head * SOLVED)
    machine.speed = replace(at, last=speed.last if begun.plan.share == 1 else None)
    look = begun.speed.at(begun.plan.share).look

    def measured() -> Speed:
        if worth_measuring(budget.left() - ahead(begun.speed), images=train + validation, look=look):
            return machine.measured(measuring(speed.look))
        return replace(begun.speed, step=inf, last=None)

    found = planning.chosen(
        budget,
        measured,
        lambda speed, left: choose(budget.asked, speed, left=left, probed=True, **counts),
        ahead,
    )
    plan = found.plan
    pace = Pace(machine.now + found.left, validation=found.speed.look * validation, clock=machine.clock)
    step = machine.speed.step
    if plan.train_from and speed.last:
        until = machine.now + found.left - plan.training
        machine.spend(validation * speed.last.before)
        for view in range(plan.views):
            for _ in range(train // 50):
                if view and machine.now > until:
                    break
                machine.spend(50 * speed.last.before)
        step = speed.last.step
    epoch, epochs = 0, plan.epochs if plan.mode == "finetune" else 0
    while epoch < epochs:
        for _ in range(train // 50):
            began = machine.now
            machine.spend(50 * step)
            pace.step(machine.now - began)
            if pace.late:
                epochs = epoch
                break
        else:
            began = machine.now
            machine.spend(validation * machine.speed.look)
            pace.validation(machine.now - began)
            epoch += 1
            epochs = min(12, epoch + (pace.epochs_that_fit(batches=train // 50, validated=True) or 0))
    machine.spend(8.0)  # the last weights, the evaluation, the report
    return replace(plan, epochs=epoch), budget.left()


@settings(max_examples=200, deadline=None)
@given(
    seconds=st.integers(60, 1800),
    times=st.floats(1, 10),
    until=st.floats(0, 60),
    train=st.integers(2, 60).map(lambda number: 50 * number),
    slow=st.floats(0.2, 3),
    blocks=st.booleans(),
)
def test_a_busy_start_does_not_decide_what_a_budget_buys(
    seconds: int, times: float, until: float, train: int, slow: float, blocks: bool
) -> None:
    """It ends in time; and where much is left, there was nothing more to try, or it came to its end."""
    last = LastBlocks("conv5_x", before=0.008 * slow, step=0.005 * slow) if blocks else None
    speed = Speed(step=0.05 * slow, look=0.01 * slow, decode=0.002, head=4000, last=last)
    machine = Crowded(speed, times=times, until=until)
    budget = Budget(configure("photos", budget=f"{seconds}s"), 0.0, clock=machine.clock, crowding=machine.crowding)
    try:
        plan, left = spent(machine, budget, train=train, validation=train // 5)
    except UserError as refused:
        assert "is not enough" in str(refused)
        assume(False)
    assert left >= 0
    if left > seconds / 2 and machine.until < seconds / 10:
        spare = 0.8 * left  # of which the end keeps some, and measuring takes some
        more = choose(budget.asked, speed, left=spare, train=train, validation=train // 5, side=224, probed=True)
        assert plan.epochs == 12 if plan.mode == "finetune" else more.mode == "probe"
        assert plan.best or plan.views == 12 or more.mode == "probe"  # all that it can be, or as much as was planned


def test_a_moment_of_others_computing_is_waited_for() -> None:
    """Ten times as slow for 20 s: one measurement would have planned a probe for ten minutes, and left nine unused."""
    machine = Crowded(replace(SPEED, step=0.5), times=10, until=20)
    budget = Budget(configure("photos", budget="10m"), 0.0, clock=machine.clock, crowding=machine.crowding)
    plan, left = spent(machine, budget, train=200, validation=50)
    assert plan.mode == "finetune" and plan.epochs >= 4 and 0 <= left < 300


def test_with_time_left_something_is_tried() -> None:
    config = configure("photos", budget="10m")

    def tuned(left: float, speed: Speed = LAST) -> Plan:
        return choose(config, speed, left=left, train=1000, validation=200, side=224, probed=True)

    assert tuned(13) == Plan("probe", 1.0, 1, 0.0)
    assert (tuned(26).train_from, tuned(26).views, tuned(26).epochs) == ("conv5_x", 1, 2)  # 9.6 + 11 s
    assert (tuned(60, SPEED).train_from, tuned(60, SPEED).epochs) == (None, 1)  # 52 s, of which all blocks learn
    assert tuned(10_000).best and not tuned(100).best


def test_epochs_that_fit_are_counted() -> None:
    pace = Pace(deadline=100.0, clock=lambda: 0.0)
    assert pace.epochs_that_fit(batches=10, validated=True) is None  # nothing was seen yet
    pace.step(5.0)  # the first says nothing
    pace.step(1.0)
    pace.validation(2.0)
    assert pace.epochs_that_fit(batches=10, validated=True) == 7  # 100 / (1.05 * 12)
    assert not pace.late and Pace(deadline=-1.0, clock=lambda: 0.0).late
    assert Pace().epochs_that_fit(batches=1, validated=False) is None and not Pace().late


def test_a_budget_is_planned_for_and_leaves_the_best(
    photos: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pellucid.training.planning.FINISH", 1.0)
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
    *_, plan = (event for event in run.events() if event.event == "planned")
    assert (plan.mode, plan.train_from, plan.views) == ("finetune", "pool4", 12)
    assert (
        "12 epochs of fine-tuning from pool4 on, on 12 random versions of each image, at 32 pixels"
        in transfer_words(plan)
    )
    config = RunFolder(run.path).settings()
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
    from pellucid.training import planning as module

    def soon(record: Any, **changes: Any) -> Any:
        return replace(record, **(changes | ({"deadline": time.perf_counter()} if "deadline" in changes else {})))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "replace", soon)
        run = pl.train(photos, **QUICK, weights=str(weights), mode="finetune", budget="1m", runs=tmp_path)
    assert run.state() == "budget"
    assert [event.epoch for event in run.events() if event.event == "validated"] == [0]
    assert pl.evaluate(run.path).accuracy.value is not None
    with pytest.raises(UserError, match="has been trained to its end"):
        pl.resume(run.path)


def test_epochs_and_a_budget_contradict_each_other() -> None:
    with pytest.raises(UserError, match="--budget and --epochs both decide"):
        configure("photos", budget="1m", epochs=3)


def test_decoding_that_would_take_most_of_the_budget_is_told() -> None:
    config = configure("photos", budget="1m")
    check_decoding(config, done=64, total=1000, spent=1.0)  # too early to say
    check_decoding(config, done=640, total=1000, spent=10.0)  # 16 s in all
    with pytest.raises(UserError, match="decoding 100,000 images takes about 1000 s of it") as refused:
        check_decoding(config, done=640, total=100_000, spent=6.4)
    assert refused.value.hint.startswith("--budget 2000s")


def test_where_nothing_more_fits_the_probe_is_what_there_is(
    photos: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what was asked stays in config.toml: what the plans made of it is beside it."""

    def slow(*_: object, **_known: Any) -> Speed:
        return Speed(step=10.0, look=0.001, decode=0.001, head=100)

    monkeypatch.setattr("pellucid.training.planning.measure", slow)
    run = pl.train(photos, **QUICK, weights=str(weights), mode="finetune", budget="60s", runs=tmp_path)
    first, last = (event for event in run.events() if event.event == "planned")
    assert (first.mode, first.more, last.mode, last.again) == ("probe", True, "probe", True)
    assert "then more if it fits" in transfer_words(first)
    assert transfer_words(last).startswith("planned again: the probe is the result, since no epoch fits into the")
    assert [event.epoch for event in run.events() if event.event == "validated"] == [0]
    assert run.state() == "budget" and run.config()["mode"] == "finetune"
    assert run.model.is_file() and run.last.is_file()


def test_a_first_epoch_that_the_deadline_cuts_leaves_a_model(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From scratch there is no probe to fall back on; a budget was exceeded by the rest of the epoch."""
    monkeypatch.setattr("pellucid.training.pace.Pace.late", True)
    run = pl.train(photos, **QUICK, mode="scratch", budget="60s", runs=tmp_path)
    (epoch,) = (event for event in run.events() if event.event == "epoch")
    assert run.state() == "budget" and epoch.accuracy.n == QUICK["batch"]  # of one step
    assert [event.epoch for event in run.events() if event.event == "validated"] == [1]
    assert run.settings()["learning"]["epochs"] > 1 and pl.load(run.path).classes


def test_a_plan_for_fewer_pixels_decodes_for_them(
    photos: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reduced(*arguments: Any, **known: Any) -> Plan:
        return replace(choose(*arguments, **known), share=0.5)

    monkeypatch.setattr("pellucid.training.planning.choose", reduced)
    settings = QUICK | {"size": None, "weights": str(weights), "mode": "probe", "budget": "60s"}
    run = pl.train(photos, **settings, features={"folder": str(tmp_path / "cache")}, runs=tmp_path)
    (told,) = (event for event in run.events() if event.event == "pixels_ready")
    (plan,) = (event for event in run.events() if event.event == "planned")
    assert plan.size == run.settings()["input"]["size"] == run.card().preprocessing.size
    seen = told.images - len(run.split().part("test"))
    assert told.kept and told.decoded == seen and told.needed == seen * 3 * plan.size**2


def test_a_run_within_a_budget_goes_on_by_its_last_plan(photos: Path, weights: Path, tmp_path: Path) -> None:
    settings = QUICK | {"weights": str(weights), "mode": "finetune", "budget": "60s"}
    events = train_events(configure(photos, **settings, runs=tmp_path))
    for event in events:
        if event.event == "progress" and event.epoch == 2:
            break
    events.close()
    (run,) = (RunFolder(path) for path in tmp_path.iterdir())
    *_, plan = (event for event in run.events() if event.event == "planned")
    resumed = pl.resume(run.path)
    assert resumed.state() in ("finished", "budget")
    assert {event.epochs for event in resumed.events() if event.event == "started"} >= {plan.epochs}


def test_a_budget_counts_from_the_start_of_the_process() -> None:
    """Python and torch take seconds to begin with."""
    began, now = process_began(), time.perf_counter()
    assert began <= now
    script = "import time; time.sleep(0.5); from pellucid.training.pace import process_began as b; "
    script += "print(time.perf_counter() - b())"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert float(told) > 0.5
