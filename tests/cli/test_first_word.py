"""What stands on the screen before anything is computed, what is imported for it, and that nobody else says a word."""

import json
import os
import pty
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from pellucid.cli.loading import GONE, SAID
from tests.pictures import make_classes

SMALL = ["--model", "small", "--size", "32", "--epochs", "1", "--batch", "8", "--workers", "1"]
NET = """from torch import nn


class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.layer, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8, classes)

    def forward(self, images):
        return self.head(self.layer(images).mean((2, 3)))
"""


def watched(folder: Path, commands: list[list[str]]) -> list[dict[str, Any]]:
    (folder / "commands.json").write_text(json.dumps(commands))
    done = subprocess.run(
        [sys.executable, "-m", "tests.strangers", "commands.json"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "PELLUCID_CACHE": str(folder / "cache")},
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs, and a run that was trained on them."""
    assert find_spec("torch")  # which the programs here import
    place = tmp_path_factory.mktemp("first-word")
    make_classes(place / "photos", images=8)
    (place / "net.py").write_text(NET)
    return place


@pytest.fixture(scope="module")
def heard(folder: Path) -> list[dict[str, Any]]:
    """What is said and imported by the verbs that compute, one after the other in a process; at last, by loud code."""
    (folder / "loud.py").write_text(
        "import os, warnings\nprint('by print')\nos.write(2, b'by the system\\n')\nwarnings.warn('by a warning')\n"
        "def table(classes): raise ValueError\n"
    )
    verbs = [["evaluate", "RUN"], ["predict", "RUN", "photos"], ["verify", "RUN"], ["resume", "RUN"]]
    return watched(folder, [["train", "photos", *SMALL], *verbs, ["structure", "loud.py:table"]])


@pytest.fixture(scope="module")
def computed(heard: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return heard[:-1]


@pytest.fixture(scope="module")
def looked(folder: Path, computed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What those say and import that compute nothing."""
    assert computed[0]["code"] == 0  # there is a run
    verbs = [["structure", "resnet50"], ["recipes"], ["models"], ["runs"], ["split", "photos", "parts.json"]]
    verbs += [["structure", "RUN"], ["train", "photos", "--epoch", "1"], ["report", "RUN"]]
    return watched(folder, [*verbs, ["show", "photos", "--out", "a.gif"], ["predict", "RUN", "photos", "--grid", "a"]])


def test_torch_is_imported_by_what_computes_and_by_nothing_else(looked: list[dict[str, Any]]) -> None:
    assert [each["code"] for each in looked] == [0, 0, 0, 0, 0, 0, 2, 0, 2, 2]
    assert looked[0]["modules"] == []
    for each in looked:
        assert not set(each["modules"]) - {"numpy", "pydantic", "jinja2"}, each["verb"]


def test_what_computes_imports_no_compiler_and_no_library_that_nobody_asked_for(computed: list[dict[str, Any]]) -> None:
    assert [each["code"] for each in computed] == [0, 0, 0, 0, 2]  # there is nothing to go on with
    for each in computed:  # the report wants its pages' templates, and the probability its temperature
        assert not set(each["modules"]) - {"torch", "numpy", "pydantic", "jinja2", "scipy"}, each["verb"]


def test_the_first_word_comes_before_torch(computed: list[dict[str, Any]]) -> None:
    assert computed[0]["first"] == SAID


def test_nobody_speaks_but_us(computed: list[dict[str, Any]], looked: list[dict[str, Any]]) -> None:
    assert [(each["verb"], each["strange"]) for each in (*computed, *looked) if each["strange"]] == []


@pytest.mark.slow
def test_nobody_speaks_but_us_whoever_else_is_asked(folder: Path, computed: list[dict[str, Any]]) -> None:
    assert computed[0]["code"] == 0  # there is a run
    flags = ["--size", "64", "--workers", "0", "--epochs", "1"]
    bench = ["--size", "64", "--batch", "2", "--steps", "1", "--burn-in", "1"]
    varied = ["--augmentation.mixup", "0.2", "--augmentation.policy", "randaugment", "--augmentation.erasing", "0.5"]
    commands = [
        ["train", "photos", "--model", "resnet18", "--mode", "scratch", "--weights", "none", *flags, *varied],
        ["train", "photos", "--model", "timm/resnet18", "--mode", "scratch", "--weights", "none", *flags],
        ["train", "photos", "--model", "net.py:Net", "--machine.precision", "bfloat16", *flags],
        ["bench", "resnet18", *bench, "--against", "torchvision,timm"],
        ["bench", "resnet18", *bench, "--backward"],
        ["parity", "resnet18", "--size", "64", "--against", "torchvision"],
        ["parity", "resnet18", "--size", "64", "--against", "timm"],
        ["structure", "resnet18", "--time", "--size", "64"],
        ["structure", "timm/resnet18"],
        ["structure", "RUN", "--image", "photos/smooth/000.png", "--format", "html", "--out", "flow.html"],
        ["show", "photos", "--out", "files.png"],
        ["show", "RUN", "--out", "curves.png"],
        ["show", "photos", "--of", "first-batch", "--out", "batch.png", *flags[:2]],
        ["adopt", "resnet18", "--weights", "nowhere.pth", "--out", "adopted.safetensors"],
    ]
    found = watched(folder, commands)
    assert [each["code"] for each in found] == [0] * 13 + [2]
    assert [(each["verb"], each["strange"]) for each in found if each["strange"]] == []


def test_a_strangers_line_would_be_noticed(heard: list[dict[str, Any]]) -> None:
    told = " ".join(heard[-1]["strange"])
    assert all(each in told for each in ("wrote 'by print'", "past Python came 'by the system'", "by a warning"))


PROGRAM = """
import logging, sys, warnings
from pellucid.cli.quiet import quieten
quieten()
import json
for file in (json.__file__, __import__("rich").__file__, "mine.py"):
    warnings.warn_explicit(f"in {file}", UserWarning, file, 1)
logging.getLogger("library").warning("logged")
"""


def test_warnings_of_libraries_are_not_shown_and_those_of_ones_own_code_are() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60)
    assert done.stderr.startswith("mine.py:1: UserWarning") and len(done.stderr.splitlines()) == 1
    loud = subprocess.run([sys.executable, "-W", "default", "-c", PROGRAM], capture_output=True, text=True, timeout=60)
    assert loud.stderr.count("UserWarning") == 3 and "logged" in loud.stderr


ANNOUNCED = """
import sys
sys.path.insert(0, "elsewhere")
from pellucid.cli.loading import announce
announce()
from importlib.util import find_spec
assert find_spec("torch")  # who asks whether it is there takes nothing away from the line
print("before", flush=True)
import torch
print("after", torch.VALUE, type(torch.__spec__.loader).__name__, flush=True)
import torch
"""


@pytest.mark.parametrize("terminal", [False, True])
def test_a_line_stands_while_torch_loads(terminal: bool, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "torch.py").write_text("print('during', flush=True)\nVALUE = 3\n")
    mine, theirs = pty.openpty() if terminal else os.pipe()
    done = subprocess.run(
        [sys.executable, "-c", ANNOUNCED], cwd=tmp_path, stdout=theirs, stderr=theirs, timeout=60, check=False
    )
    os.close(theirs)
    said = os.read(mine, 10_000).decode().replace("\r\n", "\n")
    os.close(mine)
    assert done.returncode == 0, said
    line = f"{SAID}during\n{GONE}" if terminal else f"{SAID}\nduring\n"
    assert said == f"before\n{line}after 3 SourceFileLoader\n"
