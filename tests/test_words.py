"""One word, one meaning: docs/words.md says which, and no text that users read says what is never said."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pellucid.cli.main import VERBS, app

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "pellucid"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Names of other people's things, which are theirs to choose: operations of torch, words in the names of folders.
THEIRS = ("inspection/costs.py", "images/part_words.py")
CODE = re.compile(r"[a-z0-9_.]*")  # a name, not a sentence


def never() -> list[str]:
    text = (ROOT / "docs" / "words.md").read_text(encoding="utf-8")
    cells = re.findall(r"^\| [^|]+ \| [^|]+ \| ([^|]*)\|$", text, flags=re.MULTILINE)
    return [word.strip() for cell in cells[1:] for word in cell.split(",") if word.strip(" -")]


FORBIDDEN = re.compile(rf"\b({'|'.join(map(re.escape, never()))})s?\b", re.IGNORECASE)


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """All that a file says in sentences: docstrings, help, errors, reports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and not CODE.fullmatch(node.value):
            yield node.lineno, " ".join(node.value.split())


def test_the_page_says_what_is_never_said() -> None:
    assert {"bundle", "duplicate", "pixels a side"} <= set(never())
    assert FORBIDDEN.search("48 Images a Second") and not FORBIDDEN.search("48 images per second")


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_sentence_says_what_is_never_said(path: Path) -> None:
    if path.relative_to(PACKAGE).as_posix() in THEIRS:
        return
    assert [(line, text) for line, text in texts(path) if FORBIDDEN.search(text)] == []


@pytest.mark.parametrize("path", [*sorted(PACKAGE.rglob("*.html")), *PAGES], ids=lambda path: path.name)
def test_no_page_does_either(path: Path) -> None:
    if path.name == "words.md":
        return
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if FORBIDDEN.search(line)] == []


@pytest.mark.parametrize("verb", VERBS)
def test_no_help_does_either(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    app([verb, "--help"], exit_on_error=False, print_error=False, result_action="return_value")
    assert FORBIDDEN.findall(" ".join(capsys.readouterr().out.split())) == []
