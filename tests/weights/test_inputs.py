"""How images must reach weights that others trained: by the record of their source, by our card, or by who is asked."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import pellucid as pl
from pellucid.cli.main import run
from pellucid.errors import UserError
from pellucid.images.loading import Images, Loader
from pellucid.images.loading import prepare as as_input
from pellucid.images.manifest import content_hash
from pellucid.images.preprocessing import Preprocessing, at_size, normalise, prepare
from pellucid.images.samples import Sample
from pellucid.networks.loading import names_elsewhere
from pellucid.networks.published import preprocessing_for
from pellucid.reports.sentences import preprocessing
from pellucid.runs.card import read_card
from pellucid.runs.model_file import load_model_file
from pellucid.runs.run_folder import open_run
from pellucid.training.configure import configure
from pellucid.training.train import train_events
from pellucid.uses.adopt import adopt
from pellucid.weights.sources.inputs import WANTED
from pellucid.weights.sources.table import NAMES
from tests.pictures import make_classes

KERAS: dict[str, Any] = {"conventions": "tensorflow", "width": 0.0625}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
pixels = st.lists(st.integers(0, 255), min_size=12, max_size=12).map(lambda v: np.array(v, np.uint8).reshape(2, 2, 3))


@cache
def tiny(name: str) -> Any:
    return pl.network(name, 2, width=0.0625)


def seen_as(layout: str, name: str) -> Preprocessing:
    return preprocessing_for(tiny(name), layout)[0]


def test_every_source_of_every_family_has_a_record() -> None:
    assert set(WANTED) == {(source, family) for family, sources in NAMES.items() for source in sources}


@settings(max_examples=20, deadline=None)
@given(pixels)
def test_keras_oldest_networks_see_blue_first_less_the_means(image: np.ndarray) -> None:
    """preprocess_input in mode caffe: x[..., ::-1] - [103.939, 116.779, 123.68]."""
    expected = image[..., ::-1].astype(np.float64) - [103.939, 116.779, 123.68]
    for name in ("resnet50", "vgg16"):
        found = normalise(image, seen_as("keras", name))
        assert np.allclose(found, np.moveaxis(expected, -1, 0), atol=1e-3)


@settings(max_examples=20, deadline=None)
@given(pixels)
def test_inceptions_of_tensorflow_see_minus_one_to_one_and_paddles_do_not(image: np.ndarray) -> None:
    halves = np.moveaxis(image / 127.5 - 1, -1, 0)
    for layout in ("keras", "tf-slim", "torchvision", "timm"):
        assert np.allclose(normalise(image, seen_as(layout, "inception_v3")), halves, atol=1e-5)
    paddles = np.moveaxis((image / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225], -1, 0)
    for name in ("inception_v3", "inception_v1_plain"):
        assert np.allclose(normalise(image, seen_as("paddle", name)), paddles, atol=1e-5)


def test_what_no_record_knows_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(WANTED, ("keras", "resnet"))
    net = tiny("resnet50")
    with pytest.raises(UserError, match="nobody says how images must reach resnet50 with weights of keras") as caught:
        preprocessing_for(net, "keras")
    assert "--input.mean" in caught.value.hint and "--input.channels" in caught.value.hint
    preprocessing_for(net, "keras", said=("mean", "std"))


@pytest.mark.parametrize("channels", ["RGB", "BGR"])
def test_training_and_prediction_see_the_same_channels(channels: Any, tmp_path: Path) -> None:
    wanted = Preprocessing(
        resize=None, interpolation=None, size=16, background=(0, 0, 0), channels=channels, mean=MEAN, std=STD
    )
    image = Image.fromarray(np.random.default_rng(2).integers(0, 256, (16, 16, 3), dtype=np.uint8))
    image.save(tmp_path / "a.png")
    file = Sample(tmp_path / "a.png", "ant", "train", sha256=content_hash(tmp_path / "a.png"))
    images = Images([file], ("ant", "bee"), wanted, None, 0)
    ((pixels, _, _),) = Loader(images, batch=1, workers=0)
    batch = as_input(pixels, "cpu", wanted)
    expected = torch.from_numpy(prepare(image, wanted))
    assert torch.equal(batch[0], expected) and torch.equal(images[0][0], expected)
    assert batch.is_contiguous(memory_format=torch.channels_last)


@pytest.fixture(scope="module")
def keras_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(2)
    net = pl.network("resnet50", 2, size=32, **KERAS)
    arrays = {}
    for ours, theirs in names_elsewhere(net, "keras").items():
        value = net.state_dict()[ours]
        if value.ndim:
            arrays[theirs] = (
                value.permute(2, 3, 1, 0) if value.ndim == 4 else value.T if value.ndim == 2 else value
            ).numpy()
    file = tmp_path_factory.mktemp("keras") / "resnet50.npz"
    np.savez(file, **arrays)
    return file


@pytest.fixture(scope="module")
def adopted(keras_file: Path) -> Path:
    out = keras_file.with_name("net.safetensors")
    return adopt("resnet50", out, weights=keras_file, classes=("ant", "bee"), size=32, **KERAS)


def test_a_model_of_kerass_weights_says_so_and_predicts_so(adopted: Path, tmp_path: Path) -> None:
    card = read_card(adopted)
    assert card.preprocessing.channels == "BGR" and card.preprocessing.std == (1 / 255,) * 3
    assert any("blue, green and red" in note for note in card.provenance["adopted"]["notes"])
    assert "The network sees blue first, then green, then red." in preprocessing(card)
    image = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png")
    resized = np.asarray(Image.fromarray(image).resize((37, 37), Image.Resampling.BILINEAR))[2:34, 2:34]
    theirs = resized[..., ::-1].astype(np.float32) - np.array([103.939, 116.779, 123.68], np.float32)
    with torch.inference_mode():
        logits = load_model_file(adopted).network(torch.from_numpy(np.moveaxis(theirs, -1, 0)[None].copy()))
    (said,) = pl.load(adopted).predict([tmp_path / "a.png"])
    assert dict(said.ranking)["bee"] == pytest.approx(float(logits.softmax(1)[0, 1]), abs=1e-4)


def test_training_on_kerass_weights_shows_them_what_they_know(
    keras_file: Path, adopted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = make_classes(tmp_path / "photos", images=8)
    chosen: dict[str, Any] = {"model": "resnet50", "mode": "probe", "size": 32, "workers": 0, "options": KERAS}

    def wanted(**more: Any) -> Preprocessing:
        events = train_events(configure(photos, **chosen, **more, runs=tmp_path / "runs"))
        begun = next(event for event in events if event.event == "started")
        chose = open_run(begun.run).provenance()["chosen"]
        return Preprocessing.from_fields(chose["preprocessing"], "provenance")

    for weights in (keras_file, adopted):  # the file, and the model that was made of it, which has a card
        found = wanted(weights=str(weights))
        assert found.channels == "BGR" and found.mean == pytest.approx((123.68 / 255, 116.779 / 255, 103.939 / 255))
    assert wanted(weights=str(adopted), input={"channels": "RGB", "mean": MEAN, "std": STD}).channels == "RGB"
    made = pl.train(photos, **chosen, weights=str(keras_file), runs=tmp_path / "runs")
    assert read_card(made.model).preprocessing.channels == "BGR"
    assert pl.load(made.path).classes == ("grainy", "smooth")  # which replays the proof
    flags = f"--model resnet50 --mode probe --size 32 --workers 0 --options.width 0.0625 --weights {adopted}"
    assert run(["train", str(photos), *flags.split(), "--runs", str(tmp_path / "torch")]) == 2
    assert "by the conventions of tensorflow" in " ".join(capsys.readouterr().err.split())


def test_a_smaller_size_sees_as_much_of_an_image() -> None:
    wanted = Preprocessing(resize=232, interpolation="bilinear", size=224, background=(0, 0, 0), mean=MEAN, std=STD)
    assert at_size(wanted, 112).resize == 116 and at_size(wanted, 224) == wanted
    squashed = wanted.model_copy(update={"resize": (384, 384), "size": 384})
    assert at_size(squashed, 96).resize == (96, 96)
