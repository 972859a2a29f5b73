"""The programs that are made of a card say what Pellucid says. C# is only looked at: no compiler of it is at hand.

JavaScript runs where PELLUCID_NODE names a folder in which `npm install onnxruntime-node sharp` was run, C++ where
PELLUCID_INCLUDE names one with onnxruntime_cxx_api.h and stb_image.h.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image

import pellucid as pl
from pellucid.cli.main import run as command
from pellucid.errors import UserError
from tests.models import saved

pytest.importorskip("torch")
pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

KINDS: dict[str, dict[str, Any]] = {
    "three classes": {"sure_from": 0.41, "temperature": 1.3},
    "a threshold": {"one_logit": True, "threshold": 0.3},
}


@pytest.fixture(scope="module", params=KINDS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    made = saved(folder / "model.safetensors", **KINDS[request.param])
    pl.export(made, folder / "model.onnx", inside=True)
    return folder / "model.onnx"


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """Lossless, since decoders of JPEG differ by a level; opaque, transparent and grey, of several extents."""
    made = []
    for index, mode in enumerate(("RGB", "RGBA", "L", "RGB")):
        random = np.random.default_rng(index)
        shape = (50 + 30 * index, 90 - 10 * index, *((len(mode),) if len(mode) > 1 else ()))
        made.append(tmp_path / f"{index}.png")
        Image.fromarray(random.integers(0, 256, shape, dtype=np.uint8)).save(made[-1])
    return made


def snippet(model: Path, language: str, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert command(["verify", str(model), "--engine", "onnxruntime", "--program", language]) == 0
    return capsys.readouterr().out


def assert_same(printed: str, model: Path, photos: list[Path]) -> None:
    expected = pl.load(model, engine="onnxruntime").predict(photos)
    lines = printed.splitlines()
    assert len(lines) == len(expected)
    for line, one in zip(lines, expected, strict=True):
        name, best, probability, *unsure = re.split(r" {2}", line)
        assert (name, best) == (one.name, one.best)
        assert abs(float(probability) - one.probability) <= 1e-3
        assert bool(unsure) == (not one.sure)


def test_grey_of_16_bits_is_scaled_and_not_cut_off(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deep = np.random.default_rng(9).integers(0, 65536, (70, 60), dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    test_python(model, [tmp_path / "deep.png"], tmp_path, capsys)


def test_python(model: Path, photos: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "predict.py").write_text(snippet(model, "python", capsys), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(tmp_path / "predict.py"), *map(str, photos)],
        cwd=model.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert_same(done.stdout, model, photos)


def test_javascript(model: Path, photos: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(os.environ.get("PELLUCID_NODE", "node_modules/.."))
    if not (shutil.which("node") and (folder / "node_modules" / "onnxruntime-node").is_dir()):
        pytest.skip("node with onnxruntime-node and sharp is wanted: see PELLUCID_NODE")
    program = folder / f"predict-{os.getpid()}.mjs"
    program.write_text(snippet(model, "javascript", capsys), encoding="utf-8")
    try:
        done = subprocess.run(
            ["node", str(program.resolve()), *map(str, photos)],
            cwd=model.parent,
            capture_output=True,
            text=True,
            check=True,
        )
    finally:
        program.unlink()
    assert_same(done.stdout, model, photos)


def test_cpp(model: Path, photos: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    include = Path(os.environ.get("PELLUCID_INCLUDE", "/usr/include/onnxruntime"))
    library = next(Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*"), None)
    if not (shutil.which("g++") and library and (include / "onnxruntime_cxx_api.h").is_file()):
        pytest.skip("g++ with onnxruntime's headers is wanted: see PELLUCID_INCLUDE")
    (tmp_path / "predict.cpp").write_text(snippet(model, "cpp", capsys), encoding="utf-8")
    places = [f"-I{include}", "-I/usr/include/stb", str(library), f"-Wl,-rpath,{tmp_path}"]
    (tmp_path / "libonnxruntime.so.1").symlink_to(library)  # as it calls itself
    subprocess.run(["g++", "-std=c++17", "predict.cpp", *places, "-o", "predict"], cwd=tmp_path, check=True)
    done = subprocess.run(
        [str(tmp_path / "predict"), *map(str, photos)], cwd=model.parent, capture_output=True, text=True, check=True
    )
    assert_same(done.stdout, model, photos)


def test_csharp_has_what_the_card_says(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card = pl.load(model, engine="onnxruntime").card
    text = snippet(model, "csharp", capsys)
    assert ", ".join(f'"{name}"' for name in card.classes) in text
    assert "Color.FromRgb(9, 99, 199)" in text
    assert ("all[1] >= 0.3 ? 1 : 0" in text) == (card.threshold is not None)
    assert text.count("{") == text.count("}") and text.count("(") == text.count(")")


def test_no_mark_is_left_in_any_program(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from pellucid.exports.snippets import Language

    for language in get_args(Language):
        assert re.findall(r"@\w+@", snippet(model, language, capsys)) == []


def test_names_that_would_break_a_program_do_not() -> None:
    from pellucid.exports.snippets import snippet as made
    from tests.brightness import card

    names = ('quote " and \\ backslash', "line\nend\x07", "猫 🐱", "${x} {y} %s")
    hostile = card(classes=names, inside=True)
    space: dict[str, Any] = {}
    classes = next(
        line for line in made(hostile, Path('m"x.onnx'), "python").splitlines() if line.startswith("CLASSES")
    )
    exec(classes, space)
    assert tuple(space["CLASSES"]) == names


def test_a_file_without_its_preprocessing_has_no_program(tmp_path: Path) -> None:
    model = saved(tmp_path / "model.safetensors")
    pl.export(model, tmp_path / "model.onnx")
    from pellucid.exports.snippets import snippet as made

    with pytest.raises(UserError, match="takes pixels that Pellucid prepared") as refused:
        made(pl.load(tmp_path / "model.onnx", engine="onnxruntime").card, tmp_path / "model.onnx", "python")
    assert "--inside" in refused.value.hint


def test_the_page_shows_programs_as_they_are_made() -> None:
    from pellucid.exports.snippets import PROGRAMS
    from pellucid.exports.snippets import snippet as made
    from tests.brightness import card

    page = Path(__file__).parents[2] / "docs" / "deploying.md"
    example = card(classes=("original", "upsampled"), threshold=0.5, sure_from=0.71, inside=True)
    text = page.read_text(encoding="utf-8").partition("### ")[0].rstrip() + "\n"
    for language in PROGRAMS:
        text += f"\n### {language}\n\n```{language}\n{made(example, Path('model.onnx'), language)}```\n"
    if os.environ.get("PELLUCID_GOLDEN") == "write":
        page.write_text(text, encoding="utf-8")
    assert page.read_text(encoding="utf-8") == text
