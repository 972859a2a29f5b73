"""What a setting is where nobody says it, in the words of its help: the default, or what the recipe of each mode says.

Torch-free, so that `pellucid train --help` answers at once.
"""

from functools import cache
from typing import Any, get_args

from pydantic.fields import FieldInfo

from pellucid.architectures.options import OPTIONS
from pellucid.records import Record, flat
from pellucid.training.config import Config, Mode
from pellucid.training.recipes import recipe


def help_of(field: FieldInfo, place: str = "") -> str:
    """The help of a field in a line, which ends with its default; `place` is its dotted name in a configuration.

    A field whose default is more than a value says so itself. What is off unless it is asked for goes without saying.
    """
    said = " ".join((field.description or "").split())
    if "Default" in said:
        return said
    usual = _written(field.default)
    others = {mode: _written(values[place]) for mode, values in _recipes().items() if place in values}
    if set(others.values()) - {usual}:
        usual = ", ".join(f"{mode} {others.get(mode, usual)}" for mode in get_args(Mode))
    return f"{said} Default: {usual}." if usual else said


def about(place: str) -> str:
    """The help of the setting at a dotted `place` of a configuration; "" for what one's own code or data name."""
    *above, last = place.split(".")
    if above == ["options"]:
        return OPTIONS[last].about if last in OPTIONS else ""
    record: Any = Config
    for name in above:
        inner = record.model_fields[name].annotation if name in record.model_fields else None
        if not (isinstance(inner, type) and issubclass(inner, Record)):
            return ""
        record = inner
    return help_of(record.model_fields[last], place) if last in record.model_fields else ""


@cache
def _recipes() -> dict[str, dict[str, Any]]:
    return {mode: dict(flat(recipe(mode).settings)) for mode in get_args(Mode)}


def _written(value: Any) -> str:
    """As it is typed in a shell; empty for what needs no words: None, off, and what holds further settings."""
    match value:
        case bool() | None:
            return ""
        case str() | int():
            return str(value)
        case float():
            return f"{value:.3g}"
        case tuple() | list():
            return " ".join(map(_written, value))
    return ""
