"""Weights from files, under whoever's names: every tensor finds its partner, or the call says which does not."""

import pickle
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from numpy import ndarray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from pellucid.errors import UserError, listed
from pellucid.networks.build import TIMM, Network, held, units

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

    `layout` says whose names they are: "pellucid", "torchvision", "timm", or "auto" for the first in which all is
    found. `until` is the last end point that the weights reach; what comes after stays random. Without `head`, the
    last linear layer stays random. Raises UserError naming the first tensor without a partner.
    """
    where = str(source) if isinstance(source, Path | str) else "these weights"
    tensors = read_tensors(Path(source)) if isinstance(source, Path | str) else _as_tensors(source)
    state = net.state_dict()
    wanted = _wanted(net, state, until=until, head=head)
    layouts = _layouts(net) if layout == "auto" else (_known_layout(net, layout),)
    tried = {name: _partners(net, wanted, name) for name in layouts}
    fitting = [name for name, partners in tried.items() if not _misfits(state, tensors, partners)]
    if not fitting:
        raise _no_partner(net, where, state, tensors, tried)
    partners = tried[fitting[0]]
    whole = set(_partners(net, list(state), fitting[0]).values())
    surplus = [name for name in tensors if name not in whole and not name.endswith(COUNTER)]
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
    used = set(partners.values())
    return LoadReport(
        layout=fitting[0],
        loaded=tuple(partners),
        left_random=tuple(name for name in state if name not in partners and not name.endswith(COUNTER)),
        left_out=tuple(name for name in tensors if name not in used and not name.endswith(COUNTER)),
    )


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors in a .safetensors, or in a .pth, .pt or .th read weights-only: nothing is ever unpickled."""
    if not path.is_file():
        raise UserError(f"{path} is not there", hint="--weights takes a .safetensors or .pth file, or imagenet")
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
    if net.name.startswith(TIMM):
        return ("timm", "pellucid")
    return ("pellucid", "torchvision", "timm") if net.family in NAMES else ("pellucid",)


def _known_layout(net: Network, layout: str) -> str:
    known = _layouts(net)
    if layout not in known:
        raise UserError(f"{net.name} has no weights in layout {layout!r}", hint=f"it has {', '.join(known)}, or auto")
    return layout


def _partners(net: Network, wanted: list[str], layout: str) -> dict[str, str]:
    """Our name to theirs, for every tensor that is wanted."""
    if layout == "pellucid":
        return {name: name for name in wanted}
    if net.name.startswith(TIMM):
        return {name: name.removeprefix("model.") for name in wanted}
    names = dict(NAMES[net.family](list(net.state_dict()), layout))
    return {name: names[name] for name in wanted}


def _resnet(ours: list[str], _layout: str) -> Iterator[tuple[str, str]]:
    """torchvision's names; timm has the same. conv3_x.unit_2.conv1.norm.weight is layer2.1.bn1.weight."""
    for name in ours:
        theirs = re.sub(r"^conv(\d)_x\.unit_(\d+)\.", lambda at: f"layer{int(at[1]) - 1}.{int(at[2]) - 1}.", name)
        theirs = theirs.replace("shortcut.conv", "downsample.0").replace("shortcut.norm", "downsample.1")
        theirs = re.sub(r"conv(\d)\.conv\.", r"conv\1.", theirs)
        theirs = re.sub(r"conv(\d)\.norm\.", r"bn\1.", theirs)
        yield name, theirs.replace("Logits.", "fc.")


def _vgg(ours: list[str], layout: str) -> Iterator[tuple[str, str]]:
    """One numbered list of convolution, norm, ReLU and pooling; timm writes the first linear layers as convolutions."""
    linear = {
        "torchvision": ("classifier.0.", "classifier.3.", "classifier.6."),
        "timm": ("pre_logits.fc1.", "pre_logits.fc2.", "head.fc."),
    }[layout]
    heads = dict(zip(("fc6.linear.", "fc7.linear.", "Logits."), linear, strict=True))
    normed = any(".norm." in name for name in ours)
    place, stage, number = -1, "", -1
    convolution = ""
    for name in ours:
        if found := next((head for head in heads if name.startswith(head)), None):
            yield name, heads[found] + name.removeprefix(found)
            continue
        here, part, kind, leaf = name.split(".")
        if (here, part) != (stage, convolution):
            # The first comes at 0; then over ReLU, norm where there is one, and the pooling between stages.
            number = 0 if place < 0 else place + 2 + normed + (here != stage)
            place, stage, convolution = number, here, part
        yield name, f"features.{number + (kind == 'norm')}.{leaf}"


NAMES = {"resnet": _resnet, "vgg": _vgg}


def _misfits(state: Mapping[str, Tensor], tensors: Mapping[str, Tensor], partners: Mapping[str, str]) -> list[str]:
    """Our names whose partner is not there, or has another shape."""
    return [
        ours
        for ours, theirs in partners.items()
        if not (theirs in tensors and _alike(state[ours], tensors[theirs]))
        and not (ours.endswith(COUNTER) and theirs not in tensors)
    ]


def _alike(ours: Tensor, theirs: Tensor) -> bool:
    """The same shape, or a linear layer that somebody wrote as a convolution over the whole map."""
    return ours.shape == theirs.shape or (ours.ndim == 2 and theirs.ndim == 4 and ours.shape == theirs.flatten(1).shape)


def _no_partner(
    net: Network,
    where: str,
    state: Mapping[str, Tensor],
    tensors: Mapping[str, Tensor],
    tried: Mapping[str, Mapping[str, str]],
) -> UserError:
    """Name the first tensor that has no partner, in the layout that fits most."""
    misfits = {layout: _misfits(state, tensors, partners) for layout, partners in tried.items()}
    layout = min(misfits, key=lambda name: len(misfits[name]))
    partners, first = tried[layout], misfits[layout][0]
    theirs = partners[first]
    if theirs in tensors:
        problem = f"{theirs} is {_shape(tensors[theirs])}, and {first} is {_shape(state[first])}"
    else:
        near = get_close_matches(theirs, tensors, n=3)
        problem = f"{theirs} ({_shape(state[first])}) is not there" + (f"; near are {', '.join(near)}" if near else "")
    several = len(misfits[layout])
    reached = _reached(net, partners, misfits[layout])
    return UserError(
        f"{where} does not fit {net.name} by the names of {layout}",
        listed([problem, *([f"and {several - 1} more like it"] if several > 1 else [])]),
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
