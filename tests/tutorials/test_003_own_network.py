"""The fake-face tutorial's network as docs/own-network.md writes it, as a module and as a table."""

import re
from pathlib import Path

import pytest
import torch

import pellucid as pl
from pellucid.cli.main import run as command
from tests.tutorials.test_003_fake_faces import theirs

PAGE = Path(__file__).parents[2] / "docs" / "own-network.md"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's files, each named in its first line."""
    folder = tmp_path_factory.mktemp("page")
    for block in re.findall(r"```python\n(# (\S+\.py)\n.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL):
        (folder / block[1]).write_text(block[0], encoding="utf-8")
    return folder


@pytest.mark.parametrize("name", ["faces.py:Net", "table.py:TABLE"])
def test_the_pages_networks_are_the_tutorials(files: Path, name: str) -> None:
    ours, plain = pl.network(f"{files}/{name}", 2).eval(), theirs()
    assert sum(parameter.numel() for parameter in ours.parameters()) == 4_384_257  # the sum of its layers, by hand
    ours.load_state_dict(dict(zip(ours.state_dict(), plain.state_dict().values(), strict=True)))
    images = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        assert torch.allclose(ours(images), plain(images), atol=1e-6)


def test_parity_finds_both_forms_the_same_and_other_networks_not(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module, table = f"{files}/faces.py:Net", f"{files}/table.py:TABLE"
    assert command(["parity", table, "--against", module]) == 0
    assert command(["parity", module, "--against", "small_tutorial"]) == 0
    capsys.readouterr()
    for other, problem in (("small", "have other tensors in their order"), ("torchvision", "no other library has")):
        assert command(["parity", module, "--against", other, "--size", "224"]) == 2
        assert problem in capsys.readouterr().err
