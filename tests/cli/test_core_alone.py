"""An exported model needs the core alone: neither torch nor any extra, and no more imported than an answer takes."""

import json
import os
import subprocess
import sys
import venv
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import pellucid as pl
from tests.models import photographs, saved

pytest.importorskip("torch")
pytest.importorskip("onnx")
SOURCE = Path(pl.__file__).parents[1]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with model.onnx and labelled photographs."""
    folder = tmp_path_factory.mktemp("core")
    pl.export(saved(folder / "model.safetensors"), folder / "model.onnx")
    for name in ("class 0", "class 1", "class 2"):
        photographs(folder / "photos" / name, 2)
    return folder


def core(name: str, known: dict[str, Distribution]) -> Iterator[Distribution]:
    """What a distribution needs without any extra, itself among it."""
    if name in known:
        return
    known[name] = found = distribution(name)
    yield found
    for text in found.requires or ():
        wanted = Requirement(text)
        if wanted.marker is None or wanted.marker.evaluate({"extra": ""}):
            yield from core(wanted.name, known)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that has pellucid and the dependencies of its core, as links to what is here."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    site = next(folder.glob("lib/python*/site-packages"))
    for found in core("pellucid", {}):
        for part in {Path(str(file)).parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
            if not (site / part).exists() and not part.endswith(".pth"):
                (site / part).symlink_to(Path(str(found.locate_file(part))))
    (site / "source.pth").write_text(f"{SOURCE}\n")
    return folder / "bin" / "python"


def run(python: Path | str, place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    cleared = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [str(python), *arguments],
        cwd=place,
        env=cleared | {"PELLUCID_CACHE": str(place / "cache")},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_environment_has_no_torch_and_no_extra(alone: Path, place: Path) -> None:
    code = "import json; from importlib.util import find_spec; print(json.dumps([n for n in %r if find_spec(n)]))"
    extras = ["torch", "torchvision", "timm", "onnx", "onnxscript", "scipy", "h5py", "openvino", "pandas", "sklearn"]
    assert json.loads(run(alone, place, "-c", code % [*extras, "onnxruntime", "PIL"]).stdout) == ["onnxruntime", "PIL"]


def test_an_exported_model_predicts_is_verified_and_evaluated_with_the_core_alone(alone: Path, place: Path) -> None:
    predicted = run(alone, place, "-m", "pellucid", "predict", "model.onnx", "photos", "--format", "json")
    assert (predicted.returncode, predicted.stderr) == (0, "")
    answers = [json.loads(line) for line in predicted.stdout.splitlines()]
    theirs = pl.load(place / "model.safetensors").predict([place / each["name"] for each in answers])
    assert [each["best"] for each in answers] == [each.best for each in theirs]
    assert [each["probability"] for each in answers] == pytest.approx([each.probability for each in theirs], abs=1e-4)
    verified = run(alone, place, "-m", "pellucid", "verify", "model.onnx")
    assert verified.returncode == 0 and "proved" in verified.stdout
    evaluated = run(alone, place, "-m", "pellucid", "evaluate", "model.onnx", "photos", "--format", "json")
    assert evaluated.returncode == 0, evaluated.stderr
    assert json.loads(evaluated.stdout)["n"] == 6


def test_an_exported_model_is_measured_with_the_core_alone(alone: Path, place: Path) -> None:
    done = run(
        alone, place, "-m", "pellucid", "bench", "model.onnx", "--batch", "2", "--steps", "2", "--format", "json"
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [(each["engine"], len(each["starts"])) for each in told["measured"]] == [("onnxruntime", 3)]
    assert [each["hint"] for each in told["left_out"]] == [
        "pip install 'pellucid[train]'",
        "pip install 'pellucid[openvino]'",
    ]


@pytest.mark.parametrize(
    "verb",
    [
        ["train", "photos", "--model", "small"],
        ["bench", "small"],
        ["adopt", "resnet18", "--out", "adopted.safetensors"],
        ["predict", "model.safetensors", "photos"],
    ],
    ids=lambda verb: verb[0],
)
def test_what_needs_more_names_the_extra_that_brings_it(alone: Path, place: Path, verb: list[str]) -> None:
    refused = run(alone, place, "-m", "pellucid", *verb)
    assert refused.returncode == 2
    assert "torch" in refused.stderr and "pip install 'pellucid[train]'" in refused.stderr


IMPORTED = """
import json, sys
from pellucid.cli.main import run
assert run(sys.argv[1:]) == 0
print(json.dumps([name for name in sys.modules if "." not in name]))
"""
HEAVY = {"torch", "rich", "scipy", "pandas", "matplotlib", "sklearn", "jinja2", "openvino", "onnx", "sympy", "pyarrow"}


@pytest.mark.parametrize("verb", [["predict", "model.onnx", "photos", "--engine", "onnxruntime"]])
def test_an_answer_imports_no_more_than_it_takes(place: Path, verb: list[str]) -> None:
    """Each of these takes between 20 ms and seconds, of an answer that takes a third of a second."""
    done = run(sys.executable, place, "-c", IMPORTED, *verb)
    assert done.returncode == 0, done.stderr
    assert HEAVY & set(json.loads(done.stdout.splitlines()[-1])) == set()


def test_a_photograph_is_decoded_without_the_plugins_of_other_formats(place: Path) -> None:
    code = (
        "import sys; from pellucid.images.decode import open_image; open_image(sys.argv[1]); "
        "print('PIL.WebPImagePlugin' in sys.modules)"
    )
    image = str(next((place / "photos").rglob("*.jpg")))
    assert run(sys.executable, place, "-c", code, image).stdout == "False\n"
