"""Training on features computed once: the same as without, never believed without their key, told as it goes."""

import json
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

import pellucid as pl
from pellucid.cli.main import run as command
from pellucid.errors import UserError
from pellucid.interruption import Interruption
from pellucid.reports.transfer import transfer_words
from pellucid.runs.events import FeaturesReady, HeadSolved
from pellucid.runs.run_folder import RunFolder
from pellucid.training.config import Config, bytes_of
from pellucid.training.configure import configure
from pellucid.training.train import resume_events, train_events
from tests.pictures import make_classes

QUICK: dict[str, Any] = {"model": "small", "size": 32, "batch": 8, "machine": {"workers": 0, "precision": "float32"}}


STILL = {"crop": "centre", "flip": 0.0}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_classes(tmp_path_factory.mktemp("data") / "photos")


@pytest.fixture(scope="module")
def weights(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pl.train(photos, **QUICK, epochs=3, runs=tmp_path_factory.mktemp("runs")).model


def ready(run: RunFolder) -> FeaturesReady:
    *_, event = (event for event in run.events() if isinstance(event, FeaturesReady))
    return event


def resumed_after(config: Config, *, epoch: int) -> RunFolder:
    """A run that was left within the epoch after that one, and resumed to its end."""
    events = train_events(config)
    for event in events:
        if event.event == "validated" and event.epoch == epoch:
            break
    for event in events:
        if event.event == "progress":
            break
    events.close()
    (run,) = Path(config.runs).iterdir()
    list(resume_events(run))
    return RunFolder(run)


def test_timms_last_blocks_train_on_kept_features_as_on_images(photos: Path, tmp_path: Path) -> None:
    torch.manual_seed(3)
    file = tmp_path / "start.safetensors"
    net = pl.network("timm/mobilenetv2_050", 2, size=64).train()
    with torch.no_grad():  # norms must know their inputs: with a new network's, what is learned is mostly rounding
        for _ in range(20):
            net(torch.rand(16, 3, 64, 64))
    start = net.state_dict()
    save_file({name.removeprefix("model."): value.contiguous() for name, value in start.items()}, file)

    def trained(**settings: Any) -> dict[str, torch.Tensor]:
        given = QUICK | {"model": "timm/mobilenetv2_050", "size": 64, "epochs": 1, "weights": str(file)}
        given |= {"mode": "finetune", "train_from": "blocks.6", "augmentation": STILL, "learning": {"head": "random"}}
        given |= {
            "optimizer": "sgd"
        }  # Adam makes a whole step of rounding, where the next norm takes a shift out again
        return load_file(pl.train(photos, **given, **settings, runs=tmp_path / "runs").last)

    plain = trained(features={"cache": "off"})
    kept = trained(features={"views": 1, "precision": "float32"})
    rounding = 1e-6  # of values about one; the mean that bn2 sees is nothing else
    assert (plain["model.conv_head.weight"] - start["model.conv_head.weight"]).abs().max() > 10 * rounding
    for name in plain:
        if name != "model.classifier.weight":  # which starts elsewhere, at random
            moved, also = ((made[name] - start[name]).double() for made in (plain, kept))
            assert torch.allclose(also, moved, atol=1e-2 * float(moved.abs().max()) + rounding), name


@pytest.mark.parametrize("end_point", ["conv3", "conv5", "Logits"])
def test_training_on_kept_features_is_training_on_images(
    photos: Path, weights: Path, tmp_path: Path, end_point: str
) -> None:
    def trained(**settings: Any) -> dict[str, torch.Tensor]:
        run = pl.train(
            photos,
            **QUICK,
            mode="finetune",
            train_from=end_point,
            weights=str(weights),
            epochs=2,
            augmentation=STILL,
            learning={"head": "random"},
            runs=tmp_path / "runs",
            **settings,
        )
        return load_file(run.last)

    plain = trained(features={"cache": "off"})
    exact = trained(features={"views": 1, "precision": "float32"})
    halved = trained(features={"views": 1})
    for name, tensor in plain.items():
        scale = float(tensor.abs().max())
        assert torch.allclose(exact[name].double(), tensor.double(), atol=1e-4 * scale), name
        assert torch.allclose(halved[name].double(), tensor.double(), atol=2e-2 * scale), name


def test_features_are_computed_once_and_again_where_anything_differs(
    photos: Path, weights: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"

    def computed(data: Path = photos, **settings: Any) -> int:
        given = {"mode": "probe", "weights": str(weights), "runs": tmp_path / "runs"} | settings
        run = pl.train(data, **QUICK, **given, train="0.6", validation="rest", features={"folder": str(cache)})
        return ready(run).computed

    first = computed()
    assert first > 0 and computed() == 0
    assert computed(seed=1) == 0  # another split of the same images
    assert computed(input={"mean": (0.4, 0.5, 0.5)}) == first
    torch.manual_seed(9)
    other = {
        name: value + 0.01 * torch.randn_like(value) if value.ndim == 4 else value
        for name, value in load_file(weights).items()
    }
    torch.save(other, tmp_path / "other.pth")
    assert computed(weights=str(tmp_path / "other.pth")) == first
    changed = shutil.copytree(photos, tmp_path / "changed")
    one = next(changed.rglob("*.png"))
    next(path for path in changed.rglob("*.png") if path != one).write_bytes(one.read_bytes())
    assert computed(changed) == 0  # a twin of an image that is known


def test_a_stretch_that_was_tampered_with_is_computed_again(photos: Path, weights: Path, tmp_path: Path) -> None:
    def features() -> tuple[RunFolder, int]:
        settings = {"mode": "probe", "weights": str(weights), "features": {"folder": str(tmp_path / "cache")}}
        run = pl.train(photos, **QUICK, **settings, runs=tmp_path / "runs")
        return run, ready(run).computed

    run, all_of_them = features()
    expected = load_file(run.model)
    for harm in ("content", "names", "key", "cut"):
        note = max((tmp_path / "cache" / "features").rglob("*.json"), key=lambda path: path.stat().st_size)
        array = note.with_suffix(".values")
        told = json.loads(note.read_text())
        if harm == "content":
            content = bytearray(array.read_bytes())
            content[-1] ^= 1
            array.write_bytes(content)
        elif harm == "cut":
            array.write_bytes(array.read_bytes()[:-2])
        else:
            told |= {"images": told["images"][1:]} if harm == "names" else {"key": told["key"] | {"weights": "0" * 64}}
            note.write_text(json.dumps(told))
        again, computed = features()
        assert 0 < computed <= all_of_them, harm
        assert all(torch.equal(value, expected[name]) for name, value in load_file(again.model).items()), harm


def test_where_nothing_can_be_kept_training_goes_on_to_the_same_weights(
    photos: Path, weights: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    settings = {"mode": "probe", "weights": str(weights), "runs": tmp_path / "runs"}
    usual, without = (
        pl.train(photos, **QUICK, **settings, features={"folder": str(tmp_path / name)}) for name in ("cache", "file")
    )
    assert ready(without).refused == f"{tmp_path}/file cannot keep them: it is a file"
    kept, held = load_file(usual.model), load_file(without.model)
    assert all(torch.equal(held[name], tensor) for name, tensor in kept.items())


@pytest.mark.parametrize("one_logit", [False, True])
def test_a_probe_is_solved_in_one_go_and_told(photos: Path, weights: Path, tmp_path: Path, one_logit: bool) -> None:
    settings = {"mode": "probe", "weights": str(weights), "one_logit": one_logit, "runs": tmp_path}
    run = pl.train(photos, **QUICK, **settings)
    kinds = [event.event for event in run.events()]
    assert kinds == [
        "started",
        "pixels_ready",
        "features_ready",
        "epoch",
        "head_solved",
        "validated",
        "saved",
        "saved",
        "stopped",
    ]
    (solved,) = (event for event in run.events() if isinstance(event, HeadSolved))
    assert solved.strength in dict(solved.tried)
    assert pl.evaluate(run.path).accuracy.value == 1.0
    assert run.state() == "finished"


def test_views_are_kept_too_and_drawn_anew_each_epoch(photos: Path, weights: Path, tmp_path: Path) -> None:
    settings = {"mode": "finetune", "train_from": "conv5", "weights": str(weights), "epochs": 3, "views": 3}
    run = pl.train(photos, **QUICK, **settings, runs=tmp_path)
    told, config = ready(run), run.config()
    parts = [part for part in run.split().files if part.part in ("train", "validation")]
    train = sum(part.part == "train" for part in parts)
    assert told.views == 3 and config["features"]["views"] == 3
    assert told.computed <= 3 * train + (len(parts) - train)
    again = pl.train(photos, **QUICK, **settings, runs=tmp_path)
    assert ready(again).computed == 0
    first, second = load_file(run.last), load_file(again.last)
    assert all(torch.equal(first[name], second[name]) for name in first)  # the same views, the same weights


def test_views_are_added_between_epochs_also_after_an_interruption(photos: Path, weights: Path, tmp_path: Path) -> None:
    settings = {"mode": "finetune", "train_from": "conv5", "weights": str(weights), "epochs": 4, "views": 2}
    features = {"most_views": 4, "folder": str(tmp_path / "cache")}
    whole = pl.train(photos, **QUICK, **settings, features=features, runs=tmp_path / "whole")
    train = sum(file.part == "train" for file in whole.split().files)
    told = [event for event in whole.events() if isinstance(event, FeaturesReady)]
    assert [event.views for event in told if event.frozen_until != "PreLogits"] == [2, 1, 1]
    assert told[-1].computed <= train
    run = resumed_after(configure(photos, **QUICK, **settings, features=features, runs=tmp_path / "half"), epoch=2)
    expected, found = load_file(whole.last), load_file(run.last)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_frozen_means_frozen_with_kept_features(photos: Path, weights: Path, tmp_path: Path) -> None:
    before = load_file(weights)
    for chosen, moved in (
        ({"mode": "probe"}, {"Logits"}),
        ({"mode": "finetune", "train_from": "conv5", "epochs": 1}, {"conv5", "Logits"}),
    ):
        after = load_file(pl.train(photos, **QUICK, **chosen, weights=str(weights), runs=tmp_path).last)
        assert {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])} == moved


def test_an_interrupted_training_on_features_goes_on_to_the_same_weights(
    photos: Path, weights: Path, tmp_path: Path
) -> None:
    settings = {"mode": "finetune", "train_from": "conv5", "weights": str(weights), "epochs": 2, "views": 2}
    whole = pl.train(photos, **QUICK, **settings, runs=tmp_path / "whole")
    run = resumed_after(configure(photos, **QUICK, **settings, runs=tmp_path / "half"), epoch=1)
    expected, found = load_file(whole.last), load_file(run.last)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize(("text", "bytes_"), [("20GB", 20 * 10**9), ("1.5 mb", 1_500_000), ("800", 800), ("7B", 7)])
def test_sizes_are_read(text: str, bytes_: int) -> None:
    assert bytes_of(text) == bytes_


def test_what_cannot_be_solved_or_sized_is_told(photos: Path, weights: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"--cache-size: this is not a size: write a number and a unit, such as 20GB, not 'lots'"
    ):
        pl.train(photos, **QUICK, mode="probe", weights=str(weights), cache_size="lots", runs=tmp_path)
    with pytest.raises(UserError, match="solve is for mode probe"):
        configure(photos, **QUICK, mode="scratch", optimizer="solve")
    assert configure(photos, mode="probe", epochs=3).learning.optimizer == "adamw"
    assert configure(photos, mode="probe").learning.optimizer == "solve"


def test_fine_tuning_starts_from_the_solved_head_and_is_compared_with_it(
    photos: Path, weights: Path, tmp_path: Path
) -> None:
    settings = {"mode": "finetune", "weights": str(weights), "epochs": 1, "runs": tmp_path}
    run = pl.train(photos, **QUICK, **settings, rate=1e-8)
    kinds = [event.event for event in run.events()]
    assert kinds[:4] == ["started", "pixels_ready", "features_ready", "head_solved"] and kinds[-2:] == [
        "compared",
        "stopped",
    ]
    probe = pl.train(photos, **QUICK, mode="probe", weights=str(weights), runs=tmp_path)
    solved, started = load_file(probe.last), load_file(run.last)
    assert torch.allclose(solved["Logits.weight"], started["Logits.weight"], atol=1e-5)  # hardly a step was taken
    told = next(event for event in run.events() if event.event == "compared")
    assert told.gained == told.lost == 0 and told.chance == 1.0 and not told.worth
    assert "compared" not in [
        event.event for event in pl.train(photos, **QUICK, **settings, learning={"head": "random"}).events()
    ]


def test_the_model_that_was_kept_is_compared_and_no_other(photos: Path, weights: Path, tmp_path: Path) -> None:
    """A rate at which every epoch makes it worse: the probe stays best by its loss, whatever epochs are right about."""
    settings = {"mode": "finetune", "weights": str(weights), "epochs": 2, "learning": {"best_by": "loss"}}
    run = pl.train(photos, **QUICK, **settings, rate=0.5, optimizer="sgd", runs=tmp_path)
    (told,) = (event for event in run.events() if event.event == "compared")
    (ended,) = (event for event in run.events() if event.event == "stopped")
    assert (told.kept, told.epochs) == (ended.best_epoch, 2) and run.card().provenance["epoch"] == told.kept
    kept = [event for event in run.events() if event.event == "validated" and event.epoch == told.kept]
    assert told.tuned == kept[0].accuracy


def test_heads_at_every_end_point_tell_where_the_answer_is(photos: Path, weights: Path, tmp_path: Path) -> None:
    settings = {"mode": "probe", "weights": str(weights), "runs": tmp_path}
    run = pl.train(photos, **QUICK, **settings, probe_at="all")
    told = [event for event in run.events() if event.event == "probed_at"]
    net = pl.network("small", 2, size=32)
    assert [event.end_point for event in told] == list(net.end_point_names[:-2])
    with torch.no_grad():
        found = net.eval().end_points(torch.zeros(1, 3, 32, 32))
    assert [event.features for event in told] == [found[event.end_point].shape[1] for event in told]
    (last,) = (event for event in run.events() if event.event == "validated")
    assert told[-1].end_point == "PreLogits" and told[-1].accuracy == last.accuracy  # the probe itself
    some = pl.train(photos, **QUICK, **settings, probe_at="conv3, conv1")
    assert [event.end_point for event in some.events() if event.event == "probed_at"] == ["conv1", "conv3"]
    with pytest.raises(UserError, match="small has no end point 'conv9'"):
        pl.train(photos, **QUICK, **settings, probe_at="conv9")


def test_a_stop_while_features_are_computed_keeps_them_and_can_be_resumed(
    photos: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Interruption()
    asked.asked = True
    settings = {"mode": "probe", "weights": str(weights), "features": {"folder": str(tmp_path / "cache")}}
    with monkeypatch.context() as patch:
        patch.setattr("pellucid.training.frozen.watch", lambda: nullcontext(asked))
        run = pl.train(photos, **QUICK, **settings, runs=tmp_path / "runs")
    assert [event.event for event in run.events()] == [
        "started",
        "pixels_ready",
        "stopped",
    ] and run.state() == "interrupted"
    assert not run.model.exists()
    again = pl.resume(run.path)
    assert 0 < ready(again).computed < sum(file.part != "test" for file in run.split().files)  # some had been kept
    assert again.state() == "finished" and pl.evaluate(again.path).accuracy.value == 1.0


def test_the_report_and_the_terminal_say_what_features_gave(
    photos: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--model", "small", "--size", "32", "--batch", "8", "--workers", "0", "--epochs", "1"]
    # A rate that spoils what the probe had, whatever precision this machine computes with.
    flags += [
        "--rate",
        "1",
        "--mode",
        "finetune",
        "--weights",
        str(weights),
        "--runs",
        str(tmp_path / "runs"),
        "--probe-at",
        "conv5",
    ]
    assert command(["train", str(photos), *flags]) == 0
    told = " ".join(capsys.readouterr().err.split())
    (folder,) = (tmp_path / "runs").iterdir()
    page = " ".join((folder / "report.html").read_text().replace("\u00a0", " ").split())
    for sentence in (
        "features at PreLogits of",
        "best head computed in",
        "head fitted at conv5 (",
        "fine-tuning did not help, and the probe stays the best",
    ):
        assert sentence in told
        assert f"<li>{sentence[0].upper()}{sentence[1:]}" in page


def test_bfloat16_computes_features_and_steps_and_keeps_weights_in_full(
    photos: Path, weights: Path, tmp_path: Path
) -> None:
    half = QUICK | {"machine": {"workers": 0, "precision": "bfloat16"}}
    probe = pl.train(photos, **half, mode="probe", weights=str(weights), runs=tmp_path)
    assert ready(probe).precision == "bfloat16" and 0 < ready(probe).difference <= 0.1
    assert pl.evaluate(probe.path).accuracy.value == 1.0
    tuned = pl.train(photos, **half, mode="finetune", weights=str(weights), epochs=1, runs=tmp_path)
    assert all(tensor.dtype == torch.float32 for tensor in load_file(tuned.last).values() if tensor.is_floating_point())
    assert pl.evaluate(tuned.path).accuracy.value == 1.0


def test_an_end_point_that_is_not_there_is_refused_before_anything_is_written(
    photos: Path, weights: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="small has no end point 'conv9'"):
        pl.train(photos, **QUICK, mode="finetune", train_from="conv9", weights=str(weights), runs=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_head_that_cannot_be_solved_is_told(photos: Path, weights: Path, tmp_path: Path) -> None:
    for chosen in ({"augmentation": {"mixup": 0.2}}, {"options": {"auxiliary": True}}):
        with pytest.raises(UserError, match="solve works on cached features"):
            pl.train(photos, **QUICK, mode="probe", weights=str(weights), **chosen, runs=tmp_path)
    assert not list(tmp_path.iterdir())


def test_features_that_are_no_numbers_are_told_and_not_kept(photos: Path, weights: Path, tmp_path: Path) -> None:
    large = {name: value * 1e30 if value.ndim == 4 else value for name, value in load_file(weights).items()}
    torch.save(large, tmp_path / "large.pth")  # finite, and more than two layers can bear
    seen = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
    chosen = {"mode": "probe", "weights": str(tmp_path / "large.pth"), "features": {"folder": str(tmp_path / "cache")}}
    with pytest.raises(UserError, match=r"what small makes of .* images is no number"):
        pl.train(photos, **QUICK, **chosen, input=seen, runs=tmp_path / "runs")
    assert not list((tmp_path / "cache").rglob("features/**/*.values"))


def test_a_head_that_does_not_stand_alone_is_refused_before_anything_is_written(photos: Path, tmp_path: Path) -> None:
    """A distilled transformer has two heads, of which the mean is taken."""
    model = {"model": "timm/deit_tiny_distilled_patch16_224", "size": 32, "input": {"mean": (0.5, 0.5, 0.5)}}
    weights = tmp_path / "deit.safetensors"
    save_file(timm.create_model("deit_tiny_distilled_patch16_224", img_size=32).state_dict(), weights)
    with pytest.raises(UserError, match="cannot be computed at once") as refused:
        pl.train(photos, **model, mode="probe", weights=str(weights), runs=tmp_path / "runs")
    assert "--optimizer adamw" in refused.value.hint
    assert not (tmp_path / "runs").exists()


def test_what_is_frozen_and_cannot_be_kept_is_told(photos: Path, weights: Path, tmp_path: Path) -> None:
    settings = QUICK | {"mode": "finetune", "train_from": "conv5", "weights": str(weights), "epochs": 1}
    run = pl.train(photos, **settings, augmentation={"mixup": 0.2}, runs=tmp_path)
    (told,) = (event for event in run.events() if event.event == "frozen_recomputed")
    assert transfer_words(told) == (
        "the frozen part, before conv5, is computed anew in every epoch: images are mixed with each other"
    )


def test_rates_fall_towards_the_input_and_blocks_wait_their_turn(photos: Path, weights: Path, tmp_path: Path) -> None:
    def moved(**learning: Any) -> dict[str, float]:
        settings: dict[str, Any] = {"mode": "finetune", "weights": str(weights), "epochs": 1, "rate": 1.0}
        settings |= {"learning": {"weight_decay": 0.0, "warm_up": 0, **learning}, "optimizer": "sgd", "runs": tmp_path}
        after, before = load_file(pl.train(photos, **QUICK, **settings).last), load_file(weights)
        return {name: float((after[name].double() - before[name].double()).abs().max()) for name in before}

    alike, falling = moved(), moved(input_rate=1e-6)
    assert alike["conv1.conv.weight"] > 0
    assert falling["conv1.conv.weight"] < 1e-4 * alike["conv1.conv.weight"]
    assert falling["Logits.weight"] > 0.1 * alike["Logits.weight"]
    waiting = moved(unfreeze=1)
    assert waiting["conv1.conv.weight"] == waiting["conv1.norm.running_mean"] == 0 < waiting["Logits.weight"]
    kept = moved(norms="kept")
    assert kept["conv1.norm.running_mean"] == kept["conv5.norm.running_var"] == 0
    assert kept["conv1.conv.weight"] > 0 and alike["conv1.norm.running_mean"] > 0


def test_unfrozen_one_after_the_other_and_interrupted_is_the_same(photos: Path, weights: Path, tmp_path: Path) -> None:
    settings = {"mode": "finetune", "weights": str(weights), "epochs": 3, "learning": {"unfreeze": 2}}
    whole = pl.train(photos, **QUICK, **settings, runs=tmp_path / "whole")
    run = resumed_after(configure(photos, **QUICK, **settings, runs=tmp_path / "half"), epoch=1)
    expected, found = load_file(whole.last), load_file(run.last)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
