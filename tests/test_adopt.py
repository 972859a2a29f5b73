"""`pellucid adopt`: weights that others trained become a model that carries and proves its classes."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import pellucid as pl
from pellucid.cli.main import run
from pellucid.errors import UserError
from pellucid.networks.published import published_record
from pellucid.runs.bundle import load_bundle, save_bundle
from pellucid.runs.card import CARD, read_card
from pellucid.uses.adopt import adopt
from tests.references.seeded import HERE
from tests.shared import shared


def test_the_records_name_the_classes_in_the_order_of_imagenet() -> None:
    theirs = shared("data/imagenet-sample/imagenet_class_index.json")
    index = json.loads(theirs.read_text())
    timms, torchvisions = published_record("timm/mobilenetv2_100"), published_record("resnet18")
    for record in (timms, torchvisions):
        assert len(record.classes) == len(set(record.classes)) == 1000
    # The class index has one word or two for each; both records have it among theirs, but for a few spellings.
    for record in (timms, torchvisions):
        told = [index[str(at)][1].replace("_", " ").lower() in words.lower() for at, words in enumerate(record.classes)]
        assert sum(told) >= 990
    assert timms.preprocessing.interpolation == "bicubic"
    assert published_record("inception_v4").preprocessing.mean == (0.5, 0.5, 0.5)
    assert published_record("inception_v4").classes == timms.classes


def test_a_file_of_weights_becomes_a_model_that_names_what_it_sees(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = shared("data/weights/mobilenetv2_100_imagenet.timm.safetensors")
    out = tmp_path / "mobile.safetensors"
    assert run(["adopt", "timm/mobilenetv2_100", "--weights", str(weights), "--out", str(out)]) == 0
    capsys.readouterr()
    photo = shared("data/imagenet-sample/n01440764.jpg")  # a tench
    assert run(["predict", str(out), str(photo)]) == 0
    assert "tench, Tinca tinca" in capsys.readouterr().out
    assert run(["verify", str(out)]) == 0
    assert "and 992 more" in " ".join(capsys.readouterr().out.split())


def test_keras_weights_and_names_of_ones_own(tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("ant\nbee\n\n")
    net = pl.network("resnet50", 2, size=64, conventions="tensorflow")
    torch.save(net.state_dict(), tmp_path / "net.pth")
    path = adopt(
        "resnet50",
        tmp_path / "net.safetensors",
        weights=tmp_path / "net.pth",
        classes=names,
        size=64,
        conventions="tensorflow",
    )
    card = read_card(path)
    assert card.classes == ("ant", "bee") and card.options["conventions"] == "tensorflow"
    assert card.provenance["adopted"]["weights"] == "net.pth" and len(card.provenance["adopted"]["sha256"]) == 64
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        assert pl.load(path).classes == ("ant", "bee")
        assert net.eval()(images).shape == (2, 2)


def test_what_cannot_be_adopted_is_told(tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    with pytest.raises(UserError, match="nobody publishes weights for small"):
        adopt("small", out)
    with pytest.raises(UserError, match="nobody says what the logits of small mean"):
        adopt("small", out, weights=HERE / "small.h5")
    with pytest.raises(UserError, match="two logits have the same class name"):
        adopt("small", out, weights=HERE / "small.h5", classes=("ant", "ant"))
    with pytest.raises(UserError, match="is no name for a model"):
        adopt("small", tmp_path / "out.onnx")
    assert not list(tmp_path.iterdir())


def test_weights_of_keras_are_refused_in_a_network_by_torchs_conventions(tmp_path: Path) -> None:
    import numpy as np

    from tests.references.seeded import seeded_weights

    kept = np.load(HERE / "keras_resnet50.npz")
    rows = zip(kept["names"], kept["shapes"], strict=True)
    shapes = {str(name): tuple(int(side) for side in row if side) for name, row in rows}
    file = tmp_path / "keras.npz"
    np.savez(file, **seeded_weights(shapes, out_first=False, seed=1))
    names = tuple("abcdefg")
    with pytest.raises(UserError, match="built by torch's conventions"):
        adopt("resnet50", tmp_path / "net.safetensors", weights=file, classes=names, size=64)
    assert not (tmp_path / "net.safetensors").exists()
    path = adopt(
        "resnet50", tmp_path / "net.safetensors", weights=file, classes=names, size=64, conventions="tensorflow"
    )
    assert read_card(path).provenance["adopted"]["layout"] == "keras"


@pytest.fixture(scope="module")
def adopted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adopted")
    torch.manual_seed(1)
    torch.save(pl.network("small", 2, width=0.25, size=32).state_dict(), folder / "net.pth")
    return adopt(
        "small", folder / "net.safetensors", weights=folder / "net.pth", classes=("ant", "bee"), size=32, width=0.25
    )


@pytest.mark.parametrize("odd", [float("nan"), float("inf")])
def test_no_model_is_written_whose_weights_are_no_numbers(odd: float, adopted: Path, tmp_path: Path) -> None:
    bundle = load_bundle(adopted)
    with torch.no_grad():
        next(bundle.network.parameters())[0] = odd
    with pytest.raises(UserError, match="is not written") as caught:
        save_bundle(tmp_path / "odd.safetensors", bundle.network, bundle.card)
    assert "are NaN or infinite" in str(caught.value)
    said = bundle.card.probe.model_copy(update={"logits": {"ant": odd, "bee": 0.0}})
    with pytest.raises(UserError, match="is not written"):
        save_bundle(
            tmp_path / "odd.safetensors", load_bundle(adopted).network, bundle.card.model_copy(update={"probe": said})
        )
    assert not list(tmp_path.iterdir())


def test_a_model_that_an_earlier_version_wrote_of_nan_is_told(adopted: Path, tmp_path: Path) -> None:
    tensors, text = load_file(adopted), read_card(adopted).model_dump_json()
    card = json.loads(text)
    card["probe"]["logits"] = {"ant": None, "bee": None}  # as JSON was written for NaN
    save_file(tensors, tmp_path / "old.safetensors", metadata={CARD: json.dumps(card)})
    with pytest.raises(UserError, match="weights give no numbers"):
        pl.load(tmp_path / "old.safetensors")
    tensors["conv1.conv.weight"][0] = float("nan")
    save_file(tensors, tmp_path / "new.safetensors", metadata={CARD: text})
    with pytest.raises(UserError, match="holds weights that are no finite numbers"):
        pl.load(tmp_path / "new.safetensors")
