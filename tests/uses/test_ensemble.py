"""Several models as one file: what it says, what each member adds, and what cannot be joined."""

import json
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import pellucid as pl
from pellucid.cli.main import run as command
from pellucid.errors import UserError
from pellucid.measures.comparison import mcnemar
from pellucid.runs.card import read_card
from pellucid.runs.run_folder import RunFolder
from tests.pictures import make_classes

QUICK: dict[str, Any] = {"model": "small", "size": 32, "epochs": 1, "batch": 8, "workers": 0, "rate": 1e-3}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_classes(tmp_path_factory.mktemp("data") / "photos", images=40)


@pytest.fixture(scope="module")
def members(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> list[RunFolder]:
    return pl.train_samplings(photos, **QUICK, samplings=3, runs=tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def joined(members: list[RunFolder], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("models") / "three.safetensors"
    pl.ensemble(members, out)
    return out


def probabilities(model: Path, images: list[Any]) -> np.ndarray:
    classifier = pl.load(model)
    said = classifier.predict(images)
    return np.array([[dict(one.ranking)[name] for name in sorted(classifier.classes)] for one in said])


def test_samplings_differ_in_all_but_the_split(members: list[RunFolder]) -> None:
    splits = [{(file.sha256, file.part) for file in member.split().files} for member in members]
    assert splits[0] == splits[1] == splits[2]
    assert [member.config()["seed"] for member in members] == [0, 1, 2]
    assert len({member.model.read_bytes() for member in members}) == 3


def test_help_says_what_samplings_are_and_what_comes_of_them() -> None:
    shown = signature(pl.train_samplings)
    assert shown.parameters["samplings"].default == 7
    assert shown.parameters.keys() - {"samplings"} == signature(pl.train).parameters.keys()
    assert shown.return_annotation == list[RunFolder]
    summary, *_, last = str(pl.train_samplings.__doc__).strip().splitlines()
    assert "`samplings` times, each time with the next seed" in summary and last == "    How many times."
    assert "returns the run folders" in summary and "nothing is read or trained" in str(pl.configure.__doc__)


def test_what_training_returns_is_taken_wherever_a_run_folder_is(members: list[RunFolder]) -> None:
    run, path = members[0], str(members[0].path)
    assert pl.load(run).card == pl.load(path).card
    assert pl.evaluate(run).accuracy == pl.evaluate(path).accuracy
    assert pl.structure(run) == pl.structure(path)
    assert pl.write_report(path) == pl.write_report(run) == run.report_path
    assert pl.configure("photos/", weights=run).weights == path
    with pytest.raises(UserError, match=f"{path} has been trained to its end"):
        pl.resume(run)


def test_it_says_the_mean_of_their_calibrated_probabilities(
    joined: Path, members: list[RunFolder], photos: Path
) -> None:
    images = [*sorted((photos / "grainy").iterdir())[:5], *sorted((photos / "smooth").iterdir())[:5]]
    each = [probabilities(member.path, images) for member in members]
    np.testing.assert_allclose(probabilities(joined, images), np.mean(each, axis=0), atol=1e-6)


def test_what_each_member_adds_is_counted_on_images_that_none_learned_from(
    members: list[RunFolder], tmp_path: Path
) -> None:
    told = pl.ensemble([member.path for member in members], tmp_path / "model.safetensors")
    test = members[0].split().part("test")
    images = [file.path for file in test]
    truth = np.array([file.label == "smooth" for file in test])
    each = [probabilities(member.path, images)[:, 1] for member in members]

    def right(shares: np.ndarray) -> np.ndarray:
        return (shares >= 0.5) == truth

    def loss(shares: np.ndarray) -> float:
        return float(-np.log(np.where(truth, shares, 1 - shares)).mean())

    assert told.part == "test" and told.accuracy is not None and told.accuracy.n == len(test)
    together = np.mean(each, axis=0)
    assert told.accuracy.value == right(together).mean()
    for place, added in enumerate(told.members):
        without = np.mean([shares for number, shares in enumerate(each) if number != place], axis=0)
        gained = int((right(together) & ~right(without)).sum())
        lost = int((~right(together) & right(without)).sum())
        assert (added.gained, added.lost, added.chance) == (gained, lost, mcnemar(gained, lost))
        assert added.accuracy.value == right(each[place]).mean()
        assert added.saved.value == pytest.approx(loss(without) - loss(together), abs=1e-5)
    card = read_card(tmp_path / "model.safetensors")
    assert [member.name for member in card.members] == [member.path.name for member in members]
    assert card.results[0].n == len(test)


def test_it_is_a_model_like_any_other(joined: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["verify", str(joined)]) == 0
    told = capsys.readouterr().out
    assert "ensemble of 3 models" in told and "the mean of those of its 3 members" in " ".join(told.split())
    assert all(f"member {number}" in told for number in (1, 2, 3))
    assert command(["evaluate", str(joined), str(photos), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["n"] == 80
    assert command(["predict", str(joined), str(photos / "smooth" / "000.png"), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["best"] in ("grainy", "smooth")
    assert command(["structure", str(joined), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["totals"]["parameters"] == 3 * sum(
        each.numel() for each in pl.network("small", 2).parameters()
    )


def test_its_card_is_proved(joined: Path, tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    with safe_open(joined, framework="numpy") as file:
        metadata = file.metadata()
    card = json.loads(metadata["pellucid_card"])
    card["members"][1]["temperature"] *= 3
    save_file(load_file(joined), tmp_path / "edited.safetensors", metadata={"pellucid_card": json.dumps(card)})
    with pytest.raises(UserError, match="does not reproduce its own proof"):
        pl.load(tmp_path / "edited.safetensors")


def test_members_may_have_their_classes_in_another_order_and_one_logit(photos: Path, tmp_path: Path) -> None:
    usual = pl.train(photos, **QUICK, runs=tmp_path / "a")
    single = pl.train(photos, **QUICK, one_logit=True, seed=5, keep_split=usual.path, runs=tmp_path / "b")
    pl.ensemble([single.path, usual.path], tmp_path / "both.safetensors")
    image = [Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8))]
    each = [probabilities(run.path, image) for run in (usual, single)]
    np.testing.assert_allclose(probabilities(tmp_path / "both.safetensors", image), np.mean(each, axis=0), atol=1e-6)


def test_what_cannot_be_joined_is_refused(
    joined: Path, members: list[RunFolder], photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = pl.train(photos, **QUICK | {"size": 40}, runs=tmp_path / "other")
    strange = make_classes(tmp_path / "strange", names=("cat", "dog"))
    cats = pl.train(strange, **QUICK, runs=tmp_path / "cats")
    first = members[0].path
    for models, words in (
        ([first], "two members or more"),
        (first, "two members or more"),
        ([first, first], "is there twice"),
        (members[:1] * 2, f"{first} is there twice"),
        ([first, joined], "is an ensemble itself"),
        ([first, other.path], "prepare images differently"),
        ([first, cats.path], "have different classes"),
    ):
        with pytest.raises(UserError, match=words):
            pl.ensemble(models, tmp_path / "no.safetensors")
    assert not (tmp_path / "no.safetensors").exists()
    with pytest.raises(UserError, match="is an ensemble, and a network begins with the weights of one"):
        pl.train(photos, **QUICK, mode="finetune", weights=str(joined), runs=tmp_path / "begun")
    with pytest.raises(UserError, match="3 times the same model"):
        pl.train_samplings(photos, model="small", mode="probe", weights="none", samplings=3, runs=tmp_path / "same")
    assert command(["ensemble", str(first), "--out", str(tmp_path / "no.safetensors")]) == 2
    assert "two members or more" in capsys.readouterr().err


def test_where_members_learned_from_each_others_test_images_none_of_those_count(photos: Path, tmp_path: Path) -> None:
    runs = [pl.train(photos, **QUICK, seed=seed, runs=tmp_path / str(seed)) for seed in (0, 1)]
    told = pl.ensemble([run.path for run in runs], tmp_path / "model.safetensors")
    learned = {file.sha256 for run in runs for file in run.split().part("train")}
    both = [{file.sha256 for file in run.split().part("test")} for run in runs]
    unseen = (both[0] & both[1]) - learned
    assert told.accuracy is None or told.accuracy.n <= len({f.sha256 for f in runs[0].split().files} - learned)
    assert told.accuracy is None or told.part == ("test" if unseen else "validation")


def test_a_model_of_no_run_is_joined_and_not_measured(members: list[RunFolder], tmp_path: Path) -> None:
    (tmp_path / "moved.safetensors").write_bytes(members[1].model.read_bytes())
    told = pl.ensemble([members[0].path, tmp_path / "moved.safetensors"], tmp_path / "model.safetensors")
    assert told.accuracy is None and "nobody knows what it learned from" in told.why


def test_a_shell_trains_samplings_and_joins_them(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--model", "small", "--size", "32", "--epochs", "1", "--batch", "8", "--workers", "0", "--samplings", "2"]
    assert command(["train", str(photos), *flags, "--runs", str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert "sampling 2 of 2, seed 1" in said.err
    assert "log loss saved" in said.out
    (made,) = tmp_path.glob("*.safetensors")
    assert len(read_card(made).members) == 2


def test_an_ensemble_is_measured_in_other_engines_too(joined: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pellucid.uses.engine_bench.STARTS", 1)
    found = pl.bench_engines(joined, engine="torch,onnxruntime", batch=[2], steps=1, burn_in=0)
    assert found.left_out == ()
    there = {each.name: each for each in found.measured}
    agreed = there["onnxruntime, float32"].agreement
    assert agreed is not None and agreed.holds and agreed.images == 32
