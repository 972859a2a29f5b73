"""Engines measured side by side on one model: what is told of each, and that none is left out silently."""

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import pellucid as pl
from pellucid.cli.main import run as command
from pellucid.engines import choose
from pellucid.errors import UserError
from pellucid.reports.engine_times import engine_bench_text
from pellucid.uses import engine_bench
from pellucid.uses.agreement import Agreement, Change
from pellucid.uses.contenders import Contender, answer_wishes
from pellucid.uses.engine_bench import Batches, EngineBench, LeftOut, Measured, variations
from tests.golden import check
from tests.models import photographs, saved

pytest.importorskip("torch")
pytest.importorskip("onnx")


@pytest.fixture(autouse=True)
def once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Starts that count only once: each takes seconds."""
    monkeypatch.setattr(engine_bench, "STARTS", 1)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("model") / "model.safetensors")


@pytest.fixture(scope="module")
def exported(model: Path) -> Path:
    pl.export(model, model.with_name("model.onnx"))
    return model.with_name("model.onnx")


def test_every_engine_is_measured_in_turns_and_says_the_same(model: Path) -> None:
    pytest.importorskip("openvino")
    told: list[str] = []
    found = pl.bench_engines(model, batch=(3, 1), steps=2, burn_in=1, threads=1, note=told.append)
    names = [each.name for each in found.measured]
    assert names[0] == "torch, float32"
    assert {"onnxruntime, float32", "openvino, float32"} <= set(names)
    assert found.left_out == () and found.threads == 1
    assert told[0] == "exporting the model as .onnx for the engines that need one"
    assert list(model.parent.glob("*")) in ([model], [model, model.with_name("model.onnx")])
    for each in found.measured:
        assert [(of.images, len(of.seconds)) for of in each.batches] == [(1, 2), (3, 2)]
        assert all(second > 0 for of in each.batches for second in of.seconds)
        memory = [of.memory for of in each.batches]
        assert all(bytes_ is not None and 1e6 < bytes_ < 8e9 for bytes_ in memory) and memory == sorted(memory)
        assert len(each.starts) == 1 and each.starts[0] > max(of.percentile(50) for of in each.batches)
    assert found.reference.agreement is None
    for each in found.measured[1:]:
        assert each.agreement is not None and each.agreement.images == 32
        if each.precision == "float32":
            assert each.agreement.changed == () and each.agreement.greatest < 1e-4


def test_answers_are_compared_on_the_images_that_are_named(exported: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    photos = photographs(tmp_path / "photos", 5)
    (photos / "broken.png").write_bytes(b"no image")
    found = pl.bench_engines(exported, engine="openvino,onnxruntime", batch=[2], steps=1, burn_in=0, check=photos)
    assert found.sample == "5 images"
    agreed = found.measured[1].agreement
    assert agreed is not None and agreed.images == 5 and "broken.png" in agreed.unreadable[0]
    assert found.reference.engine == "openvino" and found.left_out == ()


def test_what_does_not_compute_such_a_file_is_told(exported: Path) -> None:
    found = pl.bench_engines(exported, engine="torch,onnxruntime", batch=[1], steps=1, burn_in=0)
    assert [each.name for each in found.measured] == ["onnxruntime, float32"]
    (torch,) = found.left_out
    assert torch.name == "torch" and torch.why == "it computes .safetensors, and no .onnx"


def test_what_is_not_installed_is_told_with_the_command_that_installs_it(
    exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choose, "find_spec", lambda package: object() if package == "onnxruntime" else None)
    found = pl.bench_engines(exported, batch=[1], steps=1, burn_in=0)
    hints = {each.name: (each.why, each.hint) for each in found.left_out}
    assert hints == {
        "torch": ("not installed", "pip install 'pellucid[train]'"),
        "openvino": ("not installed", "pip install 'pellucid[openvino]'"),
    }


def test_an_engine_that_does_not_reproduce_the_proof_is_listed_with_why(
    model: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnx

    wrong = onnx.load(exported)
    largest = max(wrong.graph.initializer, key=lambda each: len(each.raw_data))
    largest.raw_data = (np.frombuffer(largest.raw_data, np.float32) * np.float32(1.01)).tobytes()
    onnx.save(wrong, tmp_path / "wrong.onnx")
    monkeypatch.setattr("pellucid.uses.export.export", lambda _, out, **__: shutil.copy(tmp_path / "wrong.onnx", out))
    found = pl.bench_engines(model, engine="torch,onnxruntime", batch=[1], steps=1, burn_in=0)
    assert {each.engine for each in found.measured} == {"torch"}
    (refused,) = found.left_out
    assert refused.name == "onnxruntime, float32"
    assert "does not reproduce its own proof" in refused.why and "logit of class" in refused.why
    with pytest.raises(UserError, match="no engine computes") as nothing:
        pl.bench_engines(tmp_path / "wrong.onnx", engine="onnxruntime", batch=[1], steps=1)
    assert "does not reproduce its own proof" in nothing.value.details[0]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["MODEL", "--batch", "1,x"], "no whole number"),
        (["MODEL", "--batch", "1.5"], "no whole number"),
        (["MODEL", "--batch", "0"], "batch is at least 1"),
        (["MODEL", "--steps", "0"], "steps is at least 1"),
        (["MODEL", "--engine", "onnxrutime"], "did you mean onnxruntime?"),
        (["MODEL", "--engine", "auto"], "auto is no engine to measure"),
        (["MODEL", "--against", "timm"], "--against is for a network by its name"),
        (["MODEL", "--backward"], "--backward is for a network by its name"),
        (["nowhere.onnx"], "nowhere.onnx is not there"),
        (["resnet18", "--engine", "torch"], "--engine is for a model"),
        (["resnet18", "--batch", "1,8"], "timed with one --batch"),
        (["MODEL", "--check", "nowhere-*.png"], "names no image to check with"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_starts(
    exported: Path, words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(["bench", *(str(exported) if word == "MODEL" else word for word in words)]) == 2
    assert told in capsys.readouterr().err


def test_a_shell_gets_a_table_or_one_object(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["bench", str(exported), "--engine", "onnxruntime", "--batch", "1,2", "--steps", "2", "--burn-in", "0"]
    assert command([*asked, "--format", "json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert [of["images"] for of in made["measured"][0]["batches"]] == [1, 2]
    assert command(asked) == 0
    assert "2 images per batch, 2 batches each" in capsys.readouterr().out


# What is told of figures


def measured(engine: str, seconds: tuple[float, ...], **more: Any) -> Measured:
    fields = {"precision": "float32", "device": "cpu", "starts": (0.5, 0.4, 0.9), "agreement": None} | more
    return Measured(engine=engine, batches=(Batches(images=8, seconds=seconds, memory=2**28),), **fields)


def test_the_text_fits_and_says_what_each_figure_is_of() -> None:
    change = Change(name="a.jpg", first="bees", second="ants", probability=(0.6, 0.5))
    agreed = Agreement(images=32, greatest=0.0123, changed=(change,), ties=2)
    bench = EngineBench(
        model="runs/photos-resnet50/model.safetensors",
        architecture="resnet50",
        size=224,
        threads=2,
        sample="the proof's image in 32 variations",
        measured=(
            measured("torch", (0.4,) * 98 + (0.8,) * 2),
            measured("onnxruntime", (0.2,) * 100, agreement=Agreement(images=32, greatest=0.0, changed=(), ties=0)),
            measured("openvino", (0.1,) * 100, precision="bfloat16", agreement=agreed, starts=(12.345,) * 3),
        ),
        left_out=(LeftOut(name="another", why="not installed", hint="pip install another"),),
    )
    assert bench.ratio(bench.measured[1], 8) == pytest.approx((2.0, 2.0, 2.0))
    assert bench.measured[0].batches[0].per_second == pytest.approx(20.0)
    console = Console(width=80, record=True, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123
    console.print(engine_bench_text(bench))
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    check("uses/engine-bench", "\n".join(line.rstrip() for line in text.splitlines()))


def test_the_last_percentile_of_few_batches_is_not_told() -> None:
    few = EngineBench(
        model="m", architecture="small", size=32, threads=1, sample="", left_out=(),
        measured=(measured("torch", (0.1, 0.1, 0.9)),),
    )  # fmt: skip
    console = Console(width=80, record=True, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123
    console.print(engine_bench_text(few))
    text = console.export_text()
    (row,) = [line.split() for line in text.splitlines() if line.startswith("torch, float32") and "MB" in line]
    assert "--steps 100" in text and row[5] == "-"  # torch, float32, images, p50, p95, p99


def test_variations_are_other_images_each() -> None:
    made = list(variations())
    assert len({image.tobytes() for _, image in made}) == len({name for name, _ in made}) == 32


# Processes


def echo(pipe: Any) -> None:
    pipe.send("here")
    answer_wishes(pipe, lambda wish: os.kill(os.getpid(), signal.SIGKILL) if wish == "die" else wish)


def test_a_process_answers_until_it_is_gone_and_its_end_is_told() -> None:
    with Contender("it", echo) as one:
        assert (one.first, one.ask(7)) == ("here", 7)
        with pytest.raises(UserError, match="it's process was ended by SIGKILL, as the system does when memory"):
            one.ask("die")
