"""What the code of somebody's own network consists of, as hashes, and what has changed of it since. No torch."""

import hashlib
import inspect
import json
import sys
import textwrap
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

NOT_OURS = ("torch", "builtins", "abc", "typing")  # modules whose sources are no part of anybody's own network


def contents(module: "nn.Module") -> dict[str, str]:
    """Hashes of what `module` consists of: its layers and the shapes of its tensors, and each class's definition.

    A definition is the source of a class and of whatever of its own folder it names; torch's own classes have none. It
    is the same however a module was made, wherever its file lies, and whatever else that file holds.
    """
    lines = [f"{name}: {bare_name(type(part))}" for name, part in module.named_modules()]
    lines += [f"{name}: {tuple(tensor.shape)}" for name, tensor in module.state_dict().items()]
    found = {"layers": _hash("\n".join(lines))}
    for part in module.modules():
        for kind in type(part).__mro__:
            _define(kind, found)
    return found


def whole(parts: dict[str, str]) -> str:
    """One hash of all."""
    return _hash(json.dumps(parts, sort_keys=True))


def unreadable(parts: dict[str, str]) -> list[str]:
    """The classes whose source cannot be found: they were defined at a prompt."""
    return [name for name, value in parts.items() if not value]


def changes(then: dict[str, str], now: dict[str, str]) -> list[str]:
    """In words, what differs between the parts of two networks."""
    both = [name for name in then if name != "layers" and name in now and then[name] != now[name]]
    words = [f"{name} is not defined as it was" for name in both]
    words += [f"{name} is not in it" for name in then if name not in now]
    words += [f"{name} was not in it" for name in now if name not in then]
    return words or ["its layers, or their shapes, differ"]


def _define(thing: Any, found: dict[str, str]) -> None:
    """Add the hash of a class's or function's source, and of everything of its own folder that its code names."""
    name = bare_name(thing)
    if thing.__module__.split(".")[0] in NOT_OURS or name in found:
        return
    found[name] = ""
    with suppress(OSError, TypeError):  # defined at a prompt; what it computes is proved all the same
        found[name] = _hash(_plain(inspect.getsource(thing)))
    for function in _functions(thing):
        for word in sorted(_words(function.__code__)):
            used = function.__globals__.get(word)
            if isinstance(used, type | FunctionType):
                if _folder(used) == _folder(thing):
                    _define(used, found)
            elif word in function.__globals__ and not word.startswith("__"):
                with suppress(TypeError, ValueError):  # of constants alone
                    found[word] = _hash(json.dumps(used, sort_keys=True))


def _folder(thing: Any) -> Path | None:
    """Where the file lies that something is defined in."""
    file = getattr(sys.modules.get(thing.__module__), "__file__", None)
    return Path(file).resolve().parent if file else None


def _functions(thing: Any) -> Iterator[FunctionType]:
    if isinstance(thing, FunctionType):
        yield thing
        return
    for value in vars(thing).values():
        bare = getattr(value, "__func__", getattr(value, "fget", value))
        if isinstance(bare, FunctionType):
            yield bare


def _words(code: CodeType) -> set[str]:
    """Every name that the code looks up, also in what is defined inside it."""
    return set(code.co_names).union(*(_words(inner) for inner in code.co_consts if isinstance(inner, CodeType)))


def _plain(source: str) -> str:
    """Without what nobody sees: how far it is indented, how lines end."""
    return "\n".join(line.rstrip() for line in textwrap.dedent(source).splitlines())


def bare_name(thing: Any) -> str:
    return str(thing.__qualname__).rpartition("<locals>.")[2]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
