"""The base of every record, and writing files whole or not at all."""

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import Any, Self, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from pellucid.errors import UserError, listed, nearest


class Record(BaseModel):
    """Frozen data with named fields; a field that is not known is refused by name, never dropped.

    Numbers are finite: JSON has no word for others, so that a file of them could not be read again. What may be
    undefined is None.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes, where: str) -> Self:
        """Read one record from JSON; `where` names the source in the error."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as cause:
            raise refusal(cls, cause, where) from cause

    @classmethod
    def from_fields(cls, fields: dict[str, Any], where: str) -> Self:
        """Read one record from plain values (TOML, flags); `where` names the source in the error."""
        try:
            return cls.model_validate(fields)
        except ValidationError as cause:
            raise refusal(cls, cause, where) from cause

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


def refusal(record: type[BaseModel], cause: ValidationError, where: str) -> UserError:
    """The user's error for values that do not fit `record`: each field, what it was given, the nearest right name."""
    problems, hints = [], []
    for error in cause.errors():
        place = ".".join(str(part) for part in error["loc"])
        match error["type"]:
            case "extra_forbidden":
                known = _fields_at(record, error["loc"][:-1])
                right = nearest(str(error["loc"][-1]), known)
                problems.append(f"{place} is not known here")
                hints.append(f"did you mean {right}?" if right else f"known are {', '.join(known)}")
            case "missing":
                problems.append(f"{place} is missing")
            case "json_invalid":
                problems.append("it is not valid JSON (cut short, or edited by hand?)")
            case _:
                said = error["msg"].removeprefix("Value error, ")
                given = "" if isinstance(error["input"], dict) else f", not {error['input']!r}"
                problems.append(f"{place}: {said[:1].lower()}{said[1:]}{given}" if place else said)
    return UserError(f"{where} cannot be used", listed(problems), "; ".join(dict.fromkeys(hints)))


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
    """Write `path` whole or not at all: a reader sees the old file or the new one, also after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with scratch.open("xb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise


def write_json(path: Path, values: Any) -> None:
    """Write plain values as indented JSON, whole or not at all."""
    write(path, json.dumps(values, indent=2, ensure_ascii=False) + "\n")


def read_text(path: Path, hint: str = "") -> str:
    """The text of `path`, or a UserError that says why it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as cause:
        raise UserError(f"{path} is not there", hint=hint) from cause
    except (OSError, UnicodeDecodeError) as cause:
        raise UserError(f"{path} cannot be read: {cause}", hint=hint) from cause
