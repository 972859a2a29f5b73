"""One's own table as text, so that a model file can hold it whole; and what makes no network of it refused by name."""

import json
from dataclasses import MISSING, fields, replace
from typing import Any

from pellucid.architectures.geometry import walk
from pellucid.architectures.layers import (
    Architecture,
    Branches,
    Chain,
    Conv,
    Conventions,
    Dropout,
    Flatten,
    GlobalPool,
    Head,
    Linear,
    Pool,
    Probabilities,
    Relu,
    Residual,
    Separable,
)
from pellucid.errors import UserError, nearest

TABLE = "table/"  # before the name of one's own table, where networks are called by their names
ENDS = ("PreLogits", "Logits", "Predictions")
KINDS: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        *(Conv, Separable, Pool, GlobalPool, Flatten, Linear, Relu, Dropout, Probabilities),
        *(Chain, Branches, Residual, Head, Conventions, Architecture),
    )
}


def to_text(table: Architecture) -> str:
    """The table as JSON: every value with its kind; what is as usual is left out."""
    check_table(table)
    return json.dumps(_plain(table), separators=(",", ":"))


def from_text(text: str) -> Architecture:
    """The table that was written; it is only data, and is checked as any is. Raises UserError for anything else."""
    try:
        table = _read(json.loads(text))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as cause:
        raise UserError(f"this is no table of a network: {cause}") from cause
    if not isinstance(table, Architecture):
        raise UserError("this is no table of a network, but a part of one")
    check_table(table)
    return table


def _plain(value: Any) -> Any:
    if type(value) in KINDS.values():
        held = {field.name: getattr(value, field.name) for field in fields(value) if _unusual(value, field)}
        return {"is": type(value).__name__} | {name: _plain(inner) for name, inner in held.items()}
    if isinstance(value, tuple | list):
        return [_plain(inner) for inner in value]
    return value


def _unusual(value: Any, field: Any) -> bool:
    return field.default is MISSING or getattr(value, field.name) != field.default


def _read(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_read(inner) for inner in value)
    if not isinstance(value, dict):
        return value
    kind = KINDS[value["is"]]
    return kind(**{name: _read(inner) for name, inner in value.items() if name != "is"})


def check_table(table: Architecture) -> None:
    """UserError for a table that makes no network: which row, and why."""
    name = table.name
    if not (isinstance(name, str) and name and all(sign.isalnum() or sign in "_-." for sign in name)):
        raise UserError(f"a table is named by letters, digits, _, - and dots, not {name!r}")
    names = [_row(table, row)[0] for row in table.rows]
    if twice := {one for one in names if names.count(one) > 1}:
        raise UserError(f"{name} has two end points that are called {sorted(twice)[0]}")
    if bad := [one for one in names if not one.isidentifier() or hasattr(_PLAIN, one)]:
        raise UserError(f"{name} has an end point called {bad[0]!r}", hint="a letter first, then letters, digits and _")
    if tuple(names[-3:]) != ENDS:
        raise UserError(
            f"the last rows of {name} are not {', '.join(ENDS)}",
            hint="*classifier(channels) adds them: pooled, a linear layer as wide as there are classes, softmax",
        )
    if table.rows[-2][1] != Linear("classes"):
        raise UserError(f"Logits of {name} is not Linear('classes')", hint="it is what a probe learns")
    _check_maps(table)


class _Plain:
    """What every torch module has, so that no end point can be called so."""

    training = forward = name = options = classes = size = family = table = sources = eval = train = None
    end_points = end_point_names = head_names = divided = head_modules = with_heads = None
    parameters = buffers = modules = children = state_dict = apply = to = cpu = cuda = half = float = double = type = (
        None
    )


_PLAIN = _Plain


def _row(table: Architecture, row: Any) -> tuple[str, Any, str]:
    if not (isinstance(row, tuple) and len(row) == 3 and isinstance(row[0], str) and isinstance(row[2], str)):
        raise UserError(
            f"a row of {table.name} is not (name, layer, what leaves it): {row!r:.80}", hint='the last may be ""'
        )
    if type(row[1]) not in KINDS.values():
        right = nearest(type(row[1]).__name__, KINDS)
        raise UserError(
            f"{row[0]} of {table.name} is a {type(row[1]).__name__}, and no layer of a table",
            hint=f"did you mean {right} of pellucid.architectures.layers?" if right else "",
        )
    return row


def _check_maps(table: Architecture) -> None:
    """Each row can follow the one before it, and what leaves it is what it says, where it says so."""
    for end, (name, _, said) in enumerate(table.rows, start=1):
        after = _leaving(replace(table, rows=table.rows[:end], heads=()), name)
        if said and said != after:
            raise UserError(
                f"{name} of {table.name} says that {said} leaves it, and it is {after} at {table.size} pixels",
                hint='write that, or ""',
            )
    if table.heads:
        _leaving(table, table.heads[0].name)


def _leaving(table: Architecture, name: str) -> str:
    """What leaves the last row; UserError with the `name` that was added last where it cannot be counted."""
    try:
        return str(walk(table, size=table.size, classes=1000, auxiliary=bool(table.heads))[-1].after)
    except (AssertionError, TypeError, ValueError, KeyError, AttributeError, ZeroDivisionError) as cause:
        why = str(cause) or type(cause).__name__
        raise UserError(f"{name} of {table.name} cannot be counted: {why}") from cause
