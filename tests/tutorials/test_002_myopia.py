"""The pathologic-myopia tutorial: its data, its training and the lines that come of it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

import pellucid as pl
from pellucid.cli.main import run as command
from pellucid.images.augmentation import augment
from pellucid.images.preprocessing import Preprocessing, normalise, prepare
from pellucid.runs.events import Validated
from pellucid.runs.run_folder import RunFolder
from pellucid.training.config import Config
from pellucid.training.configure import configure
from pellucid.training.objective import objective
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


def test_steps_are_those_of_torchs_sgd_with_decay_on_every_tensor(config: Config) -> None:
    torch.manual_seed(0)
    ours = pl.network("resnet50", 1, size=32, width=0.25).train()
    theirs = pl.network("resnet50", 1, size=32, width=0.25).train()
    theirs.load_state_dict(ours.state_dict())
    mine = make_optimizer(ours, config.learning)
    plain = torch.optim.SGD(theirs.parameters(), lr=0.001, momentum=0.9, weight_decay=0.001)
    images, labels = torch.randn(3, 3, 32, 32), torch.tensor([0, 1, 1])
    loss = objective(config.learning, ())
    for _ in range(2):
        for network, optimizer in ((ours, mine), (theirs, plain)):
            optimizer.zero_grad()
            said = network(images)
            if network is ours:
                loss(said, labels).backward()
            else:
                functional.binary_cross_entropy(torch.sigmoid(said), labels[:, None].float()).backward()
            optimizer.step()
    for (name, mine_now), theirs_now in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(mine_now, theirs_now, atol=1e-6), name
    assert any(parameter.ndim == 1 for parameter in ours.parameters())


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
    for number in range(24):
        letter = "PPHN"[number % 4]
        noise = random.integers(0, 256 if letter == "P" else 64, (24, 30, 3), dtype=np.uint8)
        part = "training" if number < 12 else "validation"
        name = f"{letter}{number:04d}.png" if part == "training" else f"V{number:04d}.png"
        Image.fromarray(noise).save(folder / part / name)
        if part == "validation":
            lines.append(f"{name},{int(letter == 'P')}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def trained(eyes: Path) -> RunFolder:
    """The first of two commands, small."""
    small = ["--size", "32", "--options.width", "0.25", "--epochs", "1", "--workers", "0", "--runs", str(eyes / "runs")]
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
    assert len(files) == 12 and all((file.label == "pm") == (Path(file.path).name[0] == "P") for file in files)
    card = pl.load(trained.path).card
    assert card.classes == ("nonpm", "pm") and card.one_logit  # the second is what the sigmoid says
    (validated,) = (event for event in trained.events() if isinstance(event, Validated))
    assert validated.accuracy.n == 4


def test_the_second_command_measures_on_photographs_whose_labels_are_in_a_table(
    eyes: Path, trained: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    said = ["--labels", str(eyes / "labels.csv"), "--path-column", "imgName", "--label-column", "Label"]
    assert command(["evaluate", str(trained.path), str(eyes / "validation"), *said, "--map", "1=pm,0=nonpm"]) == 0
    shown = capsys.readouterr().out
    assert "accuracy" in shown and "n = 12" in shown and "log loss" in shown
