"""`pellucid adopt`: weights that others trained become a model that carries and proves its classes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import pellucid as pl
from pellucid.cli.main import run
from pellucid.errors import UserError
from pellucid.networks.loading import names_elsewhere
from pellucid.networks.published import published_record
from pellucid.runs.card import read_card, sealed
from pellucid.runs.containers import CARD
from pellucid.runs.model_file import load_model_file, save_model_file
from pellucid.uses.adopt import adopt
from pellucid.weights.sources.inputs import OTHERWISE, WANTED
from tests.references.seeded import HERE
from tests.shared import shared

TINY: dict[str, Any] = {"size": 32, "width": 0.25}


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


def test_the_record_of_each_source_is_what_the_libraries_say() -> None:
    """timm's own settings of every set of weights of these networks, and torchvision's transforms."""
    import timm

    otherwise = set()
    for family in ("resnet", "vgg", "inception_v3", "inception_v4", "inception_resnet_v2"):
        wanted = WANTED["timm", family]
        for name in [name for name in pl.architectures() if name.startswith(family) and name != "inception_v1_plain"]:
            for tag in timm.list_pretrained(f"{name}.*"):
                said = timm.get_pretrained_cfg(tag)
                otherwise |= {tag} if (said.mean, said.std) != (wanted.mean, wanted.std) else set()
    assert otherwise == set(OTHERWISE)
    for name, family in (("resnet18", "resnet"), ("vgg11_bn", "vgg"), ("inception_v3", "inception_v3")):
        record, wanted = published_record(name).preprocessing, WANTED["torchvision", family]
        assert (record.mean, record.std, record.channels) == (wanted.mean, wanted.std, wanted.channels)


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
    with pytest.raises(UserError, match="the names of the classes of small are not known"):
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
    torch.save(pl.network("small", 2, **TINY).state_dict(), folder / "net.pth")
    return adopt("small", folder / "net.safetensors", weights=folder / "net.pth", classes=("ant", "bee"), **TINY)


@pytest.mark.parametrize("odd", [float("nan"), float("inf")])
def test_no_model_is_written_whose_weights_are_no_numbers(odd: float, adopted: Path, tmp_path: Path) -> None:
    model_file = load_model_file(adopted)
    with torch.no_grad():
        next(model_file.network.parameters())[0] = odd
    with pytest.raises(UserError, match="is not written") as caught:
        save_model_file(tmp_path / "odd.safetensors", model_file.network, model_file.card)
    assert "are NaN or infinite" in str(caught.value)
    said = model_file.card.proof.model_copy(update={"logits": {"ant": odd, "bee": 0.0}})
    with pytest.raises(UserError, match="is not written"):
        save_model_file(
            tmp_path / "odd.safetensors",
            load_model_file(adopted).network,
            model_file.card.model_copy(update={"proof": said}),
        )
    assert not list(tmp_path.iterdir())


def test_a_model_that_an_earlier_version_wrote_of_nan_is_told(adopted: Path, tmp_path: Path) -> None:
    tensors, text = load_file(adopted), read_card(adopted).model_dump_json()
    card = json.loads(text)
    card["proof"]["logits"] = {"ant": None, "bee": None}  # as JSON was written for NaN
    save_file(tensors, tmp_path / "old.safetensors", metadata={CARD: json.dumps(card)})
    with pytest.raises(UserError, match="weights give no numbers"):
        pl.load(tmp_path / "old.safetensors")
    tensors["conv1.conv.weight"][0] = float("nan")
    save_file(tensors, tmp_path / "new.safetensors", metadata={CARD: text})
    with pytest.raises(UserError, match="holds weights that are no finite numbers"):
        pl.load(tmp_path / "new.safetensors")


def test_weights_of_torchvision_are_refused_in_a_network_by_tensorflows_conventions(tmp_path: Path) -> None:
    net = pl.network("resnet18", 2, size=32, width=0.0625)
    names = names_elsewhere(net, "torchvision")
    torch.save({names[ours]: value for ours, value in net.state_dict().items()}, tmp_path / "net.pth")
    chosen: dict[str, Any] = {"weights": tmp_path / "net.pth", "classes": ("a", "b"), "size": 32, "width": 0.0625}
    with pytest.raises(UserError, match="built by tensorflow's conventions") as caught:
        adopt("resnet18", tmp_path / "net.safetensors", conventions="tensorflow", **chosen)
    assert "--conventions torch" in caught.value.hint
    adopt("resnet18", tmp_path / "net.safetensors", **chosen)


def test_names_of_classes_are_read_as_they_are_meant(tmp_path: Path) -> None:
    def names(text: str) -> tuple[str, ...]:
        (tmp_path / "names.txt").write_bytes(text.encode())
        return read_card(
            adopt(
                "small",
                tmp_path / "net.safetensors",
                weights=tmp_path / "net.pth",
                classes=tmp_path / "names.txt",
                **TINY,
            )
        ).classes

    torch.save(pl.network("small", 2, **TINY).state_dict(), tmp_path / "net.pth")
    assert names("\ufeffcat\r\n d\u200bog \n\n") == ("cat", "dog")
    assert names("cafe\u0301\nth\u00e9") == ("caf\u00e9", "th\u00e9")
    told = {
        "cat\n\ndog\nhen\n": "no name in line 2",
        "cat\ndog\ncat\n": "two logits have the same class name",
        "caf\u00e9\ncafe\u0301\n": "two logits have the same class name",
        "cat\nd\0og\n": "control characters",
        '["cat", "dog"]': "is JSON",
        "cat\ndog\nhen\n": "is for 2 classes, and small is built for 3",
        "\ufeff\n": "at least two classes",
    }
    for text, words in told.items():
        with pytest.raises(UserError, match=words):
            names(text)


def test_a_model_with_one_logit_is_taken_as_it_is(adopted: Path, tmp_path: Path) -> None:
    card = sealed(read_card(adopted).model_copy(update={"one_logit": True}))
    save_file(load_file(adopted), tmp_path / "one.safetensors", metadata={CARD: card.model_dump_json()})
    with pytest.raises(UserError, match="with one logit") as caught:
        adopt("small", tmp_path / "net.safetensors", weights=tmp_path / "one.safetensors", **TINY)
    assert "pellucid verify" in caught.value.hint


def test_a_run_stands_for_its_model_and_names_its_classes(adopted: Path, tmp_path: Path) -> None:
    run_folder = tmp_path / "run"
    run_folder.mkdir()
    (run_folder / "model.safetensors").write_bytes(adopted.read_bytes())
    again = read_card(adopt("small", tmp_path / "again.safetensors", weights=run_folder, **TINY))
    assert again.classes == ("ant", "bee") and again.provenance["adopted"]["weights"] == "model.safetensors"
    assert f"the weights are {run_folder / 'model.safetensors'}" in again.provenance["adopted"]["notes"]


def test_what_is_said_of_the_input_is_in_the_card(adopted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names, weights = adopted.with_name("two.txt"), adopted.with_name("w.pth")
    names.write_text("ant\nbee\n")
    torch.save({"net": pl.network("small", 2).state_dict()}, weights)
    out = adopted.with_name("said.safetensors")
    asked = (
        f"--weights {weights} --classes {names} --out {out} --input.mean 0 0 0 --input.std 1 1 1 --input.channels BGR"
    )
    assert run(["adopt", "small", *asked.split()]) == 0
    wanted = read_card(out).preprocessing
    assert (wanted.mean, wanted.std, wanted.channels) == ((0, 0, 0), (1, 1, 1), "BGR")
    assert "the weights are those under net" in " ".join(capsys.readouterr().err.split())
    assert run(["adopt", "small", *asked.replace("0 0 0", "0 0 nan").split()]) == 2


def test_a_network_of_ones_own_is_named_by_adopting_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(
        "from torch import nn\n\n\ndef net(classes):\n"
        "    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, classes))\n"
    )
    save_file({"2.weight": torch.eye(3), "2.bias": torch.zeros(3)}, "weights.safetensors")
    Path("classes.txt").write_text("red\ngreen\nblue\n")
    shown = ["--input.size", "32", "--input.mean", "0", "0", "0", "--input.std", "1", "1", "1"]
    named = ["mine.py:net", "--weights", "weights.safetensors", "--classes", "classes.txt"]
    assert run(["adopt", *named, "--out", "mine.safetensors", *shown]) == 0
    blue = np.zeros((40, 40, 3), np.uint8)
    blue[..., 2] = 255
    assert pl.load("mine.safetensors", model="mine.py:net").predict([blue])[0].best == "blue"
