"""Files of weights, whatever framework wrote them, as tensors by the names that they have there.

What a file is, its content tells (kinds); where in it the tensors are, its structure (states). Nothing that a
pickle names is imported or called.
"""

import pickle
import re
import tomllib
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import ZipFile

import torch
from numpy import ndarray
from numpy.lib import format as npy
from safetensors.torch import load_file
from torch import Tensor
from torch._weights_only_unpickler import _get_allowed_globals, get_globals_in_pkl

from pellucid.errors import UserError, first_line, listed, of_system
from pellucid.names import kind_of, textual, to_resume
from pellucid.weights.kinds import AGAIN, FORMATS, SUFFIXES, check_growth, check_index, parts_of, recognise
from pellucid.weights.pickled import Array, Kind, NotPlain, arrays_of
from pellucid.weights.states import State, is_of_optimizer, same, states_in, without

IN_FOLDERS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin.index.json")


@dataclass(frozen=True)
class Found:
    """What a file of weights holds: its dictionaries of tensors, the likeliest first.

    `notes` are sentences about what was decided while reading.
    """

    states: tuple[State, ...]
    notes: tuple[str, ...] = ()


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors in a file, by its own names and with its own order of axes; nothing that a pickle names is run.

    Formats: .safetensors; .pth, .pt, .ckpt and .th, read weights-only; .npz; Keras' .h5 and .keras; Paddle's
    .pdparams; and, where tensorflow is installed, its checkpoints; known by content, whatever the suffix. Raises
    UserError where the file is none of them, is damaged, or holds the weights of several models.
    """
    first, *others = read_weights(path).states
    rivals = [state for state in others if (state.averaged, len(state.tensors)) == (first.averaged, len(first.tensors))]
    if any(not same(first.tensors, state.tensors) for state in rivals):
        raise several(str(path), [(state.where, "") for state in (first, *rivals)])
    tensors = first.tensors
    while all(name.startswith("module.") for name in tensors):  # saved out of torch's DataParallel
        tensors = without("module.", tensors)
    return dict(tensors)


def read_weights(path: Path) -> Found:
    """Everything in a file, or a folder, that may be a model's weights; at least one dictionary of tensors.

    A folder (a run's, or one that a model was published as) stands for the model.safetensors in it. Raises UserError
    as read_tensors.
    """
    chosen = weights_file(path)
    if chosen != path:
        found = read_weights(chosen)
        return Found(found.states, (f"the weights are {chosen}", *found.notes))
    checkpoint = _checkpoint(path)
    if checkpoint is not None:
        check_index(Path(f"{checkpoint}.index"))
        return _found(path, _from_tensorflow(checkpoint))
    named = recognise(path)
    if named.kind == "parts":
        return _from_parts(path)
    notes: list[str] = []
    try:
        content = READERS[named.kind](path, notes)
    except UserError:
        raise
    except MemoryError as cause:
        raise UserError(f"{path} says that it holds more than the memory does", hint=AGAIN) from cause
    except Exception as cause:  # what is damaged ends each library's reader in errors of its own, of many kinds
        what = f"{path} looks like {named.words}, and is damaged or cut short"
        raise UserError(what, [first_line(cause)], hint=AGAIN) from cause
    return _found(path, content, notes)


def _found(path: Path, content: object, notes: Iterable[str] = ()) -> Found:
    try:
        states = states_in(content) if isinstance(content, Mapping) else ()
    except UserError as error:
        raise UserError(f"{path} cannot be used: {error.problem}", error.details, error.hint) from error
    if not states and is_of_optimizer(content):
        raise UserError(
            f"{path} holds an optimizer's state, and no weights",
            hint="look for the model's own file beside it, or save it: torch.save(model.state_dict(), 'weights.pth')",
        )
    if not states:
        raise UserError(f"{path} holds no tensors by name", hint="save a model's weights, not something else of it")
    if path.is_file():
        check_growth(path, sum(tensor.nbytes for state in states for tensor in state.tensors.values()))
    return Found(states, tuple(notes))


def several(where: str, places: Sequence[tuple[str, str]]) -> UserError:
    """The error for weights of several models in one file, none of which is the average of another.

    `places` are the dictionaries that hold them, and how the names of the tensors there begin.
    """
    told = [".".join(filter(None, (inside, before.removesuffix(".")))) for inside, before in places]
    inside, before = places[0]
    tensors = f"torch.load({where!r})" + "".join(f"[{name!r}]" for name in inside.split(".") if name)
    if before:
        chosen = f"for name, t in {tensors}.items() if name.startswith({before!r})"
        tensors = f"{{name.removeprefix({before!r}): t {chosen}}}"
    first = told[0] or "the outermost names"
    return UserError(
        f"{where} holds the weights of several models that fit, and they differ",
        listed([place or "the outermost names" for place in told]),
        hint=f"save those of one alone; for {first}: torch.save({tensors}, 'weights.pth')"
        if Path(where).suffix.lower() in (".pth", ".pt", ".th", ".bin", ".ckpt", ".tar")
        else f"give those of one alone: {first}, say",
    )


def weights_file(path: Path) -> Path:
    """The file that a folder stands for; `path` itself for anything else. UserError where nothing is there."""
    kind = kind_of(path)
    if kind == "file" or _checkpoint(path) is not None:
        return path
    if kind != "folder":
        what = "is not there" if kind == "nothing" else "is no file"
        raise UserError(f"{path} {what}", hint=f"--weights takes {FORMATS}, or imagenet")
    try:
        inside = sorted(path.iterdir())
    except OSError as cause:
        raise of_system(cause, str(path), doing="read") from cause
    if known := next((path / name for name in IN_FOLDERS if path / name in inside), None):
        return known
    if (path / "config.toml") in inside:
        network = None
        with suppress(OSError, ValueError):  # what is damaged there, `resume` says
            network = tomllib.loads((path / "config.toml").read_text(encoding="utf-8")).get("model")
        raise UserError(
            f"{path} is a run without a model yet", hint=f"`{to_resume(path, network)}` goes on with its training"
        )
    if (path / "saved_model.pb") in inside:
        hint = "in Keras: model.save_weights('model.weights.h5')"
        raise UserError(f"{path} is a SavedModel of TensorFlow, which has no names of layers", hint=hint)
    of_weights = [file.name for file in inside if file.suffix.lower() in (*SUFFIXES, ".index")]
    raise UserError(
        f"{path} is a folder",
        [f"in it: {', '.join(listed(of_weights, 5))}"] if of_weights else ["nothing in it is known to be weights"],
        hint=f"--weights {path / of_weights[0]}" if of_weights else f"--weights takes {FORMATS}, or a run's folder",
    )


def _from_parts(path: Path) -> Found:
    """A model in several files beside a list of them, as large ones are published; a part is a name, and no path."""
    held = parts_of(path)
    files = sorted(set(held.values()))
    if strange := [part for part in files if not re.fullmatch(r"[\w.-]+", part) or part.startswith(".")]:
        raise UserError(f"{path} names a part that is no file beside it: {strange[0]!r}", hint=AGAIN)
    if missing := [part for part in files if not (path.parent / part).is_file()]:
        raise UserError(f"{path} lists parts that are not beside it", listed(missing), hint="get all of its parts")
    parts = {part: read_tensors(path.parent / part) for part in files}
    if lost := [name for name, part in held.items() if name not in parts[part]]:
        raise UserError(f"{path} says that {held[lost[0]]} holds {lost[0]}, and it does not", hint=AGAIN)
    content = {name: parts[part][name] for name, part in held.items()}
    return Found(states_in(content))


def _from_safetensors(path: Path, notes: list[str]) -> Mapping[str, Any]:  # noqa: ARG001 - as all readers
    with textual(path) as place:
        return load_file(place)


class _Filled(type):
    """torch's reader fills dictionaries of three types, compared by ==; those of any other may be filled in vain."""

    def __eq__(cls, other: object) -> bool:
        return other is dict or other is cls

    __hash__ = type.__hash__


class _Unread(metaclass=_Filled):
    """Stands for whatever a pickle would have imported and called besides tensors: nothing is done, or kept."""

    def __new__(cls, *_: object, **__: object) -> "_Unread":
        return super().__new__(cls)

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass

    def __setitem__(self, name: object, value: object) -> None:
        pass


def _dictionary(*_: object) -> dict[Any, Any]:
    """Stands for a dictionary with a default for what is not there."""
    return {}


READ: dict[str, Callable[..., Any]] = {
    "collections.defaultdict": _dictionary,
    "numpy._core.multiarray._reconstruct": Array,
    "numpy.core.multiarray._reconstruct": Array,
    "numpy.ndarray": _Unread,
    "numpy.dtype": Kind,
}


def _from_torch(path: Path, notes: list[str]) -> Mapping[str, Any]:
    """Tensors, and the plain values beside them, by torch's own restricted reader.

    A checkpoint often holds something else as well (its settings, a number of NumPy): of that nothing is imported or
    called, a stand-in takes its place; for arrays of NumPy one that keeps their numbers. A whole model that was
    pickled has no dictionary of tensors, and is refused.
    """
    # Opened by us: by a name that ends with .safetensors, torch would read that. Its warnings are advice to its makers.
    with path.open("rb") as file, warnings.catch_warnings(action="ignore"):
        try:
            content, others = torch.load(file, map_location="cpu", weights_only=True), []
        except pickle.UnpicklingError as cause:
            try:
                file.seek(0)
                others = _imported_by(file)
                stand_ins = [(READ.get(name, _Unread), name) for name in others]
                with torch.serialization.safe_globals(stand_ins):  # type: ignore[arg-type]
                    file.seek(0)
                    content = torch.load(file, map_location="cpu", weights_only=True)
            except (pickle.UnpicklingError, ValueError, RuntimeError):
                raise _more_than_weights(path, _refused(cause)) from cause
    if isinstance(content, list | tuple):  # [model.state_dict(), optimizer.state_dict()]
        content = {str(place): each for place, each in enumerate(content)}
    if others and not (isinstance(content, Mapping) and states_in(content)):
        raise _more_than_weights(path, f"it is made of {', '.join(listed(others, 3))}")
    if others := [name for name in others if name not in READ and not name.startswith("builtins.")]:
        notes.append(f"{path.name} also holds {', '.join(listed(others, 3))}, which was not read")
    return content if isinstance(content, Mapping) else {}


def _imported_by(file: BinaryIO) -> list[str]:
    """What the pickle in `file` would import, besides what torch's reader takes for safe."""
    try:
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(file))
    except ValueError:  # as torch.save wrote until 1.6: four pickles, then the numbers
        file.seek(0)
        names = {name for _ in range(4) for name in get_globals_in_pkl(file)}
        return sorted(names - _get_allowed_globals().keys())


def _refused(cause: pickle.UnpicklingError) -> str:
    """What torch's reader refused: it says so behind much advice."""
    said = re.search(r"WeightsUnpickler error:\s*(.+)", str(cause))
    if said and said[1].startswith("Unsupported operand"):
        return "it was pickled in another way than torch.save does by itself (pickle_protocol)"
    return said[1].split(". ")[0] if said else first_line(cause)


def _more_than_weights(path: Path, why: str) -> UserError:
    return UserError(
        f"{path} holds more than weights, and running a pickle can run anything",
        [why],
        hint="save its weights alone, where the model is: torch.save(model.state_dict(), 'weights.pth')",
    )


def _from_numpy(path: Path, notes: list[str]) -> dict[str, ndarray]:  # noqa: ARG001 - as all readers
    """The arrays of an .npz, each as long as its header says. NumPy would make the room first, and read then."""
    found = {}
    with ZipFile(path) as archive:
        for member in (member for member in archive.infolist() if member.filename.endswith(".npy")):
            name = member.filename.removesuffix(".npy")
            with archive.open(member) as file:
                version = npy.read_magic(file)  # type: ignore[no-untyped-call]
                header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
                shape, _, dtype = header(file)  # type: ignore[no-untyped-call]
                if dtype.hasobject:
                    hint = "save plain arrays: numpy.savez(FILE, **{name: array})"
                    raise UserError(f"{path} holds {name} as a pickled object, which is not run", hint=hint)
                size = dtype.itemsize
                for side in shape:
                    size *= side
                if min(shape, default=0) < 0 or size != member.file_size - file.tell():
                    raise ValueError(f"{name} is not as long as it says")
            with archive.open(member) as file:
                found[name] = npy.read_array(file, allow_pickle=False)  # type: ignore[no-untyped-call]
    return found


def _from_pickle(path: Path, notes: list[str]) -> dict[str, Any]:  # noqa: ARG001 - as all readers
    """Paddle pickles dictionaries of arrays; some of its versions write each as a pair of its inner name and itself."""
    try:
        content = arrays_of(path)
    except NotPlain as cause:
        raise _more_than_weights(path, str(cause)) from cause
    items = content.items() if isinstance(content, dict) else ()
    found = {name: value[1] if isinstance(value, tuple) and len(value) == 2 else value for name, value in items}
    if any(
        isinstance(name, str) and re.search(r"_(beta[12]_pow_acc|moment[12]|velocity)_\d+$", name) for name in found
    ):
        raise UserError(f"{path} is an optimizer's state of Paddle", hint="the weights are in the .pdparams beside it")
    return found


def _from_h5(path: Path, notes: list[str]) -> dict[str, ndarray]:  # noqa: ARG001 - as all readers
    from pellucid.weights.keras_files import from_h5  # brings h5py

    return from_h5(path)


def _from_keras(path: Path, notes: list[str]) -> dict[str, ndarray]:  # noqa: ARG001 - as all readers
    from pellucid.weights.keras_files import from_keras  # brings h5py

    return from_keras(path)


def _checkpoint(path: Path) -> Path | None:
    """The name that TensorFlow knows a checkpoint by, as its index tells; None where `path` is none."""
    whole = path.with_suffix("") if path.suffix == ".index" or ".data-" in path.suffix else path
    return whole if whole.name and kind_of(f"{whole}.index") == "file" else None


def _from_tensorflow(path: Path, notes: object = None) -> dict[str, Any]:  # noqa: ARG001 - as all readers
    try:
        from tensorflow import train
        from tensorflow.errors import OpError
    except ImportError as cause:
        raise UserError(
            f"{path} is a TensorFlow checkpoint, and tensorflow is not installed",
            hint="pip install tensorflow-cpu, or save the variables by their names as an .npz",
        ) from cause
    try:
        checkpoint = train.load_checkpoint(str(path))
        names = checkpoint.get_variable_to_shape_map()
        return {name: checkpoint.get_tensor(name) for name in sorted(names)}
    except (OpError, ValueError, RuntimeError) as cause:
        raise UserError(f"{path} is not a TensorFlow checkpoint, or it is damaged", [str(cause)[:200]]) from cause


READERS: dict[str, Callable[[Path, list[str]], Mapping[str, Any]]] = {
    "safetensors": _from_safetensors,
    "torch": _from_torch,
    "npz": _from_numpy,
    "pickle": _from_pickle,
    "hdf5": _from_h5,
    "keras": _from_keras,
    "tensorflow": _from_tensorflow,
}
