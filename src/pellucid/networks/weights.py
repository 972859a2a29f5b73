"""Weights from files, under whoever's names: every tensor finds its partner, or the call says which does not."""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pellucid.architectures.catalog import architecture
from pellucid.errors import UserError, listed
from pellucid.networks.build import Network, TableNetwork, held, units
from pellucid.networks.files import as_tensors, read_tensors
from pellucid.networks.sources.table import HEADS, NAMES, arranged, partners_of

SCALE = ".norm.weight"
TENSORFLOW = ("tf-slim", "keras")  # layouts of TensorFlow; its batch norms may lack a scale, which then is one
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

    `layout` says whose names they are: "pellucid", "torchvision", "timm", "tf-slim", "keras", "paddle", or "auto" for
    the first in which all is found. `until` is the last end point that the weights reach; what comes after stays
    random. Without `head`, the last linear layer stays random. Raises UserError naming the first tensor without a
    partner.
    """
    where = str(source) if isinstance(source, Path | str) else "these weights"
    given = read_tensors(Path(source)) if isinstance(source, Path | str) else as_tensors(source)
    state = net.state_dict()
    wanted = _wanted(net, state, until=until, head=head)
    layouts = _layouts(net) if layout == "auto" else (_known_layout(net, layout),)
    tried = {name: _Fit(net, state, wanted, name, _arranged(net, given, name)) for name in layouts}
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
    names = partners_of(shapes, net.family, layout)
    return {name: names[name] for name in wanted}


def check_conventions(net: Network, report: LoadReport) -> None:
    """UserError where TensorFlow's weights are in a network that pads, averages or strides as torch does.

    The tensors fit all the same, and what they compute would be wrong without a word.
    """
    if report.layout not in TENSORFLOW or net.options.get("conventions") != "torch":
        return
    table = architecture(net.name)
    if table.torch != table.tensorflow:
        raise UserError(
            f"these are weights of {report.layout}, and {net.name} is built by torch's conventions",
            ["padding, epsilon or strides differ: it would compute something else"],
            hint="--conventions tensorflow (with train: --options.conventions tensorflow)",
        )


def names_elsewhere(net: TableNetwork, layout: str) -> dict[str, str]:
    """What `layout` calls each of our tensors; UserError where it has no network of this family."""
    return _partners(net, list(net.state_dict()), _known_layout(net, layout))


def _arranged(net: Network, tensors: Mapping[str, Tensor], layout: str) -> Mapping[str, Tensor]:
    return arranged(tensors, net.family, layout) if isinstance(net, TableNetwork) else tensors


def _of_head(net: Network, name: str) -> bool:
    """Whether a tensor belongs to an auxiliary head that `net` was built without."""
    return isinstance(net, TableNetwork) and not net.head_names and HEADS.match(name) is not None


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
        return ours.endswith(COUNTER) or (self.layout in TENSORFLOW and ours.endswith(SCALE))


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
