"""Every flag of every verb, from a shell: what can be said in Python arrives, however it is written."""

import re
from collections.abc import Iterator
from inspect import signature
from io import StringIO
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import pytest
from pydantic import ValidationError
from rich.console import Console

from pellucid.architectures.options import OPTIONS
from pellucid.cli import main
from pellucid.cli import runs as verbs
from pellucid.cli.flags import FIELD, Text, unwrapped
from pellucid.cli.main import VERBS
from pellucid.cli.runs import RECORDS
from pellucid.networks import own
from pellucid.networks.initialisation import HEADS_OWN, INITIALISATIONS
from pellucid.networks.table_network import TableNetwork
from pellucid.training.config import Config
from pellucid.training.recipes import recipes
from tests.golden import check

WORDS = (
    "word",
    "two words",
    "P=pm,H=nonpm",
    "^(?P<label>[HNP])",
    "-5",
    "-x",
    "--yes",
    "",
    "true",
    "Ünï",
    "{}",
    "[1]",
    "20GB",
)
NUMBERS = (1, 7, 300, -3)
FRACTIONS = (0.5, 1.0, 1e-05, -0.25, 40.0)
ASCENDING = (0.25, 0.5, 1.0, 2, 60, 90)


class Parser:
    """The real one, which says what a verb would have been called with instead of calling it."""

    def __init__(self) -> None:
        self.given: dict[str, Any] = {}

    def __call__(self, arguments: list[str], **how: Any) -> int:
        how.pop("result_action")
        _, bound, _ = APP.parse_args(arguments, **how)
        self.given = bound.arguments | bound.arguments.pop("settings", {}) | bound.kwargs
        return 0


APP = main.app


def members(kind: Any) -> list[Any]:
    if get_origin(kind) in (Union, UnionType):
        return [member for member in get_args(kind) if member not in (NoneType, Text)]
    return [kind]


def values(kind: Any) -> list[Any]:
    """Values of one kind."""
    match get_origin(kind):
        case None:
            known = {bool: (True, False), int: NUMBERS, float: FRACTIONS, str: WORDS, Path: (Path("a b/c.txt"),)}
            return list(known[kind])
        case origin if origin is Literal:
            return list(get_args(kind))
        case origin if origin is list:
            return [["one two", "b", "*.jpg"]]
        case origin if origin is dict:
            return []  # the test below
        case origin if origin is tuple and ... in get_args(kind):
            return [("one two",), ("a", "b/c", "é")]
        case origin if origin is tuple:
            within = [value for value in ASCENDING if get_args(kind)[0] is float or value == int(value)]
            return [tuple(within[-len(get_args(kind)) :]), tuple(within[: len(get_args(kind))])]
    raise AssertionError(f"no values are known of {kind}: add some")


def spelled(flag: Any, value: Any) -> Iterator[list[str]]:
    """All the ways in which a shell may give it: hyphens and underscores, apart and with `=`, --no- and a word."""
    names = [flag.positives[0], flag.positives[0][:2] + flag.positives[0][2:].replace("-", "_")]
    if isinstance(value, bool):
        yield from ([name] for name in (names if value else flag.negatives))
        if value or flag.negatives:
            yield from ([names[0], str(value).lower()], [f"{names[1]}={str(value).lower()}"])
        return
    if isinstance(value, list) or (isinstance(value, tuple) and isinstance(value[0], str)):  # said again for each
        yield from ([word for each in value for word in (name, str(each))] for name in names)
        yield [f"{names[0]}={each}" for each in value]
        return
    words = [str(each) for each in value] if isinstance(value, tuple) else [str(value)]
    number = words[0].removeprefix("-").replace(".", "").replace("e-", "").isdigit()
    for name in names:
        if number or not words[0].startswith("-"):
            yield [name, *words]
        yield [f"{name}={words[0]}", *words[1:]]


def field_of(flag: Any) -> tuple[Any, str] | None:
    """The record and its field that a flag is for."""
    place, _, field = flag.field_info.name.partition(FIELD)
    return (RECORDS[place], field) if field and place in RECORDS else None


def variants(flag: Any) -> list[tuple[list[str], Any]]:
    """What can be said of a flag, with what is to arrive: every value that Python takes, and every way to spell one."""
    found = field_of(flag)
    kind = found[0].model_fields[found[1]].annotation if found else flag.hint
    said: list[tuple[list[str], Any]] = []
    for member in members(kind):
        taken = [value for value in values(member) if flag.name.startswith("-") or value]
        if found:
            taken = [getattr(read, found[1]) for value in taken if (read := as_python_takes_it(found, value))]
        assert taken or get_origin(member) is dict, f"no value of {flag.name} was found: add some"
        for turn, value in enumerate(taken):
            if flag.name[0] != "-":
                said.append((list(value) if isinstance(value, list) else [str(value)], value))
                continue
            ways = list(spelled(flag, value))
            several = 1 < len(ways) <= len(taken)  # then each is spelled in one way
            said += [(words, value) for words in ([ways[turn % len(ways)]] if several else ways)]
    return said


def as_python_takes_it(field: tuple[Any, str], value: Any) -> Any:
    try:
        return field[0].model_validate({field[1]: value})
    except ValidationError:
        return None


@pytest.mark.parametrize("verb", VERBS)
def test_what_can_be_said_in_python_can_be_said_in_a_shell(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [flag for flag in APP[verb].assemble_argument_collection() if flag.parse]
    said = {flag.field_info.name: each for flag in flags if (each := variants(flag))}
    places = [flag.field_info.name for flag in flags if flag.name[0] != "-"]
    fields = {flag.field_info.name: found for flag in flags if (found := field_of(flag))}
    required = {flag.field_info.name for flag in flags if flag.required} | set(places)
    parser = Parser()
    monkeypatch.setattr(main, "app", parser)
    for row in range(max(map(len, said.values()), default=0)):
        chosen = {name: each[row % len(each)] for name, each in said.items() if row < len(each) or name in required}
        first = [word for name, (words, _) in chosen.items() if name not in places for word in words]
        last = [word for name in places for word in chosen[name][0]]
        assert main.run([verb, *first, "--", *last]) == 0, (first, last, capsys.readouterr().err)
        for name, (words, value) in chosen.items():
            given = parser.given[name]
            if name in fields:
                record, field = fields[name]
                given = getattr(record.model_validate({field: given}), field)
            assert given == value or str(given) == str(value), (verb, words)


@pytest.mark.parametrize(
    ("words", "arrived"),
    [
        (["--input.resize", "224"], 224),
        (["--input.resize", "224", "240"], (224, 240)),
        (["--input.resize=224", "240"], (224, 240)),
        (["--input.resize", "224x240"], (224, 240)),
        (["--input.resize", "native"], "native"),
        (["--input.resize", "224", "--epochs", "3"], 224),
    ],
)
def test_images_are_resized_to_a_side_or_to_two(
    words: list[str], arrived: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert trained(words, monkeypatch).input.resize == arrived


@pytest.mark.parametrize(
    ("words", "arrived"),
    [
        (["--options.norm-decay", "0.5"], {"norm_decay": 0.5}),
        (["--options.norm_decay=0"], {"norm_decay": 0.0}),
        (["--options.width", "1"], {"width": 1.0}),
        (["--options.auxiliary"], {"auxiliary": True}),
        (["--options.auxiliary", "true"], {"auxiliary": True}),
        (["--options.no-auxiliary"], {"auxiliary": False}),
        (["--options.initialisation", "tf_slim"], {"initialisation": "tf-slim"}),
        (["--options.dropout", "none"], {}),
        (["--model", "timm/resnet18", "--options.dropout", "0.1"], {"dropout": 0.1}),
        (["--model", "net.py:Net", "--options.deep-head", "3"], {"deep_head": "3"}),
    ],
)
def test_a_networks_own_settings_are_flags_like_others(
    words: list[str], arrived: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = trained(words, monkeypatch).options
    assert said == arrived and [type(value) for value in said.values()] == [type(value) for value in arrived.values()]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--options.depth", "3"], ["no option 'depth'", "width, dropout"]),
        (["--options.norm-decy", "3"], ["did you mean norm_decay?"]),
        (["--options.width", "wide"], ["width is a number, not 'wide'"]),
        (["--options.conventions", "torsh"], ["did you mean torch?"]),
        (["--model", "timm/resnet18", "--options.width", "1"], ["no option 'width'", "it has dropout"]),
        (["--input.mean", "1", "2"], ["nothing takes 2", "--input.mean takes FLOAT FLOAT FLOAT"]),
        (["--label-from", "-x"], ["--label-from=-x"]),
        (["--epochs", "3", "--epochs", "4"], ["--epochs"]),
    ],
)
def test_what_cannot_be_said_is_refused_with_what_can(
    words: list[str], told: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["train", "photos", *words]) == 2
    shown = capsys.readouterr().err
    assert all(each in shown for each in told), shown


@pytest.mark.parametrize(
    "words",
    [
        ["train", "photos", "--epochs", "1.5"],
        ["train", "photos", "--samplings", "2.4"],
        ["show", "photos", "--out", "a.png", "--most", "2.5"],
        ["bench", "small", "--steps", "-0.5"],
    ],
)
def test_a_number_that_should_be_whole_is_refused_and_not_rounded(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(words) == 2
    assert f'"{words[-1]}" into int' in capsys.readouterr().err


def test_a_whole_number_may_be_written_with_a_point(monkeypatch: pytest.MonkeyPatch) -> None:
    assert trained(["--epochs", "20.0"], monkeypatch).learning.epochs == 20


def trained(words: list[str], monkeypatch: pytest.MonkeyPatch) -> Config:
    """The configuration that `pellucid train photos WORDS` comes to."""
    caught: list[Config] = []
    monkeypatch.setattr(verbs, "_train", lambda config: caught.append(config) or 0)
    assert main.run(["train", "photos", *words]) == 0
    return caught[0]


def test_the_settings_of_networks_are_those_that_build_them() -> None:
    made = {name: each for name, each in signature(TableNetwork.__init__).parameters.items() if name != "size"}
    assert set(OPTIONS) == {name for name, each in made.items() if each.kind is each.KEYWORD_ONLY}
    assert set(OPTIONS["initialisation"].words) == set(INITIALISATIONS)
    assert set(OPTIONS["head_initialisation"].words) == set(HEADS_OWN)


@pytest.mark.parametrize(
    ("default", "text", "arrived"),
    [(4, "5", 5), (False, "true", True), ("relu", "5", "5"), (0.5, "1", 1.0), (None, "1", 1), (None, "gelu", "gelu")],
)
def test_ones_own_network_is_made_with_what_its_parameters_want(default: Any, text: str, arrived: Any) -> None:
    def make(classes: int, it: Any = default) -> Any:
        return (classes, it)

    del make.__annotations__["it"]
    made = own.made(own.Own("net.py:make", given=make), 2, size=32, options={"it": text})
    assert made == (2, arrived) and type(made[1]) is type(arrived)


def test_help_lists_the_settings_of_networks() -> None:
    shown = {flag.name: flag.parameter.help for flag in APP["train"].assemble_argument_collection() if flag.show}
    assert {
        f"--options.{name.replace('_', '-')}": each.about for name, each in OPTIONS.items()
    }.items() <= shown.items()


def test_help_names_every_recipe_and_breaks_lines_where_a_terminal_ends(capsys: pytest.CaptureFixture[str]) -> None:
    main.run(["train", "--help"])
    shown = " ".join(word for line in capsys.readouterr().out.splitlines() for word in line.strip("│ ").split())
    assert all(name in shown for name in recipes())
    assert (
        "a name that `pellucid models` lists, timm/NAME, or your own as FILE.py:NAME or package.module:NAME." in shown
    )


@pytest.mark.parametrize("verb", VERBS)
def test_help_tells_what_holds_where_a_flag_is_left_out(verb: str) -> None:
    """Once, in the same words; of what is off unless somebody says otherwise, it goes without saying."""
    main.run([verb, "--help"])
    console = Console(file=StringIO(), width=2000)  # a line per flag
    main.app.help_print([verb], console=console)
    for box in console.file.getvalue().split("╭")[1:]:  # type: ignore[attr-defined]
        for line in box.splitlines():
            if re.match(r"│ +(--\S+ )+[A-Z]|│ +[A-Z]+  ", line) and "  As --" not in line:
                told = line.count("Default: ") or box.count("Default of each: ")
                assert told == 1 and "[default" not in line, line


def test_paragraphs_of_help_are_a_line_each() -> None:
    doc = "One.\n\n    Two\n    lines.\n\n    Parameters\n    ----------\n"
    doc += "    x\n        Three\n        lines.\n    y\n        Four."
    said = "One.\n\nTwo lines.\n\nParameters\n----------\nx\n    Three lines. More.\ny\n    Four.\n"
    assert unwrapped(doc, {"x": "More."}) == said


def test_no_flag_of_a_verb_is_lost_or_called_otherwise_without_anybody_noticing() -> None:
    lines = []
    for verb in VERBS:
        flags = [flag for flag in APP[verb].assemble_argument_collection() if flag.parse]
        lines += [verb, *(f"  {' '.join(flag.names)}" for flag in flags)]
    check("cli/flags", "\n".join(lines))
