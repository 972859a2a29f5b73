"""One text for two readers: settings are written as flags, and read as arguments by whoever called a function.

`--input.size 96` in a shell is `input={"size": 96}` in Python, `--only-known` is `only_known=True`, and a flag without
a value (a larger --train) is the argument's name. `pellucid resume RUN` is `pl.resume("RUN")`; commands that have no
function stay commands.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

_shell = False  # of the whole process: whoever typed a command reads what its threads say, too

SWITCHES = (  # what needs no value
    *("only_known", "skip_unreadable", "ignore_parts", "per_class", "one_logit", "class_weights", "balanced_sampling"),
    *("backward", "time", "all", "end_points", "auxiliary"),
)
WORDS = (  # that may follow a flag as its value, and are no part of the sentence
    *("scratch", "probe", "finetune", "sgd", "adamw", "solve", "cpu", "cuda", "mps", "float16", "float32", "bfloat16"),
    *("none", "off", "auto", "native", "learned", "kept", "solved", "random", "constant", "cosine", "step"),
    *(
        "torch",
        "tensorflow",
        "pellucid",
        "torchvision",
        "timm",
        "keras",
        "paddle",
        "tf-slim",
        "imagenet",
        "own",
        "rest",
    ),
    *("manifest", "copy", "link", "table", "class-folders", "split-folders", "file-names", "train", "validation"),
    *("test", "all", "text", "json", "csv", "html", "files", "first-batch", "curves", "results", "RGB", "BGR"),
)
RENAMED = {"model_code": "model"}  # arguments that have another name
FUNCTIONS = ("train", "resume", "evaluate", "structure", "bench")

NUMBER = r"-?\d+(?:\.\d+)?(?:e-?\d+)?"
VALUE = "|".join(
    (
        r"'[^']*'|\"[^\"]*\"",
        rf"{NUMBER}(?: {NUMBER})+(?![\w.])",
        rf"{NUMBER}(?:%|[smh]|[KMGT]?B)?(?![\w%])(?!\.\d)",
        rf"(?:{'|'.join(sorted(WORDS, key=len, reverse=True))})(?![\w-])",
        r"[A-Za-z]\w*=[^\s;,]+(?:,\w+=[^\s;,]+)*",
        r"[\w.~-]*[/\\](?:[^\s;,`]*[^\s;,.`])?",  # a path
        r"\w+\.\w+(?::\w+)?",  # a file, and a name in it
        r"[A-Z]\w+",  # a placeholder, or an end point
        r"[a-z]+_?\d\w*",  # an end point
    )
)
ONE = re.compile(rf"--(?P<name>[a-z][\w-]*(?:\.[a-z][\w-]*)*)(?:[ =](?P<value>{VALUE}))?")
_ANY = re.sub(r"\?P<\w+>", "?:", ONE.pattern)
SOME = re.compile(rf"(?<![\w-]){_ANY}(?: {_ANY})*")
COMMAND = re.compile(rf"`pellucid ({'|'.join(FUNCTIONS)})((?: [^`]*)?)`")


@contextmanager
def in_a_shell() -> Iterator[None]:
    """Within, whoever reads has typed a command."""
    global _shell
    before, _shell = _shell, True
    try:
        yield
    finally:
        _shell = before


def spelled(text: str) -> str:
    """`text`, which names settings as flags, for whoever reads it here."""
    return text if _shell else as_python(text)


def as_python(text: str) -> str:
    """Flags as arguments; what stands in backticks and is no function of ours stays as it is."""
    parts = re.split(r"(`pellucid [^`]*`)", text)
    return "".join(_command(part) if part.startswith("`pellucid ") else _sentence(part) for part in parts)


def _command(part: str) -> str:
    found = COMMAND.fullmatch(part)
    if not found:
        return part
    verb, rest = found.groups()
    places = [word for word in SOME.sub("", rest).split() if word]
    said = [each for sequence in SOME.finditer(rest) for each in _arguments(sequence[0])]
    given = [word if word.isupper() else f'"{word}"' for word in places]
    return f"`pl.{verb}({', '.join([*given, *said])})`" if given or said else f"`pl.{verb}`"


def _sentence(text: str) -> str:
    def said(sequence: re.Match[str]) -> str:
        return ", ".join(_arguments(sequence[0], bare=text.startswith(":", sequence.end())))

    return SOME.sub(said, text)


def _arguments(flags: str, *, bare: bool = False) -> list[str]:
    """Each flag of a sequence as an argument; the fields of a record together. `bare`: what needs no value is named."""
    said: dict[str, str] = {}
    records: dict[str, dict[str, str]] = {}
    for found in ONE.finditer(flags):
        place, _, field = found["name"].replace("-", "_").partition(".")
        name, value = field or place, found["value"]
        if value is None and name.startswith("no_") and name[3:] in SWITCHES:
            name, written = name[3:], "False"
        else:
            written = "True" if value is None and name in SWITCHES and not bare else _value(value)
        if not field:
            name = RENAMED.get(name, name)
            said[name] = f"{name}={written}" if written else f"`{name}`"
        elif written:
            records.setdefault(place, {})[name] = written
            fields = ", ".join(f'"{key}": {each}' for key, each in records[place].items())
            said[place] = f"{place}={{{fields}}}"
        else:
            said[found["name"]] = f'`{place}["{name}"]`'
    return list(said.values())


def _value(text: str | None) -> str:
    if text is None:
        return ""
    if text[0] in "'\"":
        return text
    if re.fullmatch(NUMBER, text):
        return text
    if re.fullmatch(rf"{NUMBER}(?: {NUMBER})+", text):
        return f"({', '.join(text.split())})"
    placeholder = re.fullmatch(r"[A-Z_]+(?:\.py:[A-Z]+)?", text) and text not in WORDS
    return text if placeholder and ":" not in text else f'"{text}"'
