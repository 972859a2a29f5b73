"""The base of every record, and writing files whole or not at all."""

import json
import math
import os
import re
import secrets
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Self, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from pellucid.errors import UserError, listed, nearest, of_system
from pellucid.names import kind_of, shown

PIPES = ("/dev/fd/", "/dev/stdin", "/proc/self/fd/")  # what a shell opened for us: `<(command)`
SCRATCH = re.compile(r"\.(.+)\.[0-9a-f]{8}")  # names of what is being written, see `scratch_name`


# What is wanted, by how pydantic calls its errors (int_parsing, int_from_float, ...): their longest beginning decides.
WANTED = {
    **{"int": "a whole number", "float": "a number", "bool": "true or false", "string": "a text", "none": "nothing"},
    **{"dict": "a table of settings", "mapping": "a table of settings", "model": "a table of settings"},
    **{"list": "a list", "tuple": "a list", "set": "a list", "literal_error": "{expected}", "enum": "{expected}"},
    **{"greater_than": "more than {gt}", "greater_than_equal": "at least {ge}", "finite_number": "a finite number"},
    **{"less_than": "less than {lt}", "less_than_equal": "at most {le}", "date": "a date", "time": "a time"},
    **{"too_short": "at least {min_length} values", "too_long": "at most {max_length} values"},
    **{"string_too_short": "a text of at least {min_length} letters", "missing": "more values"},
    **{"string_too_long": "a text of at most {max_length} letters"},
}


class Record(BaseModel):
    """Frozen data with named fields; a field that is not known is refused by name, never dropped.

    Numbers are finite: JSON has no word for others, so that a file of them could not be read again. What may be
    undefined is None. Bytes in a file's name that are no text are escaped in JSON (names.shown).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes, where: str, hint: str = "") -> Self:
        """Read one record from JSON; `where` names the source in the error, `hint` the next step."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as cause:
            raise refusal(cls, cause, where, hint) from cause

    @classmethod
    def from_fields(
        cls, fields: dict[str, Any], where: str, hint: str = "", *, called: Callable[[str], str] = str
    ) -> Self:
        """Read one record from plain values (TOML, flags); `where` names the source in the error, `called` a field."""
        try:
            return cls.model_validate(fields)
        except ValidationError as cause:
            raise refusal(cls, cause, where, hint, called=called) from cause

    def model_dump_json(self, *, indent: int | None = None, **options: Any) -> str:
        try:
            return super().model_dump_json(indent=indent, **options)
        except ValueError:  # pydantic's encoder refuses a name with bytes that are no text
            tight = (",", ":") if indent is None else None
            values = self.model_dump(mode="json", **options)
            return json.dumps(_plain(values), indent=indent, separators=tight, ensure_ascii=False)

    def to_json(self) -> str:
        return self.model_dump_json(indent=2) + "\n"


class Described(Record):
    """A record whose fields are flags too: the line under a field is its help. `none` takes back what a recipe says."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _taken_back(cls, values: Any) -> Any:
        """`none` for None, where the field has that and no such word of its own."""
        if not isinstance(values, Mapping):
            return values
        return {
            name: None if value == "none" and NoneType in _choices(cls, name) else value
            for name, value in values.items()
        }


def _choices(record: type[BaseModel], name: str) -> tuple[Any, ...]:
    field = record.model_fields.get(name)
    return get_args(field.annotation) if field else ()


def refusal(
    record: type[BaseModel],
    cause: ValidationError,
    where: str,
    hint: str = "",
    *,
    called: Callable[[str], str] = str,
) -> UserError:
    """The user's error for values that do not fit `record`: each field, what it was given, the nearest right name.

    `called` says how whoever gave them calls the field at a dotted place, a list as a whole.
    """
    problems, hints = [], []
    told: dict[tuple[int | str, ...], list[Any]] = {}
    for error in cause.errors():
        loc = _field_at(record, error)
        numbers = [at for at, part in enumerate(loc) if isinstance(part, int) and called is not str]
        told.setdefault(loc[: numbers[0]] if numbers else loc, []).append(error)
    for loc, errors in told.items():
        place = called(".".join(map(str, loc))) if loc else ""
        match errors[0]["type"]:
            case "extra_forbidden":
                known = _fields_at(record, loc[:-1])
                right = nearest(str(loc[-1]), known)
                problems.append(f"{place} is not known here")
                hints.append(f"did you mean {right}?" if right else f"known are {', '.join(known)}")
            case "missing" if len(loc) == len(errors[0]["loc"]):
                problems.append(f"{place} is missing")
            case "json_invalid":
                problems.append("it is not valid JSON (cut short, or edited by hand?)")
            case _:
                given = min(errors, key=lambda error: len(error["loc"]))["input"]
                said = _wanted(errors) + ("" if isinstance(given, dict) else f", not {given!r}")
                problems.append(f"{place}: {said}" if place else said)
    return UserError(f"{where} cannot be used", listed(problems), "; ".join(dict.fromkeys(hints)) or hint)


def _wanted(errors: Sequence[Any]) -> str:
    """What would have done, of all the kinds that a field may be; what a record of ours says itself, as it says it."""
    for error in errors:
        if error["type"] in ("value_error", "assertion_error"):
            said: str = error["msg"].partition(", ")[2]
            return said[:1].lower() + said[1:]
    kinds = []
    for error in errors:
        known = [kind for kind in WANTED if error["type"].startswith(kind)]
        several = [part for part in error["loc"] if str(part).startswith("tuple[") and "..." not in str(part)]
        if several:
            kinds.append(f"{str(several[-1]).count(',') + 1} values")
        elif known:
            words = {name: _in_words(value) for name, value in error.get("ctx", {}).items()}
            kinds.append(WANTED[max(known, key=len)].format(**words))
    *others, last = dict.fromkeys(kinds or ["another value"])
    wanted = f"{', '.join(others)} or {last}" if others else last
    return f"{wanted} {'are' if last.endswith('values') else 'is'} wanted"


def _in_words(value: Any) -> str:
    said = f"{value:g}" if isinstance(value, float) else str(value)
    return said.replace("'", "")


def _field_at(record: type[BaseModel], error: Any) -> tuple[int | str, ...]:
    """The place of an error without pydantic's own words in it: which of several kinds it tried there."""
    kind: Any = record
    place: list[int | str] = []
    for part in error["loc"]:
        choices = [one for one in get_args(kind) if one is not NoneType] if _is_choice(kind) else []
        if len(choices) == 1:
            kind, choices = choices[0], []
        if choices:
            break
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            if part not in kind.model_fields and error["type"] != "extra_forbidden":
                break
            kind = kind.model_fields[part].annotation if part in kind.model_fields else Any  # type: ignore[index]
        else:
            inner = [one for one in get_args(kind) if one is not ...]
            kind = inner[min(part, len(inner) - 1)] if isinstance(part, int) and inner else (inner or [Any])[-1]
        place.append(part)
    return tuple(place)


def _is_choice(kind: Any) -> bool:
    return get_origin(kind) in (Union, UnionType)


def _fields_at(record: type[BaseModel], place: tuple[int | str, ...]) -> list[str]:
    """The field names of the record found by walking `place` down from `record`; [] where it is not a record."""
    for part in place:
        if isinstance(part, str) and part in record.model_fields:
            inner = record.model_fields[part].annotation
            if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
                return []
            record = inner
    return list(record.model_fields)


def write(path: Path, content: str | bytes) -> None:
    """Write `path` whole or not at all: a reader sees the old file or the new one, also after a power cut.

    Raises UserError where the system refuses, which then has lost nothing: a full disk, no permission, a long name.
    """
    scratch = path.with_name(scratch_name(path.name))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with scratch.open("xb") as file:
                hold(file.fileno())
                file.write(content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            scratch.replace(path)
        except BaseException:
            scratch.unlink(missing_ok=True)
            raise
    except OSError as cause:
        raise of_system(cause, str(path), doing="written") from cause


def write_json(path: Path, values: Any) -> None:
    """Write plain values as indented JSON, whole or not at all."""
    write(path, json.dumps(_plain(values), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def scratch_name(name: str) -> str:
    """What a file or folder is called until it is whole; as long as file systems allow."""
    return f".{os.fsdecode(os.fsencode(name)[:240])}.{secrets.token_hex(4)}"


def hold(number: int) -> None:
    """Mark the open file or folder `number` as being written, until it is closed or its writer dies."""
    if sys.platform != "win32":
        import fcntl

        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # a file system without locks: what is left there is not cleared
            return


def clear_scratch(folder: Path, names: Collection[str]) -> None:
    """Remove what dead writers of those `names` left half written in `folder`; what a living one holds stays."""
    try:
        entries = list(folder.iterdir())
    except OSError:
        return
    for entry in entries:
        found = SCRATCH.fullmatch(entry.name)
        if found and found[1] in names and entry.is_file() and not is_held(entry):
            with suppress(OSError):  # nobody's work depends on it
                entry.unlink(missing_ok=True)


def is_held(scratch: Path) -> bool:
    """Whether a living writer is at it, or may be: where locks are not known, nobody can tell."""
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        number = os.open(scratch, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return True
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(number)
    return False


def flat(values: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    """Nested values by dotted name."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{place}{name}.")
        else:
            yield place + name, value


def _plain(values: Any) -> Any:
    """Plain values as JSON can have them, see Record."""
    match values:
        case str():
            return shown(values)
        case float() if not math.isfinite(values):
            return {"inf": "Infinity", "-inf": "-Infinity"}.get(str(values), "NaN")
        case Mapping():
            return {_plain(key): _plain(value) for key, value in values.items()}
        case list() | tuple():
            return [_plain(value) for value in values]
    return values


def read_text(path: Path, hint: str = "") -> str:
    """The text of `path`, or a UserError that says why it cannot be read."""
    if kind_of(path) == "other" and not str(path).startswith(PIPES):  # to open it may wait for ever
        raise UserError(f"{path} cannot be read: it is no file but a pipe or a device", hint=hint)
    try:
        return path.read_text(encoding="utf-8-sig")  # editors put a mark in front
    except FileNotFoundError as cause:
        raise UserError(f"{path} is not there", hint=hint) from cause
    except UnicodeDecodeError as cause:
        raise UserError(f"{path} cannot be read: it is not UTF-8 text, or it is damaged", hint=hint) from cause
    except OSError as cause:
        raise of_system(cause, str(path), doing="read", hint=hint) from cause
