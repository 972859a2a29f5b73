"""Fewer bits: written only where they are faster and lose little, which is measured and told."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pellucid as pl
from pellucid.cli.main import run as command
from pellucid.errors import UserError
from pellucid.uses import worth
from tests.pictures import make_classes

pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime.quantization")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network that tells grainy from smooth."""
    place = tmp_path_factory.mktemp("run")
    make_classes(place / "photos", images=24)
    return pl.train(place / "photos", model="small", size=32, epochs=6, workers=0, runs=place / "runs").path


def speed(monkeypatch: pytest.MonkeyPatch, ratio: float) -> None:
    """As if fewer bits were `ratio` times as fast: how fast they are depends on the machine."""
    monkeypatch.setattr(worth, "time_in_turns", lambda _: [[ratio, ratio], [1.0, 1.0]])


@pytest.mark.parametrize(("precision", "smaller"), [("int8", 3), ("float16", 1.8)])
def test_what_is_faster_and_no_worse_is_written_and_says_both(
    tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch, precision: Any, smaller: float
) -> None:
    speed(monkeypatch, 2.5)
    made = pl.export(run, tmp_path / "fewer.onnx", precision=precision, max_drop=0.2)
    exact = pl.export(run, tmp_path / "exact.onnx")
    assert made.bytes * smaller < exact.bytes
    assert made.measured is not None and made.measured.speed == 2.5
    opened = pl.load(tmp_path / "fewer.onnx", engine="onnxruntime")
    assert opened.card.precision == precision and opened.card.classes == pl.load(run).classes
    told = opened.card.provenance["exported"]["measured"]
    assert told["speed"] == 2.5
    assert told["accuracy"]["n"] == told["before"]["n"] == len(list_of(run, "validation")) > 0
    assert opened.card.results[0].value == told["accuracy"]["value"]  # of this file, not of the one before
    assert f"{precision} weights" in opened.engine.words


def list_of(run: Path, part: str) -> list[Path]:
    from pellucid.runs.run_folder import open_run

    return [sample.path for sample in open_run(run).split().part(part)]


def test_ranges_are_those_of_training_images(tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pellucid.exports import fewer_bits
    from pellucid.images.decode import open_image
    from pellucid.images.preprocessing import crop

    speed(monkeypatch, 2.0)
    shown: list[np.ndarray] = []
    int8 = fewer_bits.int8
    monkeypatch.setattr(
        fewer_bits, "int8", lambda graph, images: int8(graph, [*shown, *(shown.extend(images) or shown)])
    )
    made = pl.export(run, tmp_path / "int8.onnx", precision="int8", max_drop=0.2)
    wanted = pl.load(run).card.preprocessing
    trained = [crop(open_image(path, background=wanted.background), wanted).tobytes() for path in list_of(run, "train")]
    assert sorted(pixels.tobytes() for pixels in shown) == sorted(trained)
    assert made.measured is not None and made.measured.calibrated_on == len(trained)


def test_what_is_slower_is_not_written(tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    speed(monkeypatch, 0.8)
    with pytest.raises(UserError, match="int8 is not worth it here") as refused:
        pl.export(run, tmp_path / "int8.onnx", precision="int8", max_drop=1)
    assert refused.value.details == ("it is not faster here: 0.80 times as fast as float32",)
    assert list(tmp_path.iterdir()) == []


def test_what_is_worse_is_not_written(tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a quantiser that has lost the last layer's weights: every answer is the same."""
    from pellucid.exports import fewer_bits

    int8 = fewer_bits.int8

    def spoiled(graph: Any, images: Any) -> Any:
        made = int8(graph, images)
        node = made.graph.node.add()
        old = made.graph.output[0].name
        for other in made.graph.node:
            other.output[:] = ["inner" if name == old else name for name in other.output]
        made.graph.initializer.append(onnx.numpy_helper.from_array(np.float32([[0, 0]]), "nothing"))
        node.CopyFrom(onnx.helper.make_node("Mul", ["inner", "nothing"], [old]))
        return made

    speed(monkeypatch, 3.0)
    monkeypatch.setattr(fewer_bits, "int8", spoiled)
    with pytest.raises(UserError, match="not worth it") as refused:
        pl.export(run, tmp_path / "int8.onnx", precision="int8")
    assert "it is worse" in refused.value.details[0] and "--max-drop allows 0.005" in refused.value.details[0]
    assert list(tmp_path.iterdir()) == []


def test_a_loss_beyond_chance_counts_however_much_may_be_lost() -> None:
    """McNemar by hand: of 8 images on which two models differ, all 8 lost, p = 2 / 2 ** 8 = 0.0078."""
    from pellucid.measures.comparison import mcnemar
    from pellucid.measures.intervals import Measured, wilson

    values = {"precision": "int8", "speed": 2.0, "before": wilson(990, 1000), "calibrated_on": 200}
    drop = Measured(value=0.008, low=0.003, high=0.014, n=1000)
    for lost, gained, problems in ((8, 0, 1), (8, 7, 0)):
        found = worth.Worth(
            **values, accuracy=wilson(982, 1000), drop=drop, gained=gained, lost=lost, chance=mcnemar(gained, lost)
        )
        assert len(found.problems(0.01)) == problems


def test_a_file_alone_does_not_say_what_it_was_trained_on(tmp_path: Path, run: Path) -> None:
    with pytest.raises(UserError, match="does not say which images it was trained on") as refused:
        pl.export(run / "model.safetensors", tmp_path / "int8.onnx", precision="int8")
    assert "run folder" in refused.value.hint


def test_an_image_that_changed_is_no_measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_classes(tmp_path / "photos", images=8)
    run = pl.train(tmp_path / "photos", model="small", size=32, epochs=1, workers=0, runs=tmp_path / "runs").path
    changed = list_of(run, "validation")[0]
    changed.write_bytes(list_of(run, "train")[0].read_bytes())
    speed(monkeypatch, 2.0)
    with pytest.raises(UserError, match="is not what it was when the run was made"):
        pl.export(run, tmp_path / "int8.onnx", precision="int8", max_drop=1)
    assert not (tmp_path / "int8.onnx").exists()


def test_the_command_tells_what_is_gained_and_what_may_be_lost(
    tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    speed(monkeypatch, 2.5)
    out = str(tmp_path / "int8.onnx")
    assert command(["export", str(run), "--out", out, "--int8", "--max-drop", "0.2"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "int8: 2.50 times as fast as float32 on this machine" in told
    assert "with so few images, up to" in told
    assert command(["export", str(run), "--out", out, "--int8", "--fp16"]) == 2


@pytest.mark.parametrize("share", [float("nan"), -0.1, 1.5, float("inf")])
def test_what_may_be_lost_is_a_share(tmp_path: Path, run: Path, share: float) -> None:
    with pytest.raises(UserError, match="is no share of the accuracy"):
        pl.export(run, tmp_path / "int8.onnx", precision="int8", max_drop=share)
    assert command(["export", str(run), "--out", str(tmp_path / "a.onnx"), "--max-drop", "0.1"]) == 2
