"""The pathologic-myopia tutorial: its data, its training and the lines that come of it."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

import pellucid as pl
from pellucid.cli.main import run as command
from pellucid.errors import UserError
from pellucid.images.augmentation import augment
from pellucid.images.preprocessing import Preprocessing, normalise, prepare
from pellucid.runs.events import Validated
from pellucid.runs.run_folder import RunFolder
from pellucid.training.config import Config
from pellucid.training.configure import configure
from pellucid.training.objective import objective
from pellucid.training.reading import read_data
from pellucid.training.resuming import other_data
from pellucid.training.schedule import rate_at
from pellucid.training.stepping import make_optimizer
from tests.tutorials.facts import differing

RECIPE = "myopia-resnet50"
FACTS = {
    "model": "resnet50",
    "mode": "scratch",
    "weights": "none",
    "options.head_initialisation": "uniform",
    "input.size": 224,
    "input.resize": (224, 224),
    "input.mean": (0.5, 0.5, 0.5),  # of 0 to 1: -1 to 1
    "input.std": (0.5, 0.5, 0.5),
    "augmentation.crop": "centre",
    "augmentation.decode": "full",
    **{f"augmentation.{name}": 0.0 for name in ["flip", "vertical_flip", "erasing", "blur", "jpeg", "mixup", "cutmix"]},
    "augmentation.policy": "none",
    "learning.epochs": 5,
    "learning.batch": 10,
    "learning.optimizer": "sgd",
    "learning.rate": 0.001,
    "learning.momentum": 0.9,
    "learning.nesterov": False,
    "learning.weight_decay": 0.001,
    "learning.decay_norms": True,
    "learning.label_smoothing": 0.0,
    "learning.class_weights": False,
    "learning.balanced_sampling": False,
    "learning.one_logit": True,
    "learning.clip": None,
    "learning.ema": None,
    "learning.accumulate": 1,
}


@pytest.fixture(scope="module")
def config() -> Config:
    return configure("photos", recipe=RECIPE)


def test_the_recipe_is_the_tutorials() -> None:
    assert not differing(RECIPE, FACTS)


def test_the_last_layer_begins_within_one_over_the_root_of_its_inputs(config: Config) -> None:
    torch.manual_seed(0)
    weight = pl.network("resnet50", 1, size=32, **config.options).Logits.weight.detach()
    assert weight.shape == (1, 2048) and 0.99 / 2048**0.5 < weight.abs().max() <= 1 / 2048**0.5
    assert float(weight.std()) == pytest.approx(1 / (3 * 2048) ** 0.5, rel=0.05)  # uniform


def test_the_rate_is_the_same_in_every_step(config: Config) -> None:
    assert {rate_at(config.learning, step=step, steps_per_epoch=40) for step in range(5 * 40)} == {0.001}


def test_steps_are_momentum_with_decay_on_every_tensor(config: Config) -> None:
    torch.manual_seed(0)
    net = pl.network("resnet50", 1, size=32, width=0.25).double()  # decay moves a weight by a millionth of it
    optimizer, before = make_optimizer(net, config.learning), [each.detach().clone() for each in net.parameters()]
    slopes = [[torch.randn_like(each) for each in before] for _ in range(3)]
    for step in slopes:
        for parameter, slope in zip(net.parameters(), step, strict=True):
            parameter.grad = slope.clone()
        optimizer.step()
    for number, ((name, parameter), weight) in enumerate(zip(net.named_parameters(), before, strict=True)):
        velocity = torch.zeros_like(weight)
        for step in slopes:  # Paddle's Momentum with L2Decay, by its documentation
            velocity = 0.9 * velocity + step[number] + 0.001 * weight
            weight = weight - 0.001 * velocity
        assert torch.allclose(parameter, weight, rtol=0, atol=1e-12), name
    assert any(each.ndim == 1 and each.any() for each in before)  # norms


def test_one_output_learns_by_the_cross_entropy_of_its_sigmoid(config: Config) -> None:
    logits, labels = torch.randn(10, 1), torch.tensor([0, 1] * 5)
    theirs = functional.binary_cross_entropy(torch.sigmoid(logits), labels[:, None].float())
    assert torch.allclose(objective(config.learning, ())(logits, labels), theirs)


def test_photographs_are_squeezed_and_scaled_and_nothing_is_varied(config: Config) -> None:
    random = np.random.default_rng(0)
    photo = Image.fromarray(random.integers(0, 256, (30, 50, 3), dtype=np.uint8)).resize((500, 300))
    wanted = Preprocessing(
        background=(255, 255, 255),
        **config.input.model_dump(include={"size", "resize", "interpolation", "mean", "std"}),
    )
    seen = prepare(photo, wanted)
    by_hand = np.asarray(photo.resize((224, 224), Image.Resampling.BILINEAR), dtype=np.float32) / 255 * 2 - 1
    assert np.allclose(seen, by_hand.transpose(2, 0, 1), atol=1e-5)
    for seed in range(3):  # what is trained on is the same
        varied = augment(np.asarray(photo), config.augmentation, wanted, seed=(seed,))
        assert np.array_equal(normalise(varied, wanted), seen)


@pytest.fixture(scope="module")
def eyes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A flat folder whose files' first letters say what they show, as H0001.jpg, and a table of others' labels."""
    folder, random = tmp_path_factory.mktemp("eyes"), np.random.default_rng(1)
    (folder / "training").mkdir()
    (folder / "validation").mkdir()
    lines = ["imgName,Label"]
    for number in range(32):
        letter = "PPHN"[number % 4]
        noise = random.integers(0, 256 if letter == "P" else 64, (24, 30, 3), dtype=np.uint8)
        part = "training" if number < 20 else "validation"
        name = f"{letter}{number:04d}.png" if part == "training" else f"V{number:04d}.png"
        Image.fromarray(noise).save(folder / part / name)
        if part == "validation":
            lines.append(f"{name},{int(letter == 'P')}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def trained(eyes: Path) -> RunFolder:
    """The first of two commands, small."""
    small = ["--size", "64", "--options.width", "0.25", "--epochs", "1", "--workers", "0", "--runs", str(eyes / "runs")]
    said = [
        "--label-from",
        "^(?P<label>[HNP])",
        "--map",
        "P=pm,H=nonpm,N=nonpm",
        "--train",
        "rest",
        "--validation",
        "4",
    ]
    assert command(["train", str(eyes / "training"), "--recipe", RECIPE, *said, *small]) == 0
    (made,) = (eyes / "runs").iterdir()
    return RunFolder(made)


def test_the_first_letter_says_the_class_and_p_is_the_positive_one(trained: RunFolder) -> None:
    files = trained.split().files
    assert len(files) == 20 and all((file.label == "pm") == (Path(file.path).name[0] == "P") for file in files)
    card = pl.load(trained.path).card
    assert card.classes == ("nonpm", "pm") and card.one_logit  # the second is what the sigmoid says
    (validated,) = (event for event in trained.events() if isinstance(event, Validated))
    assert validated.accuracy.n == 4


def test_one_command_validates_on_them_after_each_epoch(eyes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place, small = eyes / "beside", ["--size", "64", "--options.width", "0.25", "--epochs", "2", "--workers", "0"]
    said = ["--label-from", "^(?P<label>[HNP])", "--map", "P=pm,H=nonpm,N=nonpm"]
    others = {"data": eyes / "validation", "labels": eyes / "labels.csv", "map": "1=pm,0=nonpm"}
    others |= {"path-column": "imgName", "label-column": "Label"}
    theirs = [word for name, value in others.items() for word in (f"--validation-from.{name}", str(value))]
    told = ["--log-every", "1", "--runs", str(place)]
    assert command(["train", str(eyes / "training"), "--recipe", RECIPE, *said, *theirs, *small, *told]) == 0
    shown = capsys.readouterr()
    (made,) = place.iterdir()
    run = RunFolder(made)
    assert f"12 validation images are those of {eyes / 'validation'}" in shown.err
    assert re.search(
        r"epoch 1, batch 1 of 2: loss \d\.\d+", shown.err
    )  # theirs: epoch: 0, batch_id: 0, loss is: 0.6860
    judged = [event for event in run.events() if isinstance(event, Validated)]
    assert len(judged) == 2 and all(event.accuracy.n == 12 and event.loss > 0 for event in judged)
    assert re.search(r"validation loss [\d.]+, accuracy [\d.]+ % \[[\d., ]+\] n = 12", shown.err)
    parts = run.split()
    assert {Path(file.path).name[0] for file in parts.part("validation")} == {"V"} and len(parts.part("train")) == 20
    assert sum(file.label == "pm" for file in parts.part("validation")) == 6  # every second, by the table
    assert "n = 12" in shown.out  # what is measured in the end
    assert "has changed" not in " ".join(
        other_data(Config.model_validate(run.config()), parts, run.provenance()["data"])
    )


@pytest.mark.parametrize(
    ("others", "told"),
    [
        ({"data": "gone"}, "gone is not there"),
        ({"data": "training", "label_from": "^(?P<label>[HNP])"}, "has classes that .*training has not: H, N and P"),
        ({"data": "validation"}, r"--validation-from\.label-from '"),
        (
            {"data": "validation", "labels": "labels.csv", "map": "1"},
            r"validation-from\.map does not say what '1' means",
        ),
        ({"data": "validation", "labels": "labels.csv"}, "--validation-from.path-column"),
        ({"labels": "labels.csv"}, "say where, with --validation-from.data"),
    ],
)
def test_images_elsewhere_that_cannot_validate_are_refused(
    eyes: Path, others: dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(eyes)
    said = {"label_from": "^(?P<label>[HNP])", "map": "P=pm,H=nonpm,N=nonpm"}
    with pytest.raises(UserError, match=told):
        read_data(configure("training", **said, validation_from=others).data)


def test_one_part_has_images_from_one_place(eyes: Path) -> None:
    elsewhere, said = {"data": str(eyes / "validation")}, {"label_from": "^(?P<label>[HNP])"}
    for more in ({"validation": 0.5}, {"ignore_parts": True}, {"keep_split": "runs/one"}):
        with pytest.raises(UserError, match="validation_from names the validation images"):
            configure(eyes / "training", **said, **more, validation_from=elsewhere)


def test_the_second_command_measures_on_photographs_whose_labels_are_in_a_table(
    eyes: Path, trained: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    said = ["--labels", str(eyes / "labels.csv"), "--path-column", "imgName", "--label-column", "Label"]
    assert command(["evaluate", str(trained.path), str(eyes / "validation"), *said, "--map", "1=pm,0=nonpm"]) == 0
    shown = capsys.readouterr().out
    assert "accuracy" in shown and "n = 12" in shown and "log loss" in shown
