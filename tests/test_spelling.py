"""Hints are spelled for whoever reads them: flags in a shell, arguments in Python."""

import ast
import re
from collections.abc import Iterator
from inspect import signature
from pathlib import Path

import pytest

import pellucid as pl
from pellucid import spelling
from pellucid.cli.main import VERBS, app, run
from pellucid.errors import UserError
from pellucid.networks.loading import load_weights
from pellucid.spelling import SOME, _arguments, as_python, in_a_shell
from pellucid.training.configure import configure
from pellucid.uses.adopt import adopt
from pellucid.uses.parity import compare
from tests.pictures import make_classes

PACKAGE = Path(pl.__file__).parent
SAID_IN_A_SHELL_ALONE = ("cli/", "reports/", "images/placing.py", "runs/provenance.py", "spelling.py")
NAMES_CODE = (
    "spelling.py",
    "cli/flags.py",
    "networks/own_network.py",
    "reports/drawing.py",
)  # what stands in one's own file; SVG
ARGUMENTS = {
    name
    for function in (
        configure,
        pl.evaluate,
        pl.bench,
        pl.load,
        pl.structure,
        pl.split,
        pl.export,
        adopt,
        compare,
        load_weights,
    )
    for name in signature(function).parameters
} | {"conventions", "dropout", "labels", "map", "path_column", "label_column", "split_column"}  # by **options


@pytest.fixture(autouse=True)
def in_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spelling, "_shell", False)


def texts() -> Iterator[tuple[str, str]]:
    """Every text in the package that is no docstring, with `x1` for what is put into it."""
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE).as_posix()
        tree = ast.parse(path.read_text(encoding="utf-8"))
        inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)} - {
            id(node) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)
        }
        inside |= {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if id(node) in inside:
                continue
            if isinstance(node, ast.JoinedStr):
                parts = [str(part.value) if isinstance(part, ast.Constant) else "x1" for part in node.values]
                yield f"{place}:{node.lineno}", "".join(parts)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield f"{place}:{node.lineno}", node.value


def without_commands(text: str) -> str:
    return re.sub(r"`pellucid [^`]*`", "", text)


def test_no_message_of_a_function_names_a_flag() -> None:
    said = [(place, as_python(text)) for place, text in texts() if not place.startswith(SAID_IN_A_SHELL_ALONE)]
    assert [each for each in said if re.search(r"--[a-z]", without_commands(each[1]))] == []


def test_every_flag_that_is_named_is_one_and_every_argument_too() -> None:
    flags = {name for verb in VERBS for flag in app[verb].assemble_argument_collection() for name in flag.names}
    seen = 0
    for place, text in texts():
        if place.startswith(SAID_IN_A_SHELL_ALONE) or "\\1" in text:  # a pattern to put flags in
            continue
        for found in SOME.finditer(text):
            names = re.findall(r"--[\w.-]+", found[0])
            assert set(names) <= flags | {"--x1"}, (place, text)  # a flag that is put into the text
            said = [each for each in _arguments(found[0]) if not each.startswith("`")]
            call = ast.parse(f"f({', '.join(said)})").body[0].value  # type: ignore[attr-defined]
            assert {each.arg for each in call.keywords} <= ARGUMENTS | {"x1"}, (place, text)
            seen += len(names)
    assert seen > 100


def test_no_message_in_a_shell_is_spelled_as_python() -> None:
    arguments = "|".join(sorted(ARGUMENTS - {"net", "data", "network", "report", "model", "samples"}))
    spelled = re.compile(rf"\bpl\.\w+\(|\bin Python\b|(?<![-\w.])(?:{arguments})=(?:\d|True|False|None|['\"x])")
    found = [
        (place, text)
        for place, text in texts()
        if spelled.search(text) and "<" not in text and not place.startswith(NAMES_CODE)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("shell", "python"),
    [
        ("--input.size 96 is what it was made for", 'input={"size": 96} is what it was made for'),
        ("a larger --train, or another --seed", "a larger `train`, or another `seed`"),
        ("leave --workers out: this machine has 2 cores", "leave `workers` out: this machine has 2 cores"),
        ("--only-known leaves others out", "only_known=True leaves others out"),
        ("--budget 90s, or fewer images (--train)", 'budget="90s", or fewer images (`train`)'),
        ("--mode finetune --train-from conv5_x trains them", 'mode="finetune", train_from="conv5_x" trains them'),
        ("--weights FILE takes a file, --mode scratch", 'weights=FILE takes a file, mode="scratch"'),
        ("--label-from '^(?P<label>[a-z]+)' takes it", "label_from='^(?P<label>[a-z]+)' takes it"),
        ("--map P=pm,H=nonpm", 'map="P=pm,H=nonpm"'),
        ("--labels 'my table.csv'", "labels='my table.csv'"),
        ("elsewhere: --validation-from.data more/.", 'elsewhere: validation_from={"data": "more/"}.'),
        ("--labels d/labels.csv.", 'labels="d/labels.csv".'),
        ("--model net.py:Net trains it", 'model="net.py:Net" trains it'),
        ("--input.mean 0.5 0.5 0.5 --input.channels RGB, or", 'input={"mean": (0.5, 0.5, 0.5), "channels": "RGB"}, or'),
        ("a larger --input.std: some", 'a larger `input["std"]`: some'),
        ("--batch 2 or more", "batch=2 or more"),
        ("`pellucid resume runs/one` goes on", '`pl.resume("runs/one")` goes on'),
        ("`pellucid train DATA --weights FILE` makes one", "`pl.train(DATA, weights=FILE)` makes one"),
        ("`pellucid runs` lists them", "`pellucid runs` lists them"),
        ("a dash -- and 3--4, x--y", "a dash -- and 3--4, x--y"),
    ],
)
def test_a_flag_is_an_argument_in_python(shell: str, python: str) -> None:
    assert as_python(shell) == python
    error = UserError("it cannot be", ["that is --rate"], hint=shell)
    assert str(error) == f"it cannot be\n  that is `rate`\nhint: {python}"
    with in_a_shell():
        assert str(error) == f"it cannot be\n  that is --rate\nhint: {shell}"


def test_the_same_error_is_spelled_for_its_reader(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = make_classes(tmp_path / "photos", images=3)
    with pytest.raises(UserError) as caught:
        pl.train(photos, model="small", workers=100_000, runs=tmp_path / "runs")
    assert "leave `workers` out" in str(caught.value)
    flags = ["--model", "small", "--workers", "100000", "--runs", str(tmp_path / "runs")]
    assert run(["train", str(photos), *flags]) == 2
    assert "leave --workers out" in capsys.readouterr().err
    assert "leave `workers` out" in str(caught.value)  # a command that has ended changes nothing


def test_help_is_spelled_for_its_reader(capsys: pytest.CaptureFixture[str]) -> None:
    for function in (pl.train, pl.configure):
        assert not re.search(r"--[a-z]", function.__doc__ or "") and 'options={"width": 0.5}' in function.__doc__
    assert run(["train", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "--options.width" in shown and "in Python" not in shown
