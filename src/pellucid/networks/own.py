"""One's own networks: what somebody named as a model, the code it is in, and whether that is the code a file speaks of.

Code is run only when whoever gives the command, or calls the function, names it (`remember`). What a file says of a
network (a model's card, a run's config.toml) runs nothing: it only chooses among what has been named, by content.
Torch-free, so that flags can be read before it is there.
"""

import ast
import hashlib
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import FrameType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, get_args

from pellucid.architectures.layers import Architecture
from pellucid.architectures.options import text_as
from pellucid.errors import UserError, listed, nearest
from pellucid.names import is_own
from pellucid.networks.own_code import bare_name, unreadable
from pellucid.networks.own_files import copies, package, places

if TYPE_CHECKING:
    from torch import nn

KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}  # tried in this order
MOST = 8  # networks that are remembered: each may hold its weights
SPELLED = "write FILE.py:NAME or package.module:NAME"


@dataclass
class Own:
    """A network that was named. `where` is its import path without folders; `spelled` what was typed, if it was.

    `given` is a module, a class or function that makes one, or a table; None until code that was typed is imported.
    """

    where: str
    spelled: str = ""
    given: Any = field(default=None, repr=False)

    def content(self) -> Any:
        """What was named, imported where it has not been yet."""
        if self.given is None:
            self.given = _imported(self.spelled)
        return self.given


_NAMED: dict[str, Own] = {}  # by the name that networks.build.network takes; the last one named at the end


def remember(model: Any) -> str:
    """Note that somebody named `model` as code to be run; returns the name by which `network` knows it.

    `model` is FILE.py:NAME, package.module:NAME, an nn.Module, a class or function that makes one for a number of
    classes, or a table. Any other text is returned as it is, "" for None. Nothing is imported yet.
    """
    if model is None:
        return ""
    if isinstance(model, str):
        if model.endswith(".py"):
            raise _which(Path(model).expanduser())
        if not is_own(model):
            return model
        file, _, name = model.rpartition(":")
        if not file or not name:
            raise UserError(f"{model!r} names no network", hint=SPELLED)
        key, own = model, Own(f"{Path(file).name if file.endswith('.py') else file}:{name}", model)
        if key in _NAMED and not _NAMED[key].spelled:  # what was given in Python, by the name that it has here
            own = _NAMED[key]
    else:
        if not (isinstance(model, Architecture) or callable(model)):
            raise UserError(
                f"{model!r:.80} is no network",
                hint="give a name, an nn.Module, or a class or function that makes one for a number of classes",
            )
        own = Own(_where(model), given=model)
        key = own.where
        number = 2
        while key in _NAMED and _NAMED[key].given is not model:
            key, number = f"{own.where} ({number})", number + 1
    _NAMED.pop(key, None)
    _NAMED[key] = own
    while len(_NAMED) > MOST:
        del _NAMED[next(iter(_NAMED))]
    return key


def named(name: str) -> Own:
    """What was named by that; UserError where nobody did in this process."""
    if name not in _NAMED:
        raise unnamed(name)
    return _NAMED[name]


def all_named() -> list[Own]:
    """Everything that was named, the last first."""
    return list(reversed(_NAMED.values()))


def unnamed(where: str) -> UserError:
    return UserError(
        f"{where} is code, which is run only when you name it",
        hint=f"--model-code {where}, with the folder it is in (with train: --model)",
    )


def _which(path: Path) -> UserError:
    """A file was named without saying what of it; it is only read here."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return UserError(f"{path} alone names no network", hint=SPELLED)
    kinds = (ast.ClassDef, ast.FunctionDef)
    known = [node.name for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_")]
    first = f"{path}:{known[0]}" if known else SPELLED
    return UserError(f"{path} is a file: which network of it?", listed(known), hint=f"write {first}")


def notes_on(net: "nn.Module") -> Iterator[str]:
    """What should be known of somebody's own network before it is trained."""
    parts = (getattr(net, "options", None) or {}).get("code", {}).get("parts", {})
    if names := unreadable(parts):
        yield (
            f"the source of {', '.join(names)} cannot be read (it was written at a prompt): the model file tells it by "
            "its layers, and by what it computes, alone"
        )


def keep_code(folder: Path, name: str) -> None:
    """Put a copy of the file that a named network is defined in, and of what it imports from beside it, into `folder`.

    Nothing ever runs it by itself. Of what is no file of the user's own (a package that is installed, a prompt) there
    is no copy.
    """
    from pellucid.records import write  # brings pydantic, which `structure` answers without

    if not is_own(name) or not named(name).where.partition(":")[0].endswith(".py"):
        return
    own = named(name)
    file = own.spelled.rpartition(":")[0] or _file(own.given)
    if file:
        with suppress(OSError, UserError):
            for name, content in copies(Path(file)).items():
                write(folder / name, content)


def short(name: str) -> str:
    """A network's name without where it comes from, for the name of a folder."""
    return name.rpartition(":")[2].partition(" ")[0] if is_own(name) else name.replace("/", "-")


# Finding it.


def _where(model: Any) -> str:
    """The import path of what an object is defined by, without folders: mynet.py:MyNet, torch.nn:Sequential."""
    if isinstance(model, Architecture):
        return f"table:{model.name}"
    model = model.func if isinstance(model, partial) else model
    thing = model if isinstance(model, type | FunctionType) else type(model)
    module, name = thing.__module__, bare_name(thing).replace("<lambda>", "lambda")
    if module.startswith("torch.nn."):
        return f"torch.nn:{name}"
    file = _file(model) if "." not in module else None  # of its own, or a script
    return f"{Path(file).name if file else module}:{name}"


def _file(model: Any) -> str | None:
    """The file that an object is defined in; None for what was written at a prompt."""
    thing = model if isinstance(model, type | FunctionType) else type(model)
    try:
        file = inspect.getsourcefile(thing)
    except TypeError:
        return None
    return file if file and file.endswith(".py") and Path(file).is_file() else None


def _imported(spelled: str) -> Any:
    file, _, name = spelled.rpartition(":")
    if file.endswith(".py") or "/" in file or "\\" in file:
        module = _from_file(Path(file).expanduser())
    else:
        module = _from_package(file, spelled)
    found: Any = module
    for word in name.split("."):
        if not hasattr(found, word):
            known = [one for one in vars(found) if not one.startswith("_")]
            right = nearest(word, known)
            raise UserError(
                f"{file} has no {name}", hint=f"did you mean {file}:{right}?" if right else f"it has {', '.join(known)}"
            )
        found = getattr(found, word)
    if not (isinstance(found, Architecture) or callable(found)):
        raise UserError(
            f"{spelled} is of type {type(found).__name__}, and no network",
            hint="name an nn.Module, a class or function that makes one for a number of classes, or a table",
        )
    return found


def _from_file(path: Path) -> ModuleType:
    """The file run as a module: its own text, never what was compiled of an older one."""
    try:
        text = path.read_bytes()
    except OSError as cause:
        reason = "is not there" if isinstance(cause, FileNotFoundError) else f"cannot be read: {cause.strerror}"
        raise UserError(f"{path} {reason}", hint=SPELLED) from cause
    name = f"{path.stem}_{hashlib.sha256(bytes(path.resolve()) + text).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    module = ModuleType(name)
    module.__file__ = str(path.resolve())
    module.__package__ = ".".join(package(path.resolve(), text))  # what `from .blocks import Block` counts from
    sys.modules[name] = module  # where inspect and pickle look for what is defined in it
    try:
        with beside(*places(path)):
            exec(compile(text, str(path.resolve()), "exec"), vars(module))
    except (Exception, SystemExit) as cause:
        del sys.modules[name]
        raise theirs(f"{path} cannot be imported", cause, hint=_lacking(cause), within=path.resolve()) from cause
    return module


def _lacking(cause: BaseException) -> str:
    """What to do where code imports what is not there."""
    if not isinstance(cause, ModuleNotFoundError) or not cause.name:
        return ""
    name = cause.name.partition(".")[0]
    return f"install {name} where pellucid is, or go to the folder that {name} lies in"


def _from_package(name: str, spelled: str) -> ModuleType:
    try:
        with beside(Path.cwd()):
            return import_module(name)
    except ModuleNotFoundError as cause:
        if cause.name and (name == cause.name or name.startswith(f"{cause.name}.")):
            hint = f"is it a file? {name.replace('.', '/')}.py:{spelled.rpartition(':')[2]}"
            raise UserError(f"there is no module {cause.name} to import for {spelled}", hint=hint) from cause
        raise theirs(f"{name} cannot be imported", cause, hint=_lacking(cause)) from cause
    except (Exception, SystemExit) as cause:
        raise theirs(f"{name} cannot be imported", cause) from cause


_BESIDE: set[str] = set()  # the outermost modules that were imported from beside somebody's own code


@contextmanager
def beside(*folders: Path) -> Iterator[None]:
    """With `folders` first among the places that are imported from, as when a script in the first is run.

    What other code had beside it by the same name (`utils`) is another module, and is not taken for this one's.
    """
    places = list(dict.fromkeys(map(str, folders)))
    for name in [name for name in _BESIDE if name in sys.modules and _is_another(name, places)]:
        _set_aside(name)
    before = set(sys.modules)
    _Late.remember(places)
    sys.path[:0] = places
    try:
        yield
    finally:
        for place in places:
            if place in sys.path:
                sys.path.remove(place)
        new = {name.partition(".")[0] for name in set(sys.modules) - before}
        _BESIDE.update(name for name in new if name in sys.modules and _is_in(sys.modules[name], places))


class _Late(MetaPathFinder):
    """Finds what somebody's code imports only when it is run (in `forward`), in the places that it was imported from.

    It is asked last, and answers the code in those places alone.
    """

    places: ClassVar[list[list[str]]] = []

    @classmethod
    def remember(cls, places: list[str]) -> None:
        if not any(isinstance(finder, cls) for finder in sys.meta_path):
            sys.meta_path.append(cls())
        cls.places[:] = [places, *(others for others in cls.places if others != places)][:MOST]

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:  # noqa: ARG002
        frame: FrameType | None = sys._getframe(1)
        while frame and ("importlib" in frame.f_code.co_filename or frame.f_code.co_filename == __file__):
            frame = frame.f_back
        if path is not None or frame is None:
            return None
        file, package = Path(frame.f_code.co_filename), str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package == "pellucid" or "site-packages" in file.parts:
            return None
        for folders in self.places:
            if any(Path(folder) in file.parents for folder in folders):
                spec = PathFinder.find_spec(fullname, folders)
                if spec is not None:
                    _BESIDE.add(fullname)
                    return spec
        return None


def _is_in(module: ModuleType, places: list[str]) -> bool:
    spec = PathFinder.find_spec(module.__name__, places)
    return spec is not None and _origin(spec) == _origin(getattr(module, "__spec__", None))


def _is_another(name: str, places: list[str]) -> bool:
    """Whether `name` would be found in `places`, and not where it has been imported from."""
    return PathFinder.find_spec(name, places) is not None and not _is_in(sys.modules[name], places)


def _origin(spec: ModuleSpec | None) -> Any:
    return spec and (spec.origin or list(spec.submodule_search_locations or ()))


def _set_aside(outermost: str) -> None:
    """Know a module, and those inside it, by other names, so that its own are free; it works as before."""
    _BESIDE.discard(outermost)
    for name in [name for name in sys.modules if name == outermost or name.startswith(f"{outermost}.")]:
        module = sys.modules.pop(name)
        other = f"{name}_{id(module):x}"
        sys.modules[other] = module  # where inspect looks for the source of what is defined in it
        for thing in vars(module).values():
            if isinstance(thing, type | FunctionType) and thing.__module__ == name:
                thing.__module__ = other


def theirs(problem: str, cause: BaseException, *, hint: str = "", within: Path | None = None) -> UserError:
    """An error in somebody's own code as a UserError: what it says, and the last line of that code that was run."""
    said = str(cause).strip()
    head = f"{problem}: {type(cause).__name__}{': ' + said.splitlines()[0] if said else ''}"
    lines = []
    if isinstance(cause, SyntaxError) and cause.lineno:
        lines = [f"line {cause.lineno}: {(cause.text or '').strip()}"]
    else:
        for frame in _frames(cause):
            if within is None or Path(frame[0]) == within:
                lines = [f"{Path(frame[0]).name}, line {frame[1]}, in {frame[2]}"]
    return UserError(head, lines, hint=hint)


def _frames(cause: BaseException) -> Iterator[tuple[str, int, str]]:
    """Where the error went through code that is neither ours, nor torch's, nor Python's own."""
    from traceback import walk_tb

    for frame, line in walk_tb(cause.__traceback__):
        file = frame.f_code.co_filename
        package = str(frame.f_globals.get("__name__", "")).split(".")[0]
        if package not in ("pellucid", "torch", "importlib") and not file.startswith("<frozen"):
            yield file, line, frame.f_code.co_name


def made(own: Own, classes: int, *, size: int, options: dict[str, Any]) -> Any:
    """What a class or function makes for so many classes: called as its signature asks.

    The number of classes goes to the parameter that is named after it, or to the only one that must be given; `size`
    and `options` to those of their names. Raises UserError for options it does not take, and for whatever it raises.
    """
    maker: Callable[..., Any] = own.content()
    try:
        parameters = list(inspect.signature(maker).parameters.values())
    except (TypeError, ValueError) as cause:
        raise UserError(f"how {own.where} is to be called cannot be found out", hint="write a function") from cause
    taken = [one.name for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    more = any(one.kind is one.VAR_KEYWORD for one in parameters)
    for option in options:
        if option not in taken and not more:
            right = nearest(option, taken)
            hint = f"did you mean {right}?" if right else f"it takes {', '.join(taken) or 'nothing'}"
            raise UserError(f"{own.where} has no option {option!r}", hint=hint)
    wanted = {one.name: one for one in parameters}
    given = {name: _as_wanted(own, name, value, wanted.get(name)) for name, value in options.items()}
    if "size" in taken:
        given.setdefault("size", size)
    required = [
        one
        for one in parameters
        if one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD) and one.name not in given
    ]
    counted = next((name for name in taken if name in CLASSES), None)
    position: tuple[int, ...] = ()
    if counted is not None:
        given[counted] = classes
        required = [one for one in required if one.name != counted]
    elif len(required) == 1 and required[0].kind is not required[0].KEYWORD_ONLY:
        position, required = (classes,), []
    elif more and not required:
        given["num_classes"] = classes
    if required:
        lacking = ", ".join(one.name for one in required)
        raise UserError(
            f"{own.where} wants {lacking}, and pellucid only knows the number of classes",
            hint="name a function of the number of classes that gives the rest",
        )
    try:
        with beside(*(places(Path(own.spelled.rpartition(":")[0])) if own.spelled else [Path.cwd()])):
            module = maker(*position, **given)
    except Exception as cause:
        raise theirs(f"{own.where} cannot be made for {classes} classes", cause, hint=_lacking(cause)) from cause
    return module


def _as_wanted(own: Own, name: str, value: Any, parameter: inspect.Parameter | None) -> Any:
    """`value` as the parameter's type, where that is known and a shell gave text; numbers as such where it is not."""
    if not isinstance(value, str):
        return _whole(value, parameter)
    kinds = _kinds(parameter) or list(KINDS)
    for kind in kinds:
        told = value if kind is str else text_as(kind, value)
        if told is not None:
            return told
    wanted = " or ".join(KINDS[kind] for kind in kinds)
    raise UserError(f"option {name} of {own.where} is {wanted}, not {value!r}")


def _kinds(parameter: inspect.Parameter | None) -> list[type]:
    """Which of bool, int, float and str a parameter takes, by its annotation or its default; [] where nobody says."""
    if parameter is None:
        return []
    said = parameter.annotation if parameter.annotation is not parameter.empty else type(parameter.default)
    names = (
        re.findall(r"\w+", said)
        if isinstance(said, str)
        else [kind.__name__ for kind in (said, *get_args(said)) if isinstance(kind, type)]
    )
    return [kind for kind in KINDS if kind.__name__ in names]


def _whole(value: Any, parameter: inspect.Parameter | None) -> Any:
    """A whole number as such, unless its parameter is for others: a flag's 4 may have become 4.0 on its way here."""
    if not (isinstance(value, float) and value.is_integer()):
        return value
    fractions = parameter and (parameter.annotation in (float, "float") or isinstance(parameter.default, float))
    return value if fractions else int(value)


CLASSES = ("classes", "num_classes", "n_classes", "nclasses", "num_class", "nb_classes", "class_count", "outputs")
