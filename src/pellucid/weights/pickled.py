"""The arrays in a pickle, with nothing that it could run.

A pickle is a program: it may import and call anything. Python's own reader follows it here, and finds nothing to
import but the few names in `MADE`: stand-ins that make arrays, and cannot be changed. Any other name is refused
before anything is called.
"""

import pickle
import pickletools
import re
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

PLAIN = re.compile(r"[biuf][1248]|c8|c16")  # the dtypes of numbers: what cannot be a weight is told by name, later


class NotPlain(ValueError):
    """The pickle holds something else than plain arrays; the message names it."""


class Kind:
    """Stands for numpy.dtype: a number's kind and order of bytes; `found` is None for any other kind."""

    def __init__(self, code: object = "", *_: object) -> None:
        self.found = np.dtype(code) if isinstance(code, str) and PLAIN.fullmatch(code) else None

    def __setstate__(self, state: Sequence[Any]) -> None:
        if self.found is not None and state[1] in ("<", ">"):
            self.found = self.found.newbyteorder(state[1])


class Array(np.ndarray):
    """Stands for the function of NumPy that makes a pickle's arrays; one of other things than numbers stays empty."""

    def __new__(cls, *_: object) -> "Array":
        return super().__new__(cls, (0,), object)

    def __setstate__(self, state: Sequence[Any]) -> None:
        version, shape, kind, by_column, content = state
        if isinstance(kind, Kind) and kind.found is not None:
            super().__setstate__((version, shape, kind.found, by_column, content))


class StandIn:
    """What the pickle calls by the name of a function: `made` does it. A pickle can set nothing of it."""

    __slots__ = ("_made", "_name")

    def __init__(self, name: str, made: Callable[..., Any]) -> None:
        self._name, self._made = name, made

    def __call__(self, *arguments: Any) -> Any:
        return self._made(*arguments)

    def __setstate__(self, state: object) -> None:
        raise NotPlain(f"a change of {self._name}")


def _number(code: object = "", *_: object) -> Kind:
    kind = Kind(code)
    if kind.found is None:
        raise NotPlain(f"an array of {code!r}")
    return kind


def _of_buffer(content: bytes, kind: Kind, shape: Sequence[int], order: str) -> np.ndarray:
    flat = np.frombuffer(content, kind.found)
    flat = flat.astype(flat.dtype.newbyteorder("="))  # a copy: a view of bytes could not be written to
    return flat.reshape(shape, order="F" if order == "F" else "C")


def _encoded(text: str, _encoding: object) -> bytes:
    return text.encode("latin1")  # how the second protocol writes bytes


def _never(*_: object) -> None:
    raise NotPlain("an array made otherwise than NumPy writes it")


MADE: Mapping[str, Callable[..., Any]] = {
    "numpy._core.multiarray._reconstruct": Array,
    "numpy.core.multiarray._reconstruct": Array,
    "numpy._core.numeric._frombuffer": _of_buffer,
    "numpy.core.numeric._frombuffer": _of_buffer,
    "numpy.dtype": _number,
    "numpy.ndarray": _never,  # said to `_reconstruct`, and not called
    "_codecs.encode": _encoded,
    "collections.OrderedDict": lambda: {},
    "__builtin__.bytes": lambda: b"",  # the second protocol's word for none
    "builtins.tuple": tuple,
    "__builtin__.tuple": tuple,
}
FOUND = {name: StandIn(name, made) for name, made in MADE.items()}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (found := FOUND.get(f"{module}.{name}")) is None:
            raise NotPlain(f"{module}.{name}")
        return found

    def persistent_load(self, name: object) -> Any:
        raise NotPlain(f"a reference to {name!r}")


def arrays_of(path: Path) -> Any:
    """What the pickle in `path` holds: dictionaries, lists, tuples, strings, numbers and NumPy arrays.

    Raises NotPlain where it holds, or would call, anything else, and ValueError where it is damaged.
    """
    content = path.read_bytes()
    try:
        _check_places(content)
        return _Reader(BytesIO(content)).load()
    except NotPlain:
        raise
    except Exception as cause:  # each instruction fails in its own way on what it was not made for
        raise ValueError(f"the pickle is damaged: {cause!r}") from cause


def _check_places(content: bytes) -> None:
    """Raises ValueError for a pickle that ends early, and for one that numbers what it keeps so high that the memory
    for all the numbers below would be reserved.
    """
    for opcode, value, _place in pickletools.genops(content):
        if "PUT" in opcode.name and isinstance(value, int) and value > len(content):
            raise ValueError(f"it keeps something as number {value}")
