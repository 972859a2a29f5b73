"""Whole numbers as a shell says them."""

from collections.abc import Sequence
from typing import Any, get_args

from cyclopts import CoercionError, Token, convert


def whole(kind: Any, tokens: Sequence[Token]) -> Any:
    """What cyclopts makes of what was said, but for whole numbers, which it would round: 1.5 to 2."""
    for token in tokens:
        if int in (kind, *get_args(kind)) and "." in token.value.rstrip("0").rstrip("."):
            raise CoercionError(token=token, target_type=int)
    return convert(kind, tokens)
