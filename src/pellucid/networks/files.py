"""Files of weights, whatever framework wrote them, as tensors by the names that they have there."""

import json
import pickle
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import BadZipFile, ZipFile

import torch
from numpy import load, ndarray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from pellucid.errors import UserError
from pellucid.networks.pickled import NotPlain, arrays_of

FORMATS = ".safetensors, .pth, .npz, .h5, .keras, .pdparams or a TensorFlow checkpoint"
# What a layer of Keras keeps, in its order; a norm may lack its scale.
KERAS_TENSORS = ("kernel", "bias")
KERAS_NORM = ("gamma", "beta", "moving_mean", "moving_variance")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors in a file, by its own names and with its own order of axes; nothing is ever unpickled.

    Formats: .safetensors; .pth, .pt and .th, read weights-only; .npz; Keras' .h5 and .keras; Paddle's .pdparams; and,
    where tensorflow is installed, its checkpoints. Raises UserError where the file is none of them, or is damaged.
    """
    checkpoint = _checkpoint(path)
    if checkpoint is not None:
        return _from_tensorflow(checkpoint)
    if not path.is_file():
        raise UserError(f"{path} is not there", hint=f"--weights takes {FORMATS}, or imagenet")
    found = as_tensors(READERS.get(path.suffix.lower(), _from_torch)(path))
    if not found:
        raise UserError(f"{path} holds no tensors by name", hint="save a model's weights, not something else of it")
    return found


def as_tensors(values: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors and arrays among `values`; a checkpoint often holds an epoch, a name or nothing beside them."""
    numbers = {name: value for name, value in values.items() if isinstance(value, Tensor) or _of_numbers(value)}
    found = {str(name): torch.as_tensor(_native(value)) for name, value in numbers.items()}
    parallel = all(name.startswith("module.") for name in found)  # saved out of torch's DataParallel
    return {name.removeprefix("module.") if parallel else name: value for name, value in found.items()}


def _of_numbers(value: object) -> bool:
    return isinstance(value, ndarray) and value.dtype.kind in "biuf"


def _native(value: Tensor | ndarray) -> Tensor | ndarray:
    """Torch knows one order of bytes, the machine's."""
    return value if isinstance(value, Tensor) else value.astype(value.dtype.newbyteorder("="), copy=False)


def _from_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as cause:
        raise UserError(f"{path} is not a .safetensors file, or it is damaged", [str(cause)]) from cause


def _from_torch(path: Path) -> Mapping[str, Any]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as cause:
        raise UserError(
            f"{path} holds more than weights, and running a pickle can run anything",
            [str(cause).splitlines()[0]],
            hint="save its state_dict alone, best as .safetensors",
        ) from cause
    except (RuntimeError, EOFError, ValueError, OSError, KeyError) as cause:
        raise UserError(f"{path} holds no weights, or it is damaged", [str(cause).splitlines()[0]]) from cause
    while isinstance(content, Mapping) and not any(isinstance(value, Tensor) for value in content.values()):
        inside = [content[name] for name in ("state_dict", "model", "model_state_dict") if name in content]
        if not inside:
            break
        content = inside[0]
    return content if isinstance(content, Mapping) else {}


def _from_numpy(path: Path) -> dict[str, ndarray]:
    try:
        with load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file}
    except (OSError, ValueError, BadZipFile) as cause:
        raise UserError(f"{path} is not an .npz of plain arrays, or it is damaged", [str(cause)]) from cause


def _from_paddle(path: Path) -> dict[str, Any]:
    """Paddle pickles dictionaries of arrays; some of its versions write each as a pair of its inner name and itself."""
    try:
        content = arrays_of(path)
    except NotPlain as cause:
        hint = "save the model's state_dict alone: paddle.save(model.state_dict(), 'file.pdparams')"
        raise UserError(f"{path} holds more than weights: {cause}", hint=hint) from cause
    except ValueError as cause:
        raise UserError(f"{path} holds no weights of Paddle, or it is damaged", [str(cause)]) from cause
    items = content.items() if isinstance(content, dict) else ()
    return {name: value[1] if isinstance(value, tuple) and len(value) == 2 else value for name, value in items}


def _from_h5(path: Path) -> dict[str, ndarray]:
    with path.open("rb") as file:
        return _keras_layers(file, path, layers=None)


def _from_keras(path: Path) -> dict[str, ndarray]:
    """A .keras file is a zip: the weights, and in config.json the layers in their order."""
    try:
        with ZipFile(path) as archive:
            config = json.loads(archive.read("config.json"))
            weights = BytesIO(archive.read("model.weights.h5"))
    except (BadZipFile, KeyError, ValueError, OSError) as cause:
        raise UserError(f"{path} is not a .keras file, or it is damaged", [str(cause)]) from cause
    layers = [(layer["class_name"], layer["config"]["name"]) for layer in config["config"].get("layers", [])]
    return _keras_layers(weights, path, layers=layers)


def _keras_layers(file: BinaryIO, path: Path, *, layers: list[tuple[str, str]] | None) -> dict[str, ndarray]:
    """`layer/kernel` and the like, out of the three ways in which Keras has written HDF5."""
    import h5py

    try:
        with h5py.File(file, "r") as content:
            found = dict(_named_arrays(content))
            found |= dict(_numbered_arrays(content, _names_by_group(layers)))
            return found
    except (OSError, KeyError, RuntimeError, ValueError) as cause:
        raise UserError(f"{path} is not an HDF5 file of Keras, or it is damaged", [str(cause)]) from cause


def _named_arrays(content: Any) -> Iterator[tuple[str, ndarray]]:
    """Up to Keras 2, and .h5 since: every layer's group lists the names of its arrays, such as conv1/kernel:0."""
    for group in _groups(content):
        for name in group.attrs.get("weight_names", ()):
            full = name.decode() if isinstance(name, bytes) else str(name)
            layer, _, tensor = full.removesuffix(":0").rpartition("/")
            yield f"{layer.rpartition('/')[2]}/{tensor}", group[full][()]


def _numbered_arrays(content: Any, names: Mapping[str, str]) -> Iterator[tuple[str, ndarray]]:
    """Keras 3: a layer's arrays are numbered in a group `vars`, which knows the layer's name since 3.7 or so."""
    for group in _groups(content):
        held = group.get("vars")
        if held is None or not len(held) or group.name.startswith("/optimizer"):
            continue
        layer = held.attrs.get("name") or names.get(group.name.rpartition("/")[2]) or group.name.rpartition("/")[2]
        arrays = [held[number][()] for number in sorted(held, key=int)]
        tensors = KERAS_TENSORS if arrays[0].ndim > 1 else KERAS_NORM[4 - len(arrays) :]
        for tensor, array in zip(tensors, arrays, strict=False):
            yield f"{layer}/{tensor}", array


def _groups(content: Any) -> Iterator[Any]:
    yield content
    for child in content.values():
        if hasattr(child, "values"):
            yield from _groups(child)


def _names_by_group(layers: list[tuple[str, str]] | None) -> dict[str, str]:
    """Groups without a name are called after their class and counted: conv2d, conv2d_1, in the order of the config."""
    counts: dict[str, int] = {}
    found = {}
    for kind, name in layers or []:
        snake = KERAS_GROUPS.get(kind, kind.lower())
        number = counts.get(snake, 0)
        counts[snake] = number + 1
        found[f"{snake}_{number}" if number else snake] = name
    return found


KERAS_GROUPS = {"BatchNormalization": "batch_normalization"}


def _checkpoint(path: Path) -> Path | None:
    """The name that TensorFlow knows a checkpoint by; None where `path` is none."""
    whole = path.with_suffix("") if path.suffix == ".index" or ".data-" in path.suffix else path
    if Path(f"{whole}.index").is_file():
        return whole
    return path if path.suffix == ".ckpt" and path.is_file() else None  # before TensorFlow 0.12: one file


def _from_tensorflow(path: Path) -> dict[str, Tensor]:
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
        return as_tensors({name: checkpoint.get_tensor(name) for name in sorted(names)})
    except (OpError, ValueError, RuntimeError) as cause:
        raise UserError(f"{path} is not a TensorFlow checkpoint, or it is damaged", [str(cause)[:200]]) from cause


READERS: dict[str, Callable[[Path], Mapping[str, Any]]] = {
    ".safetensors": _from_safetensors,
    ".npz": _from_numpy,
    ".pdparams": _from_paddle,
    ".h5": _from_h5,
    ".hdf5": _from_h5,
    ".keras": _from_keras,
}
