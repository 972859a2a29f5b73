"""Keras' files: a model's own weights out of HDF5, as `layer/kernel`; what an optimizer or a metric keeps stays there.

HDF5 can name other files, to be read in its place: such a file is refused before anything is read.
"""

import json
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import ZipFile

import h5py
from numpy import ndarray

from pellucid.errors import UserError
from pellucid.weights.kinds import check_growth

# What a layer of Keras keeps, in its order; a norm may lack its scale.
TENSORS = ("kernel", "bias")
NORM = ("gamma", "beta", "moving_mean", "moving_variance")
GROUPS = {"BatchNormalization": "batch_normalization"}
# Where the layers of a model are: Keras 3, its first versions, and up to Keras 2 beside an optimizer.
LAYERS = ("layers", "_layer_checkpoint_dependencies", "model_weights")
BESIDE = {"optimizer", "optimizer_weights", "metrics", "_metrics", "compile_metrics", "loss", "loss_tracker"}


def from_h5(path: Path) -> dict[str, ndarray]:
    with path.open("rb") as file:
        return _layers(file, path, {})


def from_keras(path: Path) -> dict[str, ndarray]:
    """A .keras file is a zip: the weights, and in config.json the layers in their order."""
    with ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
        weights = BytesIO(archive.read("model.weights.h5"))
    layers = [(layer["class_name"], layer["config"]["name"]) for layer in config["config"].get("layers", [])]
    return _layers(weights, path, _names_by_group(layers))


def _layers(file: BinaryIO, path: Path, names: Mapping[str, str]) -> dict[str, ndarray]:
    """`layer/kernel` and the like, out of the three ways in which Keras has written HDF5."""
    with h5py.File(file, "r") as content:
        check_growth(path, sum(data.size * data.dtype.itemsize for data in _inside(content, path, set())))
        found: dict[str, ndarray] = {}
        for group in _groups(content, set()):
            for name, data in (*_named(group), *_numbered(group, names)):
                if name in found:
                    raise UserError(
                        f"{path} holds two layers called {name.rpartition('/')[0]}",
                        [f"the second in {group.name}"],
                        hint="save the weights of the model that you want alone",
                    )
                found[name] = data[()]
        return found


def _inside(group: Any, path: Path, seen: set[int]) -> Iterator[Any]:
    """Every array, each once. Raises UserError where one is, or would be looked for, in another file."""
    for name in group:
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.SoftLink):
            continue  # another name, in this file, of what is found anyway
        child = None if isinstance(link, h5py.ExternalLink) else group[name]
        if child is None or (isinstance(child, h5py.Dataset) and (child.external or child.is_virtual)):
            raise UserError(
                f"{path} would read other files: {group.name.rstrip('/')}/{name} lies outside of it",
                hint="use a file that holds its weights itself",
            )
        if _address(child) in seen:
            continue
        seen.add(_address(child))
        if isinstance(child, h5py.Dataset):
            yield child
        elif isinstance(child, h5py.Group):
            yield from _inside(child, path, seen)


def _address(child: Any) -> int:
    """What tells an object of HDF5 from others: it may have several names, its own parent's among them."""
    return int(h5py.h5o.get_info(child.id).addr)


def _groups(group: Any, seen: set[int]) -> Iterator[Any]:
    """The groups that belong to a model's layers, also to those of models in it; each once."""
    yield group
    if group.name.rpartition("/")[2] in LAYERS:
        names = list(group)
    else:
        inside = [name for name in LAYERS if _holds_arrays(group.get(name))]
        names = inside[:1] or [name for name in group if name not in BESIDE]
    for name in names:
        child = group.get(name)
        if isinstance(child, h5py.Group) and name != "vars" and _address(child) not in seen:
            seen.add(_address(child))
            yield from _groups(child, seen)


def _holds_arrays(group: Any) -> bool:
    """A model of one's own class may keep its layers under other names, and an empty `layers` beside them."""
    if not isinstance(group, h5py.Group):
        return False
    return group.visititems(lambda _, child: True if isinstance(child, h5py.Dataset) else None) is True


def _named(group: Any) -> Iterator[tuple[str, Any]]:
    """Up to Keras 2, and .h5 since: every layer's group lists the names of its arrays, such as conv1/kernel:0.

    A list that is too long for HDF5 goes on in weight_names0, weight_names1 and so on.
    """
    lists = [key for key in group.attrs if key.startswith("weight_names") and key[12:].isdigit()]
    for key in ("weight_names", *sorted(lists, key=lambda key: int(key[12:]))):
        for name in group.attrs.get(key, ()):
            full = name.decode() if isinstance(name, bytes) else str(name)
            layer, _, tensor = full.removesuffix(":0").rpartition("/")
            yield f"{layer.rpartition('/')[2]}/{tensor}", group[full]


def _numbered(group: Any, names: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    """Keras 3: a layer's arrays are numbered in a group `vars`, which knows the layer's name since 3.7 or so."""
    held = group.get("vars")
    if not isinstance(held, h5py.Group) or not len(held):
        return
    own = group.name.rpartition("/")[2]
    layer = held.attrs.get("name") or names.get(own) or own
    arrays = [held[number] for number in sorted(held, key=int)]
    tensors = TENSORS if arrays[0].ndim > 1 else NORM[4 - len(arrays) :]
    for tensor, array in zip(tensors, arrays, strict=False):
        yield f"{layer}/{tensor}", array


def _names_by_group(layers: list[tuple[str, str]]) -> dict[str, str]:
    """Groups without a name are called after their class and counted: conv2d, conv2d_1, in the order of the config."""
    counts: dict[str, int] = {}
    found = {}
    for kind, name in layers:
        snake = GROUPS.get(kind, kind.lower())
        number = counts.get(snake, 0)
        counts[snake] = number + 1
        found[f"{snake}_{number}" if number else snake] = name
    return found
