"""What lies beside one's own network is found, and kept with a run."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import pellucid as pl
from pellucid.errors import UserError
from pellucid.networks import own
from pellucid.networks.build import network as known
from tests.networks.own_nets import BLOCKS, HELPED, QUICK


@pytest.mark.parametrize("line", ["from .blocks import layer", "from ..models.blocks import layer"])
@pytest.mark.parametrize("package", [True, False], ids=["package", "folder"])
def test_a_file_imports_relatively_to_the_package_that_it_is_in(tmp_path: Path, line: str, package: bool) -> None:
    folder = tmp_path / "project" / "models"
    folder.mkdir(parents=True)
    if package:
        (folder / "__init__.py").write_text("from .net import Net\n")
        (folder.parent / "__init__.py").touch()
    (folder / "net.py").write_text(HELPED.format(line=line, width=4))
    (folder / "blocks.py").write_text("from torch import nn\n\ndef layer():\n    return nn.Conv2d(3, 4, 3)\n")
    assert known(own.remember(f"{folder}/net.py:Net"), 2, size=32)(torch.zeros(1, 3, 32, 32)).shape == (1, 2)


def test_a_file_finds_what_lies_in_the_folder_one_is_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "zoo").mkdir()
    (tmp_path / "zoo" / "net.py").write_text(HELPED.format(line="from zoo.blocks import layer", width=4))
    (tmp_path / "zoo" / "blocks.py").write_text("from torch import nn\n\ndef layer():\n    return nn.Conv2d(3, 4, 3)\n")
    name = own.remember(f"{tmp_path}/zoo/net.py:Net")
    with pytest.raises(UserError, match="No module named 'zoo'") as refused:
        known(name, 2, size=32)
    assert refused.value.hint == "install zoo where pellucid is, or go to the folder that zoo lies in"
    monkeypatch.chdir(tmp_path)
    assert known(name, 2, size=32)(torch.zeros(1, 3, 32, 32)).shape == (1, 2)


@pytest.mark.parametrize(
    ("file", "line", "kept"),
    [
        ("nets/net.py", "from blocks import layer", ["blocks.py", "net.py"]),
        ("nets/net.py", "from .blocks import layer", ["nets/__init__.py", "nets/blocks.py", "nets/net.py"]),
        ("nets/net.py", "from parts.blocks import layer", ["net.py", "parts/__init__.py", "parts/blocks.py"]),
        ("nets/net.py", "import nets.blocks\nlayer = nets.blocks.layer", None),
        ("zoo/nets/net.py", "from ..nets.blocks import layer", ["zoo/nets/blocks.py", "zoo/nets/net.py"]),
    ],
)
def test_a_run_keeps_what_the_code_imports_from_beside_it(
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    elsewhere: Callable[[], None],
    file: str,
    line: str,
    kept: list[str] | None,
) -> None:
    project = tmp_path / "project"
    path = project / file
    (path.parent / "parts").mkdir(parents=True)
    path.write_text(HELPED.format(line=line, width=4))
    (path.parent / "blocks.py").write_text(BLOCKS)
    (path.parent / "parts" / "__init__.py").write_text("import more")
    (path.parent / "parts" / "blocks.py").write_text(f"from .inner import nn\n{BLOCKS}")
    (path.parent / "parts" / "inner.py").write_text("from torch import nn")
    (path.parent / "more.py").touch()
    (path.parent / "unused.py").touch()
    with monkeypatch.context() as there:
        there.chdir(project)
        run = pl.train(photos, model=f"{file}:Net", **QUICK | {"epochs": 1}, runs=tmp_path / "runs")
    copies = sorted(place.relative_to(run.path).as_posix() for place in run.path.rglob("*.py"))
    assert set(kept or ["nets/net.py", "nets/blocks.py"]) <= set(copies) and "unused.py" not in " ".join(copies)
    (copy,) = run.path.rglob("net.py")
    project.rename(tmp_path / "gone")
    elsewhere()
    for name in list(own._BESIDE):  # nor does another process know them
        own._set_aside(name)
    assert pl.load(run.path, model=f"{copy}:Net").classes == ("grainy", "smooth")


LATE = """
from torch import nn


class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, classes)

    def forward(self, x):
        from late_helper import pooled
        return self.fc(pooled(self.conv(x)))
"""


@pytest.mark.parametrize("look", [pl.structure, lambda name: pl.network(name, 2, size=32)], ids=["structure", "train"])
def test_what_is_imported_within_forward_is_found_beside_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, look: Callable[[str], Any]
) -> None:
    (tmp_path / "net.py").write_text(LATE)
    (tmp_path / "late_helper.py").write_text("def pooled(x):\n    return x.mean((2, 3))\n")
    monkeypatch.delitem(sys.modules, "late_helper", raising=False)
    look(f"{tmp_path}/net.py:Net")
    assert sys.modules["late_helper"].__file__ == str(tmp_path / "late_helper.py")
    (tmp_path / "late_twin.py").touch()
    with pytest.raises(ModuleNotFoundError):  # nobody else's code finds what lies there
        exec(compile("import late_twin", "/elsewhere/others.py", "exec"), {"__name__": "others"})


def test_two_files_each_have_what_lies_beside_them(tmp_path: Path) -> None:
    names = {}
    for width in (4, 6):
        folder = tmp_path / str(width)
        folder.mkdir()
        (folder / "net.py").write_text(HELPED.format(line="from pieces import layer", width=width))
        (folder / "pieces.py").write_text(
            f"from torch import nn\n\ndef layer():\n    return nn.Conv2d(3, {width}, 3)\n"
        )
        names[width] = own.remember(f"{folder}/net.py:Net")
    for width in (4, 6, 4):
        assert known(names[width], 2, size=32).state_dict()["model.conv.weight"].shape[0] == width
