"""The fake-face tutorial's four trainings: each recipe beside the facts, and what it does on a few images."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torchvision.transforms import RandomResizedCrop, v2

import pellucid as pl
from pellucid.cli.main import run as command
from pellucid.images.augmentation import augment, random_part
from pellucid.images.preprocessing import Preprocessing, prepare
from pellucid.networks.loading import names_elsewhere
from pellucid.runs.events import FeaturesReady, HeadSolved, Noted, Saved, Validated
from pellucid.runs.run_folder import RunFolder
from pellucid.training.configure import configure
from pellucid.training.schedule import rate_at
from tests.tutorials.facts import differing

FACES = {
    "input.size": 224,
    "input.resize": 256,
    "input.interpolation": "bilinear",
    "input.mean": (0.485, 0.456, 0.406),
    "input.std": (0.229, 0.224, 0.225),
    "augmentation.crop": "random-resized",
    "augmentation.decode": "full",
    "augmentation.scale": (0.08, 1.0),
    "augmentation.ratio": (3 / 4, 4 / 3),
    "augmentation.flip": 0.5,
    **{f"augmentation.{name}": 0.0 for name in ["vertical_flip", "erasing", "blur", "jpeg", "mixup", "cutmix"]},
    "augmentation.policy": "none",
    "learning.optimizer": "sgd",
    "learning.rate": 0.001,
    "learning.momentum": 0.9,
    "learning.nesterov": False,
    "learning.weight_decay": 0.0,
    "learning.label_smoothing": 0.0,
    "learning.one_logit": False,
    "learning.class_weights": False,
    "learning.clip": None,
    "learning.ema": None,
    "learning.accumulate": 1,
}
SCRATCH = FACES | {"mode": "scratch", "weights": "none", "learning.epochs": 192, "learning.batch": 16}
TRANSFER = FACES | {
    "model": "resnet18",
    "weights": "imagenet",
    "learning.batch": 4,
    "learning.schedule": "step",
    "learning.step_epochs": 7,
    "learning.step_factor": 0.1,
    "learning.warm_up": 0.0,
    "learning.best_by": "accuracy",
}
FACTS: dict[str, dict[str, Any]] = {
    "fake-faces-cnn": SCRATCH | {"model": "small_tutorial"},
    "fake-faces-vgg11": SCRATCH | {"model": "vgg11"},
    "fake-faces-frozen": TRANSFER | {"mode": "probe", "learning.epochs": 25, "features.cache": "off"},
    "fake-faces-finetuned": TRANSFER
    | {"mode": "finetune", "learning.epochs": 15, "learning.head": "random", "train_from": None}
    | {"learning.input_rate": 1.0, "learning.unfreeze": 0, "learning.norms": "learned"},
}


@pytest.mark.parametrize("name", FACTS)
def test_the_recipe_is_the_tutorials(name: str) -> None:
    assert not differing(name, FACTS[name])


@pytest.mark.parametrize("name", FACTS)
def test_the_rate_is_constant_or_a_tenth_of_itself_every_seven_epochs(name: str) -> None:
    learning = configure("photos", recipe=name).learning
    falls = name in ("fake-faces-frozen", "fake-faces-finetuned")
    for epoch in range(learning.epochs):
        theirs = 0.001 * 0.1 ** (epoch // 7) if falls else 0.001  # StepLR(7, 0.1)
        assert all(
            rate_at(learning, step=epoch * 3 + step, steps_per_epoch=3) == pytest.approx(theirs) for step in range(3)
        )


def seen_by(name: str) -> Preprocessing:
    asked = configure("photos", recipe=name).input
    return Preprocessing(
        background=(255, 255, 255), **asked.model_dump(include={"size", "resize", "interpolation", "mean", "std"})
    )


def test_validation_images_are_torchvisions() -> None:
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 31, 3), dtype=np.uint8)).resize((310, 400))
    theirs = v2.Compose(
        [
            v2.Resize(256),
            v2.CenterCrop(224),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )(photo)
    assert np.allclose(prepare(photo, seen_by("fake-faces-cnn")), theirs.numpy(), atol=1e-5)


def test_training_images_are_random_parts_of_8_to_100_percent_half_of_them_mirrored() -> None:
    augmentation, random = configure("photos", recipe="fake-faces-finetuned").augmentation, np.random.default_rng(3)
    torch.manual_seed(0)
    boxes = [random_part((256, 256), augmentation.scale, augmentation.ratio, random) for _ in range(2000)]
    ours = np.array([(right - left) * (below - top) for left, top, right, below in boxes]) / 256**2
    drawn = [RandomResizedCrop.get_params(torch.zeros(3, 256, 256), (0.08, 1.0), (3 / 4, 4 / 3)) for _ in range(2000)]
    theirs = np.array([height * width for _, _, height, width in drawn]) / 256**2
    assert np.allclose(
        np.quantile(ours, [0, 0.25, 0.5, 0.75, 1]), np.quantile(theirs, [0, 0.25, 0.5, 0.75, 1]), atol=0.04
    )
    slope = np.tile(np.arange(256, dtype=np.uint8), (256, 1))
    photo = np.stack([slope] * 3, axis=2)  # brighter to the right
    varied = [augment(photo, augmentation, seen_by("fake-faces-cnn"), seed=(0, number)) for number in range(200)]
    mirrored = sum(int(pixels[0, 0, 0]) > int(pixels[0, -1, 0]) for pixels in varied)
    assert 75 < mirrored < 125  # of 200; beyond that by chance once in 3,000


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the tutorial's script leaves them, with a test part that it never fills; and a ResNet-18 up to layer3."""
    folder, random = tmp_path_factory.mktemp("faces"), np.random.default_rng(2)
    for part, images in (("train", 9), ("validation", 3), ("test", 0)):
        for kind, name in enumerate(("0_real", "1_fake")):
            (folder / "faces" / part / name).mkdir(parents=True)
            for number in range(images):
                noise = random.integers(0, 256 - 190 * kind, (48, 48, 3), dtype=np.uint8)
                Image.fromarray(noise).save(folder / "faces" / part / name / f"{number}.png")
    torch.manual_seed(5)
    net = pl.network("resnet18", 1000, size=32)
    names = names_elsewhere(net, "torchvision")
    kept = {names[ours]: tensor.clone() for ours, tensor in net.state_dict().items() if ours in names}
    save_file(
        {name: tensor for name, tensor in kept.items() if not name.startswith(("layer4", "fc"))},
        folder / "r18.st.safetensors",
    )
    return folder


def run_by(recipe: str, faces: Path, *flags: str) -> RunFolder:
    place = faces / recipe
    assert (
        command(["train", str(faces / "faces"), "--recipe", recipe, "--workers", "0", "--runs", str(place), *flags])
        == 0
    )
    (made,) = place.iterdir()
    return RunFolder(made)


def with_weights(faces: Path) -> list[str]:
    return ["--weights", str(faces / "r18.st.safetensors"), "--until", "layer3", "--size", "32"]


@pytest.fixture(scope="module")
def frozen(faces: Path) -> RunFolder:
    return run_by("fake-faces-frozen", faces, "--epochs", "2", *with_weights(faces))


@pytest.fixture(scope="module")
def finetuned(faces: Path) -> RunFolder:
    return run_by("fake-faces-finetuned", faces, "--epochs", "2", *with_weights(faces))


def test_the_empty_test_part_is_left_out_and_told(frozen: RunFolder) -> None:
    notes = [event.words for event in frozen.events() if isinstance(event, Noted)]
    assert not frozen.split().part("test")
    assert any("test holds no images" in words for words in (*notes, *frozen.split().notes))


def test_frozen_leaves_all_but_the_last_layer_as_the_file_has_it(faces: Path, frozen: RunFolder) -> None:
    file, last = load_file(faces / "r18.st.safetensors"), load_file(frozen.path / "last.safetensors")
    names = names_elsewhere(pl.network("resnet18", 2, size=32, last="conv4_x"), "torchvision")
    held = {ours: theirs for ours, theirs in names.items() if theirs in file}
    assert len(held) == len(file) and all(torch.equal(last[ours], file[theirs]) for ours, theirs in held.items())
    events = list(frozen.events())
    assert not any(isinstance(event, FeaturesReady | HeadSolved) for event in events)  # new crops, and steps
    assert frozen.config()["until"] == "conv4_x"  # which is what the file calls layer3


def test_finetuned_begins_at_a_random_head_and_moves_everything(faces: Path, finetuned: RunFolder) -> None:
    assert not any(isinstance(event, HeadSolved) for event in finetuned.events())
    file, last = load_file(faces / "r18.st.safetensors"), load_file(finetuned.path / "last.safetensors")
    names = names_elsewhere(pl.network("resnet18", 2, size=32), "torchvision")
    moved = [not torch.equal(last[ours], file[theirs]) for ours, theirs in names.items() if theirs in file]
    assert sum(moved) > 0.9 * len(file)


@pytest.mark.parametrize("which", ["frozen", "finetuned"])
def test_the_best_validation_weights_are_the_model(which: str, request: pytest.FixtureRequest) -> None:
    run = request.getfixturevalue(which)
    judged = [event for event in run.events() if isinstance(event, Validated)]
    best = max(judged, key=lambda event: (event.value, -event.loss))
    assert len(judged) == 2 and pl.load(run.path).card.provenance["epoch"] == best.epoch
    assert [event.epoch for event in run.events() if isinstance(event, Saved) and event.why == "best"][-1] == best.epoch


def test_the_tutorials_own_network_is_trained_and_its_classes_are_told(
    faces: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_by("fake-faces-cnn", faces, "--epochs", "1", "--size", "96")
    shown = capsys.readouterr().out
    assert re.search(r"^accuracy [\d.]+ % \[[\d.]+, [\d.]+\] n = 6$", shown, flags=re.MULTILINE)
    for name in ("0_real", "1_fake"):  # the share of each class that was right, of how many
        assert re.search(rf"^{name} +3 +[\d.]+ \[\d+, \d+\]", shown, flags=re.MULTILINE)
    assert run.config()["learning"]["batch"] == 16 and (run.path / "last.safetensors").is_file()  # weights saved


def within(layer: torch.nn.Conv2d | torch.nn.Linear) -> bool:
    """Whether weights and biases are uniform within 1 / sqrt(inputs), as torch's documentation says of new layers."""
    bound = layer.weight[0].numel() ** -0.5
    return bool(0.9 * bound < layer.weight.abs().max() <= bound and 0 < layer.bias.abs().max() <= bound)


def test_networks_and_new_last_layers_begin_as_torch_makes_them() -> None:
    torch.manual_seed(0)
    cnn = pl.network("small_tutorial", 2, **configure("photos", recipe="fake-faces-cnn").options)
    layers = [module for module in cnn.modules() if isinstance(module, torch.nn.Conv2d | torch.nn.Linear)]
    assert len(layers) == 8 and all(map(within, layers))
    for name in ("fake-faces-frozen", "fake-faces-finetuned"):
        assert within(pl.network("resnet18", 2, size=32, **configure("photos", recipe=name).options).Logits)
