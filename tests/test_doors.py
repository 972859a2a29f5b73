"""The table in docs/ARCHITECTURE.md is true: every import goes through a door that it names, and none leads back."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "pellucid"
FOUNDATION = {"errors", "spelling", "names", "records", "interruption", "granted"}


def doors() -> dict[str, tuple[set[str], str]]:
    """Room -> (our rooms, the third-party cell), from the table."""
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| ([^|]*) \| ([^|]*)\|$", text, flags=re.MULTILINE)
    return {room: (set(re.findall(r"\w+", ours)), theirs) for room, ours, theirs in rows}


def third_party(cell: str, module: str) -> set[str]:
    """The packages that `module` of the room may import."""
    common, *particular = cell.split(";")
    allowed = set(re.findall(r"\w+", common)) if not common.strip().startswith("[") else set()
    for part in particular if not common.strip().startswith("[") else [common, *particular]:
        name, packages = re.fullmatch(r"\s*\[(\w+)\]\s*(.*?)\s*", part).groups()
        if name == module:
            allowed |= set(re.findall(r"\w+", packages))
    return allowed


def imports(path: Path) -> Iterator[str]:
    """Dotted names of everything imported anywhere in the file, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def room_of(dotted: str) -> str:
    room = dotted.split(".")[1] if "." in dotted else "foundation"
    return "foundation" if room in FOUNDATION else room


ENTRANCES = (PACKAGE / "__init__.py", PACKAGE / "__main__.py")  # what leads from outside to any room
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path not in ENTRANCES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_every_import_goes_through_a_door(path: Path) -> None:
    place = path.relative_to(PACKAGE)
    ours, cell = doors()["foundation" if len(place.parts) == 1 else place.parts[0]]
    allowed = third_party(cell, path.stem)
    for dotted in imports(path):
        package = dotted.split(".")[0]
        if package == "pellucid":
            assert room_of(dotted) in ours, f"{place} imports {dotted}"
        elif package not in sys.stdlib_module_names:
            assert package in allowed, f"{place} imports {dotted}"


def test_the_table_names_every_room() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert rooms | {"foundation"} == set(doors())


def modules() -> dict[str, Path]:
    """Every file by its dotted name."""
    names = {path: path.relative_to(PACKAGE.parent).with_suffix("").parts for path in FILES}
    return {".".join(parts[:-1] if parts[-1] == "__init__" else parts): path for path, parts in names.items()}


def imported(path: Path, known: dict[str, Path]) -> set[str]:
    """The files that a file imports anywhere, also where one is named as an attribute of its room."""
    found = set(imports(path))
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found & known.keys()


def circle(above: dict[str, set[str]]) -> list[str]:
    """Files that import each other in a ring; empty where there are none."""
    left = dict(above)
    while free := [name for name, others in left.items() if not others & left.keys()]:
        for name in free:
            del left[name]
    return sorted(left)


def test_no_two_files_import_each_other() -> None:
    known = modules()
    assert circle({name: imported(path, known) - {name} for name, path in known.items()}) == []


def test_a_circle_would_be_found() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": set()}) == ["a", "b", "c", "d"]


# What a distribution is imported as, where that is another name; and those that others import, or look into, for us.
IMPORTED_AS = {"pillow": "PIL"}
FOR_OTHERS = {
    "openpyxl": "pandas",
    "pyarrow": "pandas",
    "scikit_image": "demo.py",
    "scikit_learn": "demo.py",
    "onnxscript": "torch.onnx",
}


def test_every_dependency_is_imported() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [
        *project["dependencies"],
        *(each for extra in project["optional-dependencies"].values() for each in extra),
    ]
    names = {re.match(r"[\w-]+", each)[0].lower().replace("-", "_") for each in wanted}
    used = {dotted.partition(".")[0] for path in (*FILES, *ENTRANCES) for dotted in imports(path)}
    assert {name for name in names - FOR_OTHERS.keys() if IMPORTED_AS.get(name, name) not in used} == set()


def test_tests_lie_in_the_room_that_they_are_of() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    places = {path.parent.relative_to(ROOT / "tests").as_posix() for path in (ROOT / "tests").rglob("test_*.py")}
    assert places == rooms | {".", "tutorials"}


def test_every_file_that_the_page_names_is_there() -> None:
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:\w+/)+[\w.*]+)`", text)
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir()}
    missing = [
        name
        for name in named
        if not list((PACKAGE if name.partition("/")[0] in rooms else ROOT).glob(name))
        and not name.startswith("runs/NAME")
    ]
    assert len(named) > 50 and missing == []


def files_told() -> dict[str, set[str]]:
    """Room -> the files and folders that the page names of it, one paragraph a room."""
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
    section = text.partition("## Every file")[2].partition("\n## ")[0]
    paragraphs = re.findall(r"^\*\*(\w+)\.\*\* (.*?)(?=\n\n|\Z)", section.strip(), flags=re.MULTILINE | re.DOTALL)
    return {room: set(re.findall(r"`([\w./]+)`", words)) for room, words in paragraphs}


@pytest.mark.parametrize("room", doors())
def test_the_page_names_every_file_of_a_room_and_no_other(room: str) -> None:
    """Under `Every file` in docs/ARCHITECTURE.md, in a few words; a folder of data may be named whole, with a slash."""
    home = PACKAGE if room == "foundation" else PACKAGE / room
    told = files_told()[room]
    folders = {word for word in told if word.endswith("/")}
    files = home.glob("*.py") if room == "foundation" else home.rglob("*.py")
    there = {path.name for path in files if path.name != "__init__.py"}
    assert {word for word in told if word.endswith(".py")} == there
    assert [folder for folder in folders if not (home / folder).is_dir()] == []


def test_every_program_that_measures_is_told_of() -> None:
    text = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in (ROOT / "benchmarks").glob("*.py") if f"`{path.name}" not in text] == []
