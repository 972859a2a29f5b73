"""Training end to end on a few real files: what is learned, kept, frozen, resumed and proved."""

import json
import os
import signal
import subprocess
import sys
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import pellucid as pl
from pellucid.cli.main import run as command
from pellucid.errors import UserError
from pellucid.interruption import Interruption
from pellucid.runs.containers import CARD
from pellucid.runs.model_file import load_model_file
from pellucid.runs.run_folder import RunFolder, open_run
from pellucid.training.configure import configure
from pellucid.training.recipes import recipes
from pellucid.training.train import resume_events, train_events
from pellucid.training.trial import check_network
from tests.golden import check
from tests.pictures import make_classes

QUICK: dict[str, Any] = {"model": "small", "size": 32, "epochs": 2, "batch": 8, "workers": 0}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_classes(tmp_path_factory.mktemp("data") / "photos")


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return pl.train(photos, **QUICK | {"epochs": 6}, runs=tmp_path_factory.mktemp("runs"))


def tensors(path: Path) -> dict[str, torch.Tensor]:
    return load_file(path)


def same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_run_leaves_everything_that_was_promised(run: RunFolder) -> None:
    kept = {path.name for path in run.path.iterdir()}
    promised = "config.toml provenance.json split.json events.jsonl checkpoint.json checkpoint.safetensors"
    assert {*promised.split(), "model.safetensors", "last.safetensors"} <= kept
    assert run.state() == "finished"
    assert run.config()["learning"]["epochs"] == 6
    assert [event.event for event in run.events()][:5] == [
        "started",
        "pixels_ready",
        "batch_losses",
        "epoch",
        "validated",
    ]


def test_easy_classes_are_learned_and_predicted(run: RunFolder, photos: Path) -> None:
    classifier = pl.load(run.path)
    assert classifier.classes == ("grainy", "smooth")
    assert pl.evaluate(run.path).accuracy.value == 1.0
    assert classifier.predict([photos / "smooth" / "000.png"])[0].best == "smooth"


def test_the_same_configuration_gives_the_same_weights(photos: Path, tmp_path: Path) -> None:
    first, second = (pl.train(photos, **QUICK, runs=tmp_path / name) for name in "ab")
    assert same(tensors(first.last), tensors(second.last))


@pytest.mark.parametrize("stop_after", [1, 3, 5])
@pytest.mark.parametrize(
    "learning",
    [{"optimizer": "sgd", "accumulate": 2}, {"ema": 0.9, "label_smoothing": 0.1}],
    ids=["sgd, accumulated", "adamw, averaged"],
)
def test_interrupted_and_resumed_is_bit_for_bit_uninterrupted(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_after: int, learning: dict[str, Any]
) -> None:
    settings = QUICK | {"learning": learning, "augmentation": {"mixup": 0.2}}
    whole = pl.train(photos, **settings, runs=tmp_path / "whole")
    steps = iter(range(1000))
    # As Ctrl-C does it: the request is noticed after a step.
    monkeypatch.setattr(
        Interruption, "asked", property(lambda _: next(steps) >= stop_after, lambda *_: None), raising=False
    )
    cut = list(train_events(configure(photos, **settings, runs=tmp_path / "cut")))
    monkeypatch.undo()
    assert cut[-1].event == "stopped" and cut[-1].why == "interrupted"
    path = next((tmp_path / "cut").iterdir())
    assert pl.load(path).classes == ("grainy", "smooth")  # usable as it is
    resumed = pl.resume(path)
    assert same(tensors(whole.last), tensors(resumed.last))
    assert same(tensors(whole.checkpoint), tensors(resumed.checkpoint))


def test_a_scheduler_that_tells_every_process_to_stop_leaves_a_run_to_go_on_with(photos: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pellucid", "train", str(photos), "--model", "small", "--mode", "scratch"]
    flags = ["--epochs", "5000", "--size", "32", "--workers", "1", "--runs", str(tmp_path / "runs")]
    with subprocess.Popen(
        [*command, *flags], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, start_new_session=True
    ) as process:
        assert process.stderr is not None
        heard = []
        for line in process.stderr:
            heard.append(line)
            if line.startswith("epoch 2 "):
                os.killpg(process.pid, signal.SIGTERM)
    run = next((tmp_path / "runs").iterdir())
    assert process.returncode == 2, heard
    assert open_run(run).state() == "interrupted" and f"`pellucid resume {run}` goes on" in heard[-1]
    assert pl.load(run).classes == ("grainy", "smooth")


def test_frozen_layers_and_their_statistics_stay_as_they_were(photos: Path, run: RunFolder, tmp_path: Path) -> None:
    before = tensors(run.model)
    probe = tensors(pl.train(photos, **QUICK, mode="probe", weights=str(run.model), runs=tmp_path / "probe").last)
    assert {name for name in before if not torch.equal(before[name], probe[name])} <= {"Logits.weight", "Logits.bias"}
    tuned = pl.train(photos, **QUICK, mode="finetune", train_from="conv4", weights=str(run.model), runs=tmp_path / "t")
    after = tensors(tuned.last)
    moved = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"conv4", "conv5", "Logits"}


VIT = "timm/vit_tiny_patch16_224"  # its class token and places belong to no block


@pytest.mark.parametrize(
    ("settings", "trained"),
    [
        ({"mode": "probe"}, ("model.head.",)),
        ({"mode": "finetune", "train_from": "blocks.11"}, ("model.blocks.11.", "model.norm.", "model.head.")),
    ],
    ids=["probe", "from a block on"],
)
def test_a_transformers_own_tokens_are_frozen_with_what_comes_before(
    photos: Path, tmp_path: Path, settings: dict[str, Any], trained: tuple[str, ...]
) -> None:
    torch.manual_seed(3)
    start, weights = pl.network(VIT, 2, size=32), tmp_path / "start.safetensors"
    save_file({name.removeprefix("model."): value for name, value in start.state_dict().items()}, weights)
    run = pl.train(
        photos,
        **QUICK | {"model": VIT, "epochs": 1} | settings,
        weights=str(weights),
        runs=tmp_path / "runs",
    )
    after = tensors(run.last)
    moved = {name for name, value in start.state_dict().items() if not torch.equal(value, after[name])}
    assert moved == {name for name in after if name.startswith(trained)}


def test_one_logit_learns_the_second_class_as_positive(photos: Path, tmp_path: Path) -> None:
    run = pl.train(photos, **QUICK | {"epochs": 6}, one_logit=True, runs=tmp_path)
    model_file = load_model_file(run.model)
    assert model_file.card.one_logit and list(model_file.card.proof.logits) == ["smooth"]
    assert pl.evaluate(run.path).accuracy.value == 1.0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("mean", [0.48, 0.456, 0.406]),
        ("std", [0.229, 0.224, 0.23]),
        ("resize", 38),
        ("interpolation", "bicubic"),
        ("size", 31),
        ("background", [0, 0, 0]),
        ("classes", ["smooth", "grainy"]),
        ("temperature", 3.0),
    ],
)
def test_an_edited_card_is_refused(run: RunFolder, tmp_path: Path, field: str, value: Any) -> None:
    with safe_open(run.model, framework="numpy") as file:
        card = json.loads(file.metadata()[CARD])
    (card if field in card else card["preprocessing"])[field] = value
    edited = tmp_path / "edited.safetensors"
    save_file(tensors(run.model), edited, metadata={CARD: json.dumps(card)})
    with pytest.raises(UserError, match="does not reproduce its own proof"):
        pl.load(edited)


def test_edited_weights_are_refused(run: RunFolder, tmp_path: Path) -> None:
    weights = tensors(run.model)
    weights["conv1.conv.weight"] *= 1.01
    with safe_open(run.model, framework="numpy") as file:
        save_file(weights, tmp_path / "edited.safetensors", metadata=file.metadata())
    with pytest.raises(UserError, match="does not reproduce its own proof"):
        pl.load(tmp_path / "edited.safetensors")


def test_bad_wishes_are_told_plainly(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos.parent)

    def told(name: str, **settings: Any) -> None:
        with pytest.raises(UserError) as caught:
            pl.train("photos", **{"model": "small", "workers": 0, "runs": tmp_path} | settings)
        check(f"training/{name}", str(caught.value))

    told("unknown-network", model="resnet19")
    told("unknown-end-point", mode="finetune", weights="none", train_from="conv9")
    told("train-from-without-finetune", mode="scratch", train_from="conv3")
    told("unknown-recipe", recipe="finetun")
    told("no-weights-file", mode="probe", weights="missing.safetensors")
    told("rate-below-zero", rate=-1.0)
    told("unknown-field", learning={"momentun": 0.5})
    told("unknown-option", options={"widht": 2.0})
    told("too-many-images", train="500")
    told("map-without-meaning", label_from="(?P<label>.)", map="P")
    told("no-published-weights", mode="finetune", weights="imagenet")


def test_unreadable_images_stop_the_training_or_are_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    photos = make_classes(Path("photos"))
    (photos / "smooth" / "empty.png").write_bytes(b"")
    (photos / "grainy" / "cut.png").write_bytes((photos / "grainy" / "000.png").read_bytes()[:900])
    with pytest.raises(UserError) as caught:
        pl.train("photos", **QUICK, runs="runs")
    check("training/unreadable-images", str(caught.value))
    assert not Path("runs").exists()  # refused before anything was written
    settings = QUICK | {"epochs": 1, "skip_unreadable": True, "runs": "runs"}
    events = list(train_events(configure("photos", **settings)))
    told = [event.words for event in events if event.event == "noted"]
    assert any("1 x truncated or damaged" in words and "1 x empty" in words for words in told)  # in the terminal too
    (run,) = (RunFolder(Path(event.run)) for event in events if event.event == "started")
    assert [Path(lost["path"]).name for lost in run.provenance()["left_out"]] == ["cut.png", "empty.png"]


def test_a_part_that_nothing_is_left_of_is_said_to_be_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for part in ("train", "val", "test"):
        make_classes(Path("photos") / part)
    for image in Path("photos/test").rglob("*.png"):
        image.write_bytes(b"")
    run = pl.train("photos", **QUICK | {"epochs": 1}, skip_unreadable=True, runs="runs")
    said = "no image of the test part can be read: it is empty"
    assert said in run.split().notes
    evaluation = pl.evaluate(run.path)
    assert evaluation.part == "validation"
    assert evaluation.notes == (f"{said}, and the validation part was measured",)


def test_resume_refuses_what_is_finished_or_changed(run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has been trained to its end"):
        list(resume_events(run.path))
    with pytest.raises(UserError, match="is not there"):
        pl.resume(tmp_path / "nothing")


def test_a_run_never_begins_anew_where_it_had_a_checkpoint_nor_goes_on_without_its_best(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = iter(range(1000))
    monkeypatch.setattr(Interruption, "asked", property(lambda _: next(steps) >= 12, lambda *_: None), raising=False)
    list(train_events(configure(photos, **QUICK | {"epochs": 9}, runs=tmp_path)))
    monkeypatch.undo()
    (run,) = (RunFolder(path) for path in tmp_path.iterdir())
    best = run.model.read_bytes()
    for broken in (b"", best[:-1], None):
        run.model.unlink()
        if broken is not None:
            run.model.write_bytes(broken)
        with pytest.raises(UserError, match=r"model\.safetensors held the best weights so far, those of epoch \d"):
            pl.resume(run.path)
    run.model.write_bytes(best)
    run.checkpoint.rename(tmp_path / "aside")
    with pytest.raises(UserError, match=r"checkpoint\.safetensors is not there") as caught:
        pl.resume(run.path)
    assert f"{run.model} can be used as it is" in caught.value.hint and run.model.read_bytes() == best
    (tmp_path / "aside").rename(run.checkpoint)
    assert pl.resume(run.path).state() == "finished"


def test_auxiliary_heads_learn_as_much_as_their_loss_counts(photos: Path, tmp_path: Path) -> None:
    options = {"auxiliary": True, "width": 0.1}
    settings = {"model": "inception_v1", "size": 40, "epochs": 1, "batch": 8, "workers": 0, "optimizer": "sgd"}

    def moved(weight: float) -> float:
        learning = {"auxiliary_weight": weight, "weight_decay": 0.0, "momentum": 0.0}
        asked = configure(
            photos, **settings, mode="scratch", options=options, learning=learning, runs=tmp_path / f"{weight}"
        )
        events = list(train_events(asked))
        started = next(event for event in events if event.event == "started")
        assert (started.heads, started.head_weight) == (2, weight)
        run = open_run(next((tmp_path / f"{weight}").iterdir()))
        return float(tensors(run.last)["AuxLogits_1.fc2.bias"].abs().sum())

    assert moved(0.0) == 0 < moved(0.3)


def diverging(photos: Path, place: Path, **settings: Any) -> tuple[UserError, RunFolder]:
    given = QUICK | {"batch": 64, "optimizer": "sgd", "seed": 1} | settings
    with pytest.raises(UserError) as caught:
        pl.train(photos, **given, runs=place)
    (run,) = place.iterdir()
    return caught.value, open_run(run)


def test_what_is_no_number_is_never_the_best_nor_saved(photos: Path, tmp_path: Path) -> None:
    for name, settings in {
        "by accuracy": {},
        "by loss": {"learning": {"best_by": "loss"}},
        "clipped": {"learning": {"clip": 1e30}},
        "averaged": {"learning": {"ema": 0.5}},
        "unseen": {"train": "1.0"},
    }.items():
        told, run = diverging(photos, tmp_path / name, rate=1e30, **settings)
        assert "not numbers" in told.problem or "the loss became" in told.problem, name
        assert "there is no model yet" in told.hint and not run.model.exists() and not run.last.exists()
        assert [event.event for event in run.events()][-1] == "failed"


@pytest.mark.parametrize("where", ["job_for", "limited", "fit"])
@pytest.mark.parametrize("error", [RuntimeError("no more"), SystemExit("no more")], ids=["error", "exit"])
def test_a_run_that_an_error_ended_is_listed_as_failed_wherever_that_was(
    where: str,
    error: BaseException,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(f"pellucid.training.train.{where}", fails)
    asked = {"budget": "5m"} if where == "limited" else {}
    settings = {name: value for name, value in QUICK.items() if name != "epochs" or not asked} | asked
    with pytest.raises(type(error), match="no more"):
        pl.train(photos, **settings, runs=tmp_path)
    assert command(["runs", str(tmp_path)]) == 0
    told = capsys.readouterr()
    assert "failed" in told.out and "failed: no more" in told.err and "unfinished" not in told.out


def test_a_model_from_before_the_numbers_grew_is_kept_and_can_be_opened(photos: Path, tmp_path: Path) -> None:
    grows = {"schedule": "exponential", "decay_epochs": 1, "decay_factor": 1e30, "warm_up": 0}
    for place, best_by in (("a", "accuracy"), ("b", "loss")):
        told, run = diverging(photos, tmp_path / place, rate=0.01, epochs=3, learning={**grows, "best_by": best_by})
        assert "has the weights of epoch 1" in told.hint
        assert pl.load(run.path).card.provenance["epoch"] == 1
        assert run.card().results[0].value is not None


def test_a_schedule_without_bounds_is_told(photos: Path, tmp_path: Path) -> None:
    grows = {"schedule": "step", "step_epochs": 1, "step_factor": 1e200, "warm_up": 0}
    told, _ = diverging(photos, tmp_path / "runs", rate=1e-250, epochs=4, learning=grows)
    assert told.problem.startswith("the learning rate became inf in epoch 3")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"probe_at": "conv9"}, "small has no end point 'conv9'"),
        ({"probe_at": " , "}, "--probe-at names no end point"),
        ({"mode": "finetune", "train_from": "conv9"}, "small has no end point 'conv9'"),
        ({"model": "resnet18", "batch": 1, "options": {"width": 0.1}}, "cannot learn from one image at a time at 32"),
        ({"model": "timm/resnet18", "batch": 1}, "cannot learn from one image at a time at 32 pixels"),
        ({"model": "timm/convnext_atto", "size": 16}, "cannot be trained on images of 16 pixels"),
        ({"train": "1.0", "learning": {"patience": 2}}, "learning.patience would be decided by validation images"),
        ({"train": "1.0", "learning": {"best_by": "loss"}}, "learning.best_by would be decided by validation images"),
        ({"train": "1.0", "probe_at": "all"}, "probe_at would be decided by validation images"),
    ],
    ids=str,
)
def test_what_cannot_be_trained_is_refused_before_a_run_is_made(
    photos: Path, tmp_path: Path, settings: dict[str, Any], told: str
) -> None:
    given = QUICK | {"mode": "finetune" if "train_from" in settings else "scratch"} | settings
    events = train_events(configure(photos, **given, weights="none", runs=tmp_path / "runs"))
    with pytest.raises(UserError, match=told):
        for event in events:
            assert event.event in ("preparing", "noted")
            assert event.event != "preparing" or event.phase != "decoding the images" or "train" in settings
    assert not (tmp_path / "runs").exists()


def test_one_image_at_a_time_is_enough_where_no_norm_minds(photos: Path) -> None:
    check_network(pl.network("small", 2, size=32), configure(photos, **QUICK | {"batch": 1}))
    frozen = configure(photos, **QUICK | {"model": "resnet18", "batch": 1}, mode="probe", weights="none")
    check_network(pl.network("resnet18", 2, size=32, width=0.1), frozen)  # its norms keep still


def test_weights_that_are_no_numbers_are_told_as_such(photos: Path) -> None:
    network = pl.network("small", 2, size=32)
    with torch.no_grad():
        network.get_parameter("conv1.conv.weight")[0] = float("nan")
    with pytest.raises(UserError, match=r"small with weights from mine.pth has values that are no numbers\n  conv1"):
        check_network(network, configure(photos, **QUICK, mode="probe", weights="mine.pth"))


def test_training_says_that_it_returns_a_run_folder() -> None:
    assert signature(pl.train).return_annotation is RunFolder and pl.train.__annotations__["return"] is RunFolder


@pytest.mark.parametrize("name", [name for name in recipes() if name != "demo"])
def test_every_recipe_is_a_configuration(photos: Path, name: str) -> None:
    assert configure(photos, recipe=name).learning.epochs > 1
