"""Weights from files, under whoever's names: every tensor finds its partner, or the call says which does not."""

import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import torch
from numpy import load, ndarray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from pellucid.errors import UserError, listed
from pellucid.networks.build import Network, TableNetwork, held, units
from pellucid.networks.names import HEADS, NAMES

SCALE = ".norm.weight"
SCOPE = re.compile(r"Inception(V\d|ResnetV2)/.*")  # what a saved model or a user may write before it is left out
SLOTS = ("/Adam", "/Adam_1", "/RMSProp", "/RMSProp_1", "/Momentum", "/ExponentialMovingAverage", "/local_step")
COUNTER = "num_batches_tracked"  # of batch norms: nothing is computed with it, and older files lack it


@dataclass(frozen=True)
class LoadReport:
    """Our names of what was loaded and of what stays random; the file's names of what was not used."""

    layout: str
    loaded: tuple[str, ...]
    left_random: tuple[str, ...]
    left_out: tuple[str, ...]


def load_weights(
    net: Network,
    source: Path | str | Mapping[str, Any],
    *,
    layout: str = "auto",
    until: str | None = None,
    head: bool = True,
) -> LoadReport:
    """Load `source`, a file or a mapping of name to array, into `net`; half precision becomes float32.

    `layout` says whose names they are: "pellucid", "torchvision", "timm", "tf-slim", or "auto" for the first in which
    all is found. `until` is the last end point that the weights reach; what comes after stays random. Without
    `head`, the last linear layer stays random. Raises UserError naming the first tensor without a partner.
    """
    where = str(source) if isinstance(source, Path | str) else "these weights"
    given = read_tensors(Path(source)) if isinstance(source, Path | str) else _as_tensors(source)
    state = net.state_dict()
    wanted = _wanted(net, state, until=until, head=head)
    layouts = _layouts(net) if layout == "auto" else (_known_layout(net, layout),)
    tried = {name: _Fit(net, state, wanted, name, _in_our_order(given, name)) for name in layouts}
    fitting = next((fit for fit in tried.values() if not fit.misfits()), None)
    if fitting is None:
        raise _no_partner(where, min(tried.values(), key=lambda fit: len(fit.misfits())))
    tensors, partners = fitting.tensors, fitting.partners
    whole = set(_partners(net, list(state), fitting.layout).values())
    surplus = [name for name in tensors if name not in whole and not name.endswith(COUNTER) and not _of_head(net, name)]
    if surplus and until is None:
        raise UserError(
            f"{where} holds more than {net.name} has: {surplus[0]}",
            [f"{len(surplus)} of its {len(tensors)} tensors have no place here"],
            hint="is it a deeper network's? --until END_POINT takes only what comes before",
        )
    with torch.no_grad():
        for ours, theirs in partners.items():
            if theirs in tensors:
                state[ours].copy_(tensors[theirs].reshape(state[ours].shape))
            elif ours.endswith(SCALE):
                state[ours].fill_(1)
    used = set(partners.values())
    return LoadReport(
        layout=fitting.layout,
        loaded=tuple(partners),
        left_random=tuple(name for name in state if name not in partners and not name.endswith(COUNTER)),
        left_out=tuple(name for name in tensors if name not in used and not name.endswith(COUNTER)),
    )


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors in a .safetensors, or in a .pth, .pt or .th read weights-only: nothing is ever unpickled."""
    if not path.is_file():
        raise UserError(f"{path} is not there", hint="--weights takes a .safetensors or .pth file, or imagenet")
    if path.suffix == ".npz":
        return _as_tensors(_arrays(path))
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as cause:
            raise UserError(f"{path} is not a .safetensors file, or it is damaged", [str(cause)]) from cause
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
    found = _as_tensors(content) if isinstance(content, Mapping) else {}
    if not found:
        raise UserError(f"{path} holds no tensors by name", hint="save a model's state_dict")
    return found


def _arrays(path: Path) -> dict[str, ndarray]:
    """The arrays of an .npz; of TF-Slim's reference files, the weights alone."""
    try:
        with load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file}
    except (OSError, ValueError, BadZipFile) as cause:
        raise UserError(f"{path} is not an .npz of plain arrays, or it is damaged", [str(cause)]) from cause


def _as_tensors(values: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors and arrays among `values`; a checkpoint often holds an epoch, a name or nothing beside them."""
    found = {str(name): torch.as_tensor(value) for name, value in values.items() if isinstance(value, Tensor | ndarray)}
    parallel = all(name.startswith("module.") for name in found)  # saved out of torch's DataParallel
    return {name.removeprefix("module.") if parallel else name: value for name, value in found.items()}


def _wanted(net: Network, state: Mapping[str, Tensor], *, until: str | None, head: bool) -> list[str]:
    """Our names of the tensors that the weights must have."""
    beyond = list(net.divided(until).after) if until is not None else []
    beyond += [] if head else [part for module in net.head_modules() for part in units(module)]
    unwanted = {id(tensor) for module in beyond for tensor in held(module)}
    ours = dict(net.named_parameters()) | dict(net.named_buffers())
    return [name for name in state if id(ours[name]) not in unwanted]


def _layouts(net: Network) -> tuple[str, ...]:
    if isinstance(net, TableNetwork):
        return ("pellucid", *NAMES.get(net.family, ()))
    return ("timm", "pellucid")


def _known_layout(net: Network, layout: str) -> str:
    known = _layouts(net)
    if layout not in known:
        raise UserError(f"{net.name} has no weights in layout {layout!r}", hint=f"it has {', '.join(known)}, or auto")
    return layout


def _partners(net: Network, wanted: list[str], layout: str) -> dict[str, str]:
    """Our name to theirs, for every tensor that is wanted."""
    if layout == "pellucid":
        return {name: name for name in wanted}
    if not isinstance(net, TableNetwork):
        return {name: name.removeprefix("model.") for name in wanted}
    shapes = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
    names = dict(NAMES[net.family][layout](shapes, layout))
    return {name: names[name] for name in wanted}


def _of_head(net: Network, name: str) -> bool:
    """Whether a tensor belongs to an auxiliary head that `net` was built without."""
    return isinstance(net, TableNetwork) and not net.head_names and HEADS.match(name) is not None


def _in_our_order(tensors: Mapping[str, Tensor], layout: str) -> Mapping[str, Tensor]:
    """The tensors with their axes as torch has them. TensorFlow's convolutions are (height, width, in, out)."""
    if layout != "tf-slim":
        return tensors
    found = {}
    for name, tensor in tensors.items():
        scoped = SCOPE.search(name)
        if not scoped or name.endswith(SLOTS):
            continue
        if name.endswith("depthwise_weights"):
            tensor = tensor.permute(2, 3, 0, 1).flatten(0, 1).unsqueeze(1)
        elif tensor.ndim == 4:
            tensor = tensor.permute(3, 2, 0, 1)
        elif tensor.ndim == 2:
            tensor = tensor.T
        found[scoped[0].removesuffix(":0")] = tensor
    return found


@dataclass(frozen=True)
class _Fit:
    """How well `tensors` are what `net` wants, by the names of one layout."""

    net: Network
    state: Mapping[str, Tensor]
    wanted: list[str]
    layout: str
    tensors: Mapping[str, Tensor]

    @cached_property
    def partners(self) -> dict[str, str]:
        return _partners(self.net, self.wanted, self.layout)

    def misfits(self) -> list[str]:
        """Our names whose partner is not there, or has another shape."""
        return [ours for ours, theirs in self.partners.items() if not self._fits(ours, theirs)]

    def _fits(self, ours: str, theirs: str) -> bool:
        if theirs in self.tensors:
            return _alike(self.state[ours], self.tensors[theirs])
        # TF-Slim's batch norms have no scale: then it is one.
        return ours.endswith(COUNTER) or (self.layout == "tf-slim" and ours.endswith(SCALE))


def _alike(ours: Tensor, theirs: Tensor) -> bool:
    """The same shape, or a linear layer that somebody wrote as a convolution over the whole map."""
    return ours.shape == theirs.shape or (ours.ndim == 2 and theirs.ndim == 4 and ours.shape == theirs.flatten(1).shape)


def _no_partner(where: str, fit: _Fit) -> UserError:
    """Name the first tensor that has no partner, with the nearest names, in the layout that fits most."""
    misfits = fit.misfits()
    first = misfits[0]
    theirs = fit.partners[first]
    if theirs in fit.tensors:
        problem = f"{theirs} is {_shape(fit.tensors[theirs])}, and {first} is {_shape(fit.state[first])}"
    else:
        near = get_close_matches(theirs, fit.tensors, n=3)
        problem = f"{theirs} ({_shape(fit.state[first])}) is not there" + (
            f"; near are {', '.join(near)}" if near else ""
        )
    reached = _reached(fit.net, fit.partners, misfits)
    return UserError(
        f"{where} does not fit {fit.net.name} by the names of {fit.layout}",
        listed([problem, *([f"and {len(misfits) - 1} more like it"] if len(misfits) > 1 else [])]),
        hint=f"the file is whole up to {reached}: --until {reached} takes it"
        if reached
        else "is it another network's?",
    )


def _reached(net: Network, partners: Mapping[str, str], misfits: list[str]) -> str | None:
    """The last end point before which nothing is missing, or None where there is none."""
    owner = {
        name: end_point
        for end_point in net.end_point_names
        for name in partners
        if name.startswith((f"{end_point}.", f"model.{end_point}."))
    }
    broken = {owner.get(name) for name in misfits}
    whole: str | None = None
    for end_point in net.end_point_names:
        if end_point in broken or None in broken:
            return whole
        whole = end_point
    return None


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a scalar"
