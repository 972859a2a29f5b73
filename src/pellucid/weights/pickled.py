"""The arrays in a pickle, without running it.

A pickle is a program: it may import and call anything. This reads the few instructions that write dictionaries of
NumPy arrays, as paddle.save does, imports and calls nothing that the file names, and refuses every other instruction.
"""

import pickletools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

PLAIN = re.compile(r"[biuf][1248]|c8|c16")  # the dtypes of numbers: what cannot be a weight is told by name, later
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
VALUES = re.compile(r"(SHORT_)?BIN(UNICODE|BYTES)8?|BININT[12]?|BINFLOAT|LONG[14]")
KEPT = re.compile(r"(LONG_)?BINPUT|MEMOIZE")
FETCHED = re.compile(r"(LONG_)?BINGET")


class NotPlain(ValueError):
    """The pickle holds something else than plain arrays; the message names it."""


def arrays_of(path: Path) -> Any:
    """What the pickle in `path` holds: dictionaries, lists, tuples, strings, numbers and NumPy arrays.

    Raises NotPlain where it holds, or would call, anything else, and ValueError where it is damaged.
    """
    machine = _Machine()
    try:
        for opcode, value, _position in pickletools.genops(path.read_bytes()):
            machine.step(opcode.name, value)
        return machine.stack[-1]
    except (IndexError, KeyError, TypeError, AttributeError, UnicodeDecodeError) as cause:
        raise ValueError(f"the pickle is damaged: {cause!r}") from cause


class _Name(str):
    """The module and name of something that the pickle would have imported."""


class _Mark:
    """Where a list of items begins on the stack."""


class _Array:
    """An array that the pickle has announced and not yet filled."""

    content: np.ndarray | None = None

    def fill(self, state: tuple[Any, ...]) -> None:
        _version, shape, dtype, by_column, content = state
        flat = np.frombuffer(content, dtype).copy()  # a view of bytes could not be written to
        self.content = flat.reshape(shape, order="F" if by_column else "C")


def _dtype(code: str, *_: object) -> np.dtype:
    if not isinstance(code, str) or not PLAIN.fullmatch(code):
        raise NotPlain(f"an array of {code!r}")
    return np.dtype(code)


# What stands for the functions that write arrays: what each would have made, made here.
CALLS: dict[str, Callable[..., Any]] = {
    "numpy._core.multiarray _reconstruct": lambda *_: _Array(),
    "numpy.core.multiarray _reconstruct": lambda *_: _Array(),
    "numpy dtype": _dtype,
    "_codecs encode": lambda text, _encoding: text.encode("latin1"),
    "collections OrderedDict": lambda: {},
    "builtins tuple": tuple,
    "__builtin__ tuple": tuple,
}
NAMES = {*CALLS, "numpy ndarray"}


class _Machine:
    """The stack and the memory that the instructions work on."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memory: dict[int, Any] = {}

    def step(self, name: str, value: Any) -> None:
        """Follow one instruction."""
        stack = self.stack
        if name in ("PROTO", "FRAME", "STOP"):
            return
        if VALUES.fullmatch(name):
            stack.append(value)
        elif name in CONSTANTS:
            stack.append(CONSTANTS[name])
        elif KEPT.fullmatch(name):
            self.memory[len(self.memory) if value is None else value] = stack[-1]
        elif FETCHED.fullmatch(name):
            stack.append(self.memory[value])
        elif name == "MARK":
            stack.append(_Mark())
        elif name in ("EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE"):
            stack.append({"EMPTY_DICT": {}, "EMPTY_LIST": [], "EMPTY_TUPLE": ()}[name])
        elif name == "TUPLE":
            stack.append(tuple(self._since_mark()))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            stack.append(tuple(self._taken(int(name[-1]))))
        elif name in ("SETITEM", "SETITEMS"):
            items = self._taken(2) if name == "SETITEM" else self._since_mark()
            stack[-1].update(zip(items[::2], map(_filled, items[1::2]), strict=True))
        elif name in ("APPEND", "APPENDS"):
            items = self._taken(1) if name == "APPEND" else self._since_mark()
            stack[-1].extend(map(_filled, items))
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            self._named(value if name == "GLOBAL" else " ".join(self._taken(2)))
        elif name == "REDUCE":
            function, arguments = self._taken(2)
            stack.append(CALLS[function](*map(_filled, arguments)))
        elif name == "BUILD":
            made, state = self._taken(2)
            if isinstance(made, np.dtype):
                stack.append(made.newbyteorder(state[1] if state[1] in "<>" else "="))
            else:
                made.fill(state)
                stack.append(made)
        else:
            raise NotPlain(f"the instruction {name}")

    def _named(self, name: str) -> None:
        if name not in NAMES:
            raise NotPlain(name.replace(" ", "."))
        self.stack.append(_Name(name))

    def _taken(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise IndexError("nothing left on the stack")
        taken = self.stack[-count:]
        del self.stack[-count:]
        return taken

    def _since_mark(self) -> list[Any]:
        at = max(index for index, one in enumerate(self.stack) if isinstance(one, _Mark))
        taken = self.stack[at + 1 :]
        del self.stack[at:]
        return taken


def _filled(value: Any) -> Any:
    """The array itself for one that was announced; a tuple may hold some (a name and an array).

    No deeper: a tuple of itself, of itself, and so on has more ends than anybody can visit.
    """
    return tuple(map(_array_of, value)) if isinstance(value, tuple) else _array_of(value)


def _array_of(value: Any) -> Any:
    if isinstance(value, _Array) and value.content is None:
        raise ValueError("the pickle is damaged: an array without content")
    return value.content if isinstance(value, _Array) else value
