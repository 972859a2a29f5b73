"""The flags of a function: one for each of its arguments, and for each field of those that are records.

A record's field is a flag of its own, since cyclopts drops what comes after the first word where a field may be one
number or two. What is said of a field is text until the record reads it, as it reads a recipe.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from inspect import Parameter as Argument
from inspect import cleandoc, signature
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from cyclopts import Group, Parameter, Token
from pydantic.fields import FieldInfo

from pellucid.architectures.options import OPTIONS
from pellucid.cli.whole import whole
from pellucid.images.labels import parse_map
from pellucid.images.samples import READING, Source
from pellucid.records import Described
from pellucid.training.defaults import help_of

FIELD = "__"  # between a record's name and its field's, in the name of what holds a flag
DATA_GROUP = Group("Data", help="Which images there are, how they are read, and how they are divided.", sort_key=8)
OPTIONS_GROUP = Group("Options", help="Settings of a network that `pellucid models` lists.", sort_key=9)
READ_BY = {name: Source.model_fields[field] for name, field in READING.items()}  # of every verb that reads data
IN_PYTHON = re.compile(r"\s*\(in Python [^()]*\)")  # a remark for others


class Text(str):
    """What no other kind is: any text, which a record reads or refuses.

    pydantic does not know it, so that cyclopts leaves values as they are instead of refusing them in its own words.
    """


def shown_as(
    verb: Callable[..., Any],
    function: Callable[..., Any],
    *,
    records: Mapping[str, type[Described]],
    types: Mapping[str, Any] | None = None,
    options: str = "",
    data: Mapping[str, FieldInfo] | None = None,
    short: Mapping[str, str] | None = None,
    about: Mapping[str, str] | None = None,
    doc: str = "",
) -> None:
    """Give `verb` the flags and the help of `function`: a flag for each field of `records`, and for what a network
    defined here has to be set, where `options` names an argument. `data` are arguments that are fields as well;
    `short`, the arguments that set a field of a record, by its dotted name. `types` say what a shell gives; `about`,
    more help; `doc` the help, where the function's own is for Python.

    The verb is called with what was said alone, to be put together by `gathered`.
    """
    arguments: list[Argument] = []
    for name, argument in signature(function).parameters.items():
        if name in records:
            arguments += _of_record(name, records[name], short or {})
        elif name in (data or {}):
            arguments.append(_of_field(name, (data or {})[name], DATA_GROUP))
        elif name == options:
            arguments += _of_options(name, argument)
        else:
            kind = (types or {}).get(name, argument.annotation)
            arguments.append(argument.replace(annotation=_plain(kind)))
    verb.__doc__ = unwrapped(doc or function.__doc__ or "", about or {})
    verb.__annotations__ = {argument.name: argument.annotation for argument in arguments}
    verb.__signature__ = signature(function).replace(parameters=arguments)  # type: ignore[attr-defined]


def with_data(verb: Callable[..., Any], fields: Mapping[str, FieldInfo]) -> None:
    """Give a verb that takes `**settings` a flag about data for each of `fields`."""
    own = [one for one in signature(verb).parameters.values() if one.kind is not Argument.VAR_KEYWORD]
    flags = [_of_field(name, field, DATA_GROUP) for name, field in fields.items()]
    verb.__annotations__ |= {flag.name: flag.annotation for flag in flags}
    verb.__signature__ = signature(verb).replace(parameters=[*own, *flags])  # type: ignore[attr-defined]


def unwrapped(doc: str, about: Mapping[str, str] | None = None) -> str:
    """A docstring with a line a paragraph, and `about` (by argument) added: a terminal breaks lines where it ends."""
    doc = IN_PYTHON.sub("", doc)
    paragraphs: list[list[str]] = []
    before = ""
    for line in cleandoc(doc).split("\n"):
        inside = line.startswith("    ")
        if (
            paragraphs
            and line.strip()
            and inside == before.startswith("    ")
            and before.strip()
            and not _rule(line, before)
        ):
            paragraphs[-1].append(line.strip())
        else:
            paragraphs.append([line.rstrip()])
        before = line
    joined = [" ".join(lines) for lines in paragraphs]
    for place, line in enumerate(joined[1:], start=1):
        if more := (about or {}).get(joined[place - 1]):
            joined[place] = f"{line} {more}"
    return "\n".join(joined) + "\n"


def defaults(function: Callable[..., Any]) -> dict[str, str]:
    """By argument, a sentence with its default; what is off or none unless somebody says otherwise needs none."""
    given = {name: argument.default for name, argument in signature(function).parameters.items()}

    def told(value: Any) -> bool:
        return not any(value is each for each in (None, False, Argument.empty))

    return {name: f"Default: {value}." for name, value in given.items() if told(value)}


def _rule(*lines: str) -> bool:
    """Whether one of them underlines a heading, which is no paragraph."""
    return any(line and not line.strip("-") for line in lines)


def gathered(said: Mapping[str, Any], *, records: Mapping[str, type[Described]], options: str = "") -> dict[str, Any]:
    """What was said, by argument: fields in their records, and a network's settings in one mapping.

    Raises UserError for what a record refuses.
    """
    given: dict[str, Any] = {}
    parts: dict[str, dict[str, Any]] = {}
    for name, value in said.items():
        place, _, field = name.partition(FIELD)
        if field and value is not None:
            parts.setdefault(place, {})[field] = value
        elif not field and not (name == options and value is None):
            given[name] = value
    if options and (set_there := parts.pop(options, {}) | _underscored(given.pop(options, {}))):
        given[options] = set_there
    return given | {
        place: records[place].from_fields(fields, f"--{place}", called=partial(_flag_in, place))
        for place, fields in parts.items()
    }


def _flag_in(place: str, field: str) -> str:
    return flag_of(f"{place}{FIELD}{field}")


def reading(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a Source that flags came to."""
    said = {READING[name]: value for name, value in settings.items() if name in READING and value is not None}
    return said | ({"map": parse_map(said["map"])} if "map" in said else {})


def flag_of(name: str) -> str:
    """How an argument of a verb is spelled in a shell."""
    return "--" + name.replace(FIELD, ".").replace("_", "-")


def _of_record(name: str, record: type[Described], short: Mapping[str, str]) -> list[Argument]:
    group = Group(name.replace("_", " ").capitalize(), help=" ".join((record.__doc__ or "").split()), sort_key=10)
    return [
        _of_field(f"{name}{FIELD}{field}", info, group, short.get(f"{name}.{field}"))
        for field, info in record.model_fields.items()
    ]


def _of_field(name: str, field: FieldInfo, group: Group, short: str | None = None) -> Argument:
    about = f"As {flag_of(short)}." if short else help_of(field, name.replace(FIELD, "."))
    return _flag(name, field.annotation, group, about)


def _of_options(name: str, argument: Argument) -> list[Argument]:
    """A flag for each, and one for those of one's own network, which nobody knows before its code is run."""
    known = [_flag(f"{name}{FIELD}{each}", one.kind, OPTIONS_GROUP, one.about) for each, one in OPTIONS.items()]
    return [*known, argument.replace(annotation=dict[str, str] | None)]


def _flag(name: str, kind: Any, group: Group, about: str) -> Argument:
    # No defaults are shown: what is not said comes from the recipe.
    kind = str if get_origin(kind) is dict else kind
    shown = Parameter(
        name=flag_of(name),
        group=group,
        help=" ".join(about.split()),
        show_default=False,
        metavar=_metavar(kind),
        converter=None if _repeated(kind) else _as_said,
    )
    said: Any = list[str] if _repeated(kind) else _in_a_shell(kind)
    hint: Any = Annotated[said | None, shown]
    return Argument(name, Argument.KEYWORD_ONLY, default=None, annotation=hint)


def _in_a_shell(kind: Any) -> Any:
    """What may follow a flag, the longest first: or the first of two numbers would be taken for one."""
    if kind is bool:
        return bool
    members = _members(kind)
    several = [member for member in members if get_origin(member) is tuple]
    return Union[(*several, *(member for member in members if member not in several), Text)]


def _repeated(kind: Any) -> bool:
    """Whether a flag is said again for each of its values."""
    return any(get_origin(member) is list or ... in get_args(member) for member in _members(kind))


def _members(kind: Any) -> list[Any]:
    if get_origin(kind) in (Union, UnionType):
        return [member for member in get_args(kind) if member is not NoneType]
    return [kind]


def _metavar(kind: Any) -> str:
    """INT, FLOAT FLOAT, INT|CHOICE: what cyclopts would say of the kind without any text."""
    words = []
    for member in _members(kind):
        match get_origin(member):
            case None:
                words.append(member.__name__.upper())
            case origin if origin is tuple:
                words.append(" ".join(each.__name__.upper() for each in get_args(member) if each is not ...))
            case _:
                words.append("CHOICE")
    return "|".join(dict.fromkeys(words))


def _as_said(kind: Any, tokens: Sequence[Token]) -> Any:
    """The text of one word or several; a choice as it is spelled here, where it was written with other hyphens."""
    if len(tokens) > 1:
        return [token.value for token in tokens]
    said = tokens[0].value
    choices = [word for member in (kind, *get_args(kind)) if get_origin(member) is Literal for word in get_args(member)]
    alike = [word for word in choices if str(word).replace("-", "_") == said.replace("-", "_")]
    return alike[0] if alike else said


def _plain(kind: Any) -> Any:
    """An argument that is no record; `none` takes back what a recipe says, where None says nothing."""
    if NoneType not in get_args(kind) or bool in get_args(kind) or _repeated(kind):
        return kind

    def said(_: Any, tokens: Sequence[Token]) -> Any:
        return "none" if [token.value for token in tokens] == ["none"] else whole(kind, tokens)

    either: Any = Union[(*_members(kind), Text)]
    return Annotated[either | None, Parameter(converter=said, metavar=_metavar(kind))]


def _underscored(options: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("-", "_"): value for name, value in options.items()}
