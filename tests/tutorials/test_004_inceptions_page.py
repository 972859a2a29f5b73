"""docs/inceptions.md: every file of it is written and every command run, and prints what the page says."""

import os
import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest

import pellucid as pl
from pellucid.cli.main import run

PAGE = Path(__file__).parents[2] / "docs" / "inceptions.md"
BLOCK = re.compile(r"```(python|)\n(.*?)```\n", flags=re.DOTALL)


def files(text: str) -> Iterator[tuple[str, str]]:
    for language, block in BLOCK.findall(text):
        if language:
            yield block.splitlines()[0].removeprefix("# "), block


def shown(text: str) -> Iterator[tuple[str, str]]:
    """Each command of the page, and what stands below it."""
    for language, block in BLOCK.findall(text):
        if not language:
            for part in block.split("$ ")[1:]:
                command, _, output = part.partition("\n")
                yield command, output.strip("\n")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, source in files(PAGE.read_text(encoding="utf-8")):
        (tmp_path / name).write_text(source, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def printed(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    program, *words = command.split()
    if program == "python":
        runpy.run_path(words[0])
    else:
        assert program == "pellucid" and run(words) == 0, command
    return "\n".join(line.rstrip() for line in capsys.readouterr().out.splitlines()).strip("\n")


def test_every_command_prints_what_the_page_says(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """PELLUCID_GOLDEN=write puts what is printed on the page."""
    text = PAGE.read_text(encoding="utf-8")
    commands = list(shown(text))
    assert len(commands) == 9 and len(list(folder.iterdir())) == 7
    found = {command: printed(command, capsys) for command, _ in commands}
    if os.environ.get("PELLUCID_GOLDEN") == "write":
        for command, output in commands:
            text = text.replace(f"$ {command}\n{output}".rstrip("\n") + "\n", f"$ {command}\n{found[command]}\n")
        PAGE.write_text(text, encoding="utf-8")
    assert dict(shown(PAGE.read_text(encoding="utf-8"))) == found


def millions(one: str, part: str = "block") -> float:
    ends = {end.name: end for end in pl.structure(one).ends}
    return float(ends[part].totals.multiply_adds or 0) / 1e6


def test_what_the_page_says_of_its_figures_is_so(folder: Path) -> None:
    """By arithmetic from the papers: windows, channels and cells."""
    assert folder.exists()
    direct, bottleneck = (millions(f"bottleneck.py:{name}") for name in ("DIRECT", "BOTTLENECK"))
    assert direct == 28 * 28 * 192 * 32 * 25 / 1e6  # 120 million
    assert bottleneck == 28 * 28 * (192 * 16 + 16 * 32 * 25) / 1e6  # 12.4 million
    assert 9 < direct / bottleneck < 11  # "ten times fewer"
    small = {name: pl.structure(f"small_windows.py:{name}") for name in ("LARGE", "SMALL")}
    assert millions("small_windows.py:SMALL") / millions("small_windows.py:LARGE") == 18 / 25  # "28 % fewer"
    assert {found.ends[1].field for found in small.values()} == {(5, 5)}  # "see as much"
    assert millions("row_and_column.py:FACTORED") / millions("row_and_column.py:SQUARE") == 14 / 49
    plain, normed = (pl.structure(f"norms.py:{name}").totals for name in ("PLAIN", "NORMED"))
    assert normed.parameters - plain.parameters == 192 and normed.multiply_adds == plain.multiply_adds
    without, headed = pl.structure("auxiliary.py:NET"), pl.structure("auxiliary.py:NET", auxiliary=True)
    head = 768 * 128 + 2 * 128 + 128 * 768 * 25 + 2 * 768 + 768 * 1000 + 1000
    assert headed.totals.parameters - without.totals.parameters == head == 3_326_696  # torchvision's, too
    assert headed.main_path == without.main_path
    replaced, added = (pl.structure(f"residual.py:{name}") for name in ("REPLACED", "ADDED"))
    assert added.totals.parameters == replaced.totals.parameters and added.main_path == replaced.main_path
    assert [row.name for row in added.rows if row.kind == "addition"] == ["block/add"]
