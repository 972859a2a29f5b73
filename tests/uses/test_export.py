"""Exporting: what is written says the same as the model that it was made of, and what does not is not written."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pellucid as pl
from pellucid.cli.main import run as command
from pellucid.errors import UserError
from tests.models import photographs, saved

onnx = pytest.importorskip("onnx")
pytest.importorskip("torch")

ENGINES = ["onnxruntime", "openvino"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photographs(tmp_path_factory.mktemp("data") / "photos")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("model") / "model.safetensors", temperature=1.7, sure_from=0.4)


def said(model: Path, photos: Path, **how: Any) -> np.ndarray:
    """Probabilities of every photograph, by the order of the classes."""
    opened = pl.load(model, **how)
    predicted = opened.predict(sorted(photos.iterdir()))
    return np.array([[dict(each.ranking)[name] for name in opened.classes] for each in predicted])


@pytest.mark.parametrize(
    "kind",
    [
        {},
        {"one_logit": True, "threshold": 0.5, "temperature": 0.6},
        {"crops": 3, "region": 38, "size": 32},
        {"channels": "BGR", "resize": (35, 50), "interpolation": "bicubic"},
    ],
    ids=["plain", "one logit", "several crops", "BGR"],
)
@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_says_what_torch_says(tmp_path: Path, photos: Path, engine: str, kind: dict[str, Any]) -> None:
    pytest.importorskip(engine)
    model = saved(tmp_path / "model.safetensors", **kind)
    made = pl.export(model, tmp_path / "model.onnx", check=photos)
    assert made.agreement is not None and made.agreement.images == 6
    assert np.abs(said(tmp_path / "model.onnx", photos, engine=engine) - said(model, photos)).max() < 1e-4


@pytest.mark.parametrize(
    "kind",
    [
        {"temperature": 1.7},
        {"one_logit": True, "threshold": 0.5, "temperature": 0.6},
        {"crops": 3, "region": 38, "size": 32},
        {"channels": "BGR", "resize": (35, 50), "interpolation": "bicubic"},
        {"resize": None, "interpolation": None},
    ],
    ids=["plain", "one logit", "several crops", "BGR", "native"],
)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_file_with_its_preprocessing_inside_says_what_torch_says(
    tmp_path: Path, photos: Path, engine: str, kind: dict[str, Any]
) -> None:
    pytest.importorskip(engine)
    model = saved(tmp_path / "model.safetensors", **kind)
    made = pl.export(model, tmp_path / "model.onnx", inside=True, check=photos)
    assert made.inside and made.agreement is not None and made.agreement.images == 6
    assert np.abs(said(tmp_path / "model.onnx", photos, engine=engine) - said(model, photos)).max() < 1e-3


def test_a_file_with_its_preprocessing_inside_needs_a_decoder_and_nothing_else(tmp_path: Path, photos: Path) -> None:
    import onnxruntime
    from PIL import Image

    model = saved(tmp_path / "model.safetensors")
    pl.export(model, tmp_path / "model.onnx", inside=True)
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    photo = next(path for path in sorted(photos.iterdir()) if Image.open(path).mode == "RGB")
    (given,) = session.run(None, {"image": np.asarray(Image.open(photo))[None]})
    (expected,) = pl.load(model).predict([photo])
    classes = session.get_modelmeta().custom_metadata_map["classes"].split("\n")
    assert dict(expected.ranking) == pytest.approx(dict(zip(classes, given[0].tolist(), strict=True)), abs=1e-3)


def test_openvino_has_files_of_its_own(tmp_path: Path, model: Path, photos: Path) -> None:
    pytest.importorskip("openvino")
    made = pl.export(model, tmp_path / "model.xml")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.bin", "model.xml"]
    assert made.bytes == sum(path.stat().st_size for path in tmp_path.iterdir())
    opened = pl.load(tmp_path / "model.xml")
    assert opened.engine.words == "openvino, float32, cpu"
    assert np.abs(said(tmp_path / "model.xml", photos) - said(model, photos)).max() < 1e-4


@pytest.mark.parametrize("number", [1, 2, 7])
def test_any_number_of_images_is_computed_at_once(tmp_path: Path, model: Path, number: int) -> None:
    import onnxruntime

    pl.export(model, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    (given,) = session.run(None, {"pixels": np.zeros((number, 32, 32, 3), np.uint8)})
    assert given.shape == (number, 3)


def test_the_file_says_what_it_is_to_whoever_has_only_onnx(tmp_path: Path, model: Path) -> None:
    pl.export(model, tmp_path / "model.onnx")
    file = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(file, full_check=True)
    metadata = {entry.key: entry.value for entry in file.metadata_props}
    assert metadata["classes"].splitlines() == ["class 0", "class 1", "class 2"]
    assert json.loads(metadata["pellucid_card"])["temperature"] == 1.7
    for words in ("uint8 (N, 32, 32, 3)", "red first (RGB, not BGR), 0 to 255", "softmax(logits / 1.7)"):
        assert words in file.doc_string


def test_the_card_travels_and_says_where_it_comes_from(tmp_path: Path, model: Path) -> None:
    pl.export(model, tmp_path / "model.onnx")
    card = pl.load(tmp_path / "model.onnx").card
    before = pl.load(model).card
    assert card.preprocessing == before.preprocessing and card.proof.logits == before.proof.logits
    assert (card.sure_from, card.temperature, card.classes) == (0.4, 1.7, before.classes)
    assert card.provenance["exported"]["of"] == "model.safetensors"


# A wrong exporter


def swapped(graph: Any) -> None:
    """Two classes change places."""
    helper, output = onnx.helper, graph.graph.output[0].name
    rename(graph, output, "inner")
    order = onnx.numpy_helper.from_array(np.array([1, 0, 2]), "order")
    graph.graph.initializer.append(order)
    graph.graph.node.append(helper.make_node("Gather", ["inner", "order"], [output], axis=1))


def without_normalisation(graph: Any) -> None:
    """The mean is no longer taken off, the deviation not divided by."""
    for node in graph.graph.node:
        if node.op_type in ("Sub", "Div"):
            identity = onnx.helper.make_node("Identity", [node.input[0]], [node.output[0]])
            node.CopyFrom(identity)


def frozen_batch(graph: Any) -> None:
    """As if traced with one image: two can no longer be computed."""
    dimension = graph.graph.input[0].type.tensor_type.shape.dim[0]
    dimension.Clear()
    dimension.dim_value = 1


def shifted_bias(graph: Any) -> None:
    """The last bias has its numbers in another order."""
    bias = next(each for each in reversed(graph.graph.initializer) if list(each.dims) == [3])
    values = onnx.numpy_helper.to_array(bias)
    bias.CopyFrom(onnx.numpy_helper.from_array(np.roll(values, 1) + 0.1, bias.name))


def misshapen_bias(graph: Any) -> None:
    """The last bias lacks a number."""
    bias = next(each for each in reversed(graph.graph.initializer) if list(each.dims) == [3])
    bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias)[:2], bias.name))


def rename(graph: Any, old: str, new: str) -> None:
    for node in graph.graph.node:
        node.output[:] = [new if name == old else name for name in node.output]


@pytest.mark.parametrize("spoil", [swapped, without_normalisation, frozen_batch, shifted_bias, misshapen_bias])
def test_a_wrong_exporter_is_refused_and_leaves_nothing(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Any], None]
) -> None:
    from pellucid.exports import network_graph

    def spoiling(export: Callable[..., Any]) -> Callable[..., Any]:
        def exported(*given: Any) -> Any:
            graph = export(*given)
            spoil(graph)
            return graph

        return exported

    wrong = {name: spoiling(export) for name, export in network_graph.EXPORTERS.items()}
    monkeypatch.setattr(network_graph, "EXPORTERS", wrong)
    with pytest.raises(UserError, match="cannot be exported"):
        pl.export(model, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "change", [{"temperature": 1.0}, {"classes": ("class 1", "class 0", "class 2")}], ids=["temperature", "classes"]
)
def test_a_card_that_is_written_wrongly_is_refused_and_leaves_nothing(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    """What was sealed is the wrong card: only the proof can tell."""
    from pellucid.exports import onnx_file

    sealed = onnx_file.sealed
    monkeypatch.setattr(onnx_file, "sealed", lambda card: sealed(card.model_copy(update=change)))
    with pytest.raises(UserError, match="does not reproduce its own proof"):
        pl.export(model, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_images_show_what_the_proof_does_not(
    tmp_path: Path, model: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that is right about one image alone and wrong about several."""
    from pellucid.engines.onnxruntime_engine import OnnxRuntime

    right = OnnxRuntime.logits

    def wrong(self: OnnxRuntime, pixels: np.ndarray) -> np.ndarray:
        logits = right(self, pixels)
        return logits if len(pixels) == 1 else np.roll(logits, 1, axis=1)

    monkeypatch.setattr(OnnxRuntime, "logits", wrong)
    pl.export(model, tmp_path / "unchecked.onnx")
    with pytest.raises(UserError, match="says something else") as refused:
        pl.export(model, tmp_path / "model.onnx", check=photos)
    assert "class" in refused.value.details[0]
    assert [path.name for path in tmp_path.iterdir()] == ["unchecked.onnx"]


def test_an_older_file_stays_where_the_new_one_is_refused(tmp_path: Path, model: Path) -> None:
    out = tmp_path / "model.onnx"
    out.write_bytes(b"older")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "a.jpg").write_bytes(b"no image")
    with pytest.raises(UserError, match="no image to check with can be read"):
        pl.export(model, out, check=broken)
    assert out.read_bytes() == b"older"


def test_what_is_asked_wrongly_is_told(tmp_path: Path, model: Path) -> None:
    with pytest.raises(UserError, match="does not say what to write"):
        pl.export(model, tmp_path / "model.tflite")
    with pytest.raises(UserError, match="names no image to check with"):
        pl.export(model, tmp_path / "model.onnx", check=tmp_path / "nothing*.jpg")
    pl.export(model, tmp_path / "model.onnx")
    with pytest.raises(UserError, match="exported already"):
        pl.export(tmp_path / "model.onnx", tmp_path / "again.onnx")


def test_the_command_says_what_it_made_and_verify_proves_it(
    tmp_path: Path, model: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "model.onnx"
    assert command(["export", str(model), "--out", str(out), "--check", str(photos)]) == 0
    told = capsys.readouterr().out
    assert "of 6 images no answer is another one" in told
    assert command(["verify", str(out), "--engine", "onnxruntime"]) == 0
    assert "(onnxruntime, float32, cpu)" in " ".join(capsys.readouterr().out.split())
    assert command(["predict", str(out), str(photos), "--engine", "onnxruntime"]) == 0
    assert capsys.readouterr().out.count("\n") == 6


# Forms of photographs that decoders and exporters stumble over


def odd(folder: Path) -> dict[str, Path]:
    """One picture, 4 by 3, in each form; it has fine stripes, by which a resize without antialias shows."""
    from PIL import Image

    folder.mkdir()
    y, x = np.mgrid[0:150, 0:200]
    stripes = np.stack([255 * (x % 3 == 0), (x * y) % 256, 255 * ((x + y) // 2 % 2)], axis=2).astype(np.uint8)
    image = Image.fromarray(stripes)
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn is wanted
    clear = image.convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(image.size))
    grey = np.asarray(image.convert("L"))
    made = {
        "plain.png": (image, {}),
        "turned.jpg": (image, {"exif": exif}),
        "cmyk.jpg": (image.convert("CMYK"), {}),
        "grey.png": (image.convert("L"), {}),
        "deep.png": (Image.fromarray(grey.astype(np.uint16) * 257), {}),
        "transparent.png": (clear, {}),
        "indexed.gif": (image.convert("P"), {}),
    }
    for name, (form, settings) in made.items():
        form.save(folder / name, **settings)
    return {name: folder / name for name in made}


@pytest.mark.parametrize("inside", [False, True], ids=["prepared", "whole images"])
@pytest.mark.parametrize("engine", ENGINES)
def test_photographs_of_every_form_get_the_same_answer(tmp_path: Path, model: Path, engine: str, inside: bool) -> None:
    pytest.importorskip(engine)
    images = list(odd(tmp_path / "odd").values())
    pl.export(model, tmp_path / "model.onnx", inside=inside)
    ours = pl.load(model).predict(images)
    theirs = pl.load(tmp_path / "model.onnx", engine=engine).predict(images)
    for one, other in zip(ours, theirs, strict=True):
        assert one.best == other.best
        assert dict(one.ranking) == pytest.approx(dict(other.ranking), abs=1e-3)


def test_a_4_by_3_photograph_that_is_resized_without_antialias_gets_another_answer(tmp_path: Path, model: Path) -> None:
    """So that the test above can fail: pixels picked as most exporters' resize does."""
    import onnxruntime
    from PIL import Image

    photo = odd(tmp_path / "odd")["plain.png"]
    pl.export(model, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    picked = Image.open(photo).resize((53, 40), Image.Resampling.NEAREST)  # 40: the card
    (logits,) = session.run(None, {"pixels": np.asarray(picked)[None, 4:36, 10:42]})
    shares = np.exp(logits[0] / 1.7) / np.exp(logits[0] / 1.7).sum()
    opened = pl.load(model)
    right = dict(opened.predict([photo])[0].ranking)
    assert max(abs(share - right[name]) for share, name in zip(shares, opened.classes, strict=True)) > 0.01


def test_openvinos_second_file_is_asked_for_and_a_strangers_is_not_written_over(tmp_path: Path, model: Path) -> None:
    pytest.importorskip("openvino")
    (tmp_path / "mine.bin").write_bytes(b"somebody's")
    with pytest.raises(UserError, match=r"mine\.bin is there already"):
        pl.export(model, tmp_path / "mine.xml")
    assert (tmp_path / "mine.bin").read_bytes() == b"somebody's"
    pl.export(model, tmp_path / "model.xml")
    (tmp_path / "model.bin").unlink()
    with pytest.raises(UserError, match=r"model\.bin is not beside it"):
        pl.load(tmp_path / "model.xml")


def test_what_would_command_a_terminal_is_shown_and_not_sent(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pl.export(model, tmp_path / "model.onnx")
    file = onnx.load(tmp_path / "model.onnx")
    entry = next(each for each in file.metadata_props if each.key == "pellucid_card")
    card = json.loads(entry.value)
    card["provenance"]["note"] = "\x1b[2J\x1b]0;mine\x07 and [bold]"
    entry.value = json.dumps(card)
    onnx.save(file, tmp_path / "edited.onnx")
    assert command(["verify", str(tmp_path / "edited.onnx"), "--engine", "onnxruntime"]) == 0
    told = capsys.readouterr().out
    assert "\x1b" not in told and "\\x1b[2J" in told and "[bold]" in told
