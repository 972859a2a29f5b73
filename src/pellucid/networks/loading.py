"""Weights from files, under whoever's names: every tensor finds its partner, or the call says which does not."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pellucid.architectures.options import TIMM
from pellucid.errors import UserError, counted, listed
from pellucid.networks.network import Network, held, units
from pellucid.weights.files import read_weights, several
from pellucid.weights.sources.common import Twice
from pellucid.weights.sources.table import HEADS, NAMES, arranged, partners_of
from pellucid.weights.states import AVERAGE, FLOATS, NO_WEIGHTS, State, prefixes, same, states_in, without

SCALE = ".norm.weight"
TENSORFLOW = ("tf-slim", "keras")  # layouts of TensorFlow; its batch norms may lack a scale, which then is one
TORCH = ("torchvision", "timm", "paddle")  # layouts of libraries that pad as torch does
PROFILED = ("total_ops", "total_params")  # what thop, which counts multiply-adds, leaves in a module
# What heads are called: one that is replaced may have had other layers than ours.
HEAD = re.compile(r"(fc|(\w+_)?head|heads|classifier|last_linear|linear|logits|proj|projection|projector|predictor)\.")
COUNTER = "num_batches_tracked"  # of batch norms: nothing is computed with it, and older files lack it


@dataclass(frozen=True)
class LoadReport:
    """Our names of what was loaded and of what stays random; the file's names of what was not used.

    `place`: the dictionary in the file, and what stood before its names; "" where there was neither. `notes` are
    sentences about what was decided, for whoever did not ask.
    """

    layout: str
    loaded: tuple[str, ...]
    left_random: tuple[str, ...]
    left_out: tuple[str, ...]
    place: str = ""
    notes: tuple[str, ...] = ()


def load_weights(
    net: Network,
    source: Path | str | Mapping[str, Any],
    *,
    layout: str = "auto",
    until: str | None = None,
    head: bool = True,
) -> LoadReport:
    """Load `source`, a file or a mapping of name to array, into `net`; other floating point becomes float32.

    `layout` says whose names they are: "pellucid", "torchvision", "timm", "tf-slim", "keras", "paddle", or "auto" for
    the first in which all is found. The tensors may lie in a dictionary inside (`state_dict`), and their names may
    begin with what some wrapper added (`module.`); of weights and their moving average the weights are taken. `until`
    is the last end point that the weights reach; what comes after stays random. Without `head`, the last linear layer
    stays random. Raises UserError naming the first tensor without a partner, and where a weight is no finite number;
    `net` is then as it was.
    """
    where = str(source) if isinstance(source, Path | str) else "what was given"
    found = read_weights(Path(source)) if isinstance(source, Path | str) else None
    states = found.states if found else states_in(source)  # type: ignore[arg-type]
    state = net.state_dict()
    wanted = _wanted(net, state, until=until, head=head)
    layouts = _layouts(net) if layout == "auto" else (_known_layout(net, layout),)
    tried = [fit for one in states for fit in _fits(net, state, wanted, one, layouts)]
    if not tried:
        raise UserError(f"{where} holds no tensors by name", hint="give a model's state_dict()")
    fitting = [fit for fit in tried if not fit.misfits]
    if not fitting:
        raise _no_partner(where, max(tried, key=lambda fit: (fit.present, -len(fit.misfits))))
    fit = _chosen(where, fitting)
    whole = set(_partners(net, list(state), fit.layout).values())
    surplus = [
        name
        for name, tensor in fit.tensors.items()
        if name not in whole and tensor.ndim and tensor.is_floating_point()
        if not _of_head(net, name) and not AVERAGE.search(name) and not _beside(name)
        if head or not HEAD.match(name)
    ]
    if surplus and until is None:
        raise UserError(
            f"{where} holds more than {net.name} has: {surplus[0]}",
            [f"{len(surplus)} of its {len(fit.tensors)} tensors have no place here"],
            hint="is it a deeper network's? `pellucid train` with --until END_POINT takes only what comes before",
        )
    made = {
        ours: _as_weight(where, fit.place + theirs, fit.tensors[theirs], state[ours])
        for ours, theirs in fit.partners.items()
        if theirs in fit.tensors
    }
    with torch.no_grad():
        for ours in fit.partners:
            if ours in made:
                state[ours].copy_(made[ours])
            elif ours.endswith(SCALE):
                state[ours].fill_(1)
    used = set(fit.partners.values())
    left_out = tuple(name for name in fit.tensors if name not in used and not name.endswith(COUNTER))
    aside = [name for name in fit.source.tensors if not name.startswith(fit.prefix)]
    report = LoadReport(
        layout=fit.layout,
        loaded=tuple(fit.partners),
        left_random=tuple(name for name in state if name not in fit.partners and not name.endswith(COUNTER)),
        left_out=(*left_out, *aside),
        place=fit.place,
    )
    return replace(report, notes=(*(found.notes if found else ()), *_notes(report, fit, states, until=until)))


def _beside(name: str) -> bool:
    """Whether a tensor that a network has no place for is a loss's, a metric's, or a count that a profiler left."""
    *within, last = name.split(".")
    return last in PROFILED or any(NO_WEIGHTS.search(part.lower()) for part in within)


def _fits(
    net: Network, state: Mapping[str, Tensor], wanted: list[str], source: State, layouts: Sequence[str]
) -> "Iterator[_Fit]":
    """How the tensors of one dictionary fit, by the names of each layout up to the first that does."""
    for layout in layouts:
        bare = _Fit(net, state, wanted, layout, source, "")
        yield bare
        if not bare.misfits:
            return
    for layout in layouts:
        names = [name for name in _partners(net, wanted, layout).values() if not name.endswith(COUNTER)]
        # TensorFlow's names end alike whatever stands before them, and their readers know it.
        before = [] if layout in TENSORFLOW else [prefix for prefix in prefixes(source.tensors, names) if prefix]
        fits = [_Fit(net, state, wanted, layout, source, prefix) for prefix in before]
        yield from fits
        if any(not fit.misfits for fit in fits):
            return


def _chosen(where: str, fitting: "Sequence[_Fit]") -> "_Fit":
    """The one that fits: of weights and their moving average the weights. UserError where several differ."""
    plain = [fit for fit in fitting if not fit.averaged] or list(fitting)
    if any(not same(plain[0].tensors, other.tensors) for other in plain[1:]):
        raise several(where, [(fit.source.where, fit.prefix) for fit in plain])
    return plain[0]


def _notes(report: LoadReport, fit: "_Fit", states: Sequence[State], *, until: str | None) -> Iterator[str]:
    beside = [state.where for state in states if state.where and state is not fit.source]
    if fit.source.where and beside:
        yield f"of {', '.join([fit.source.where, *beside])} the weights under {fit.source.where} are taken"
    elif fit.source.where:
        yield f"the weights are those under {fit.source.where}"
    if fit.prefix:
        yield f"the weights are those whose names begin with {fit.prefix}"
    if until is not None:
        ends = list(dict.fromkeys(name.removeprefix(fit.net.inside).split(".")[0] for name in report.left_random))
        random = counted(len(report.left_random), "tensor")
        yield f"{random} after {until} start at random: {', '.join(listed(ends, 6))}"
    heads = _heads(fit)
    unused = [name for name in report.left_out if name not in heads and not _of_head(fit.net, name)]
    if unused:
        count = counted(len(unused), "tensor of the file", "tensors of the file", verb=("is", "are"))
        yield f"{count} not used: {', '.join(listed(unused, 3))}"


def _heads(fit: "_Fit") -> set[str]:
    """What the file calls the last linear layer, which a new task replaces."""
    partners = _partners(fit.net, list(fit.state), fit.layout)
    heads = {id(tensor) for module in fit.net.head_modules() for tensor in held(module)}
    ours = dict(fit.net.named_parameters()) | dict(fit.net.named_buffers())
    return {partners[own] for own in partners if id(ours[own]) in heads}


def _as_weight(where: str, name: str, theirs: Tensor, ours: Tensor) -> Tensor:
    """`theirs` as `ours` is kept. UserError where it is of another kind, or holds what is no finite number.

    A norm's counter may be of any kind: nothing is computed with it.
    """
    if not ours.is_floating_point():
        return theirs.reshape(ours.shape).to(ours.dtype)
    if theirs.dtype not in FLOATS:
        kind = str(theirs.dtype).removeprefix("torch.")
        raise UserError(
            f"{where} holds {name} as {kind}, and a weight is a floating point number",
            hint="a network that computes with complex numbers cannot be built here; if all imaginary parts are zero, "
            "save each tensor's .real"
            if theirs.is_complex()
            else "a quantised network's? Take the weights that it was made from",
        )
    made = theirs.reshape(ours.shape).to(ours.dtype)
    if not torch.isfinite(made).all():
        odd = int((~torch.isfinite(made)).sum())
        raise UserError(
            f"{where} holds weights that are no finite numbers",
            [f"{name}: {odd:,} of {made.numel():,} are NaN or infinite"],
            hint="the training that made it has failed: take an earlier checkpoint",
        )
    return made


def _wanted(net: Network, state: Mapping[str, Tensor], *, until: str | None, head: bool) -> list[str]:
    """Our names of the tensors that the weights must have."""
    beyond = list(net.divided(until).after) if until is not None else []
    beyond += [] if head else [part for module in net.head_modules() for part in units(module)]
    unwanted = {id(tensor) for module in beyond for tensor in held(module)}
    ours = dict(net.named_parameters()) | dict(net.named_buffers())
    return [name for name in state if id(ours[name]) not in unwanted]


def _layouts(net: Network) -> tuple[str, ...]:
    if net.table:
        return ("pellucid", *NAMES.get(net.family, ()))
    return ("timm" if net.name.startswith(TIMM) else "its code", "pellucid")


def _known_layout(net: Network, layout: str) -> str:
    known = _layouts(net)
    if layout not in known:
        raise UserError(f"{net.name} has no weights in layout {layout!r}", hint=f"it has {', '.join(known)}, or auto")
    return layout


def _partners(net: Network, wanted: list[str], layout: str) -> dict[str, str]:
    """Our name to theirs, for every tensor that is wanted."""
    if layout == "pellucid":
        return {name: name for name in wanted}
    if net.table is None:
        return {name: name.removeprefix(net.inside) for name in wanted}
    shapes = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
    names = partners_of(shapes, net.family, layout)
    return {name: names[name] for name in wanted}


def check_conventions(net: Network, report: LoadReport) -> None:
    """UserError where weights of one side are in a network that pads, averages or strides as the other does.

    The tensors fit all the same, and what they compute would be wrong without a word. A state by our own names says
    nothing of it; a model's card does.
    """
    built = net.options.get("conventions")
    theirs = "tensorflow" if report.layout in TENSORFLOW else "torch" if report.layout in TORCH else built
    if net.table is None or theirs == built:
        return
    if net.table.torch != net.table.tensorflow:
        raise UserError(
            f"these are weights of {report.layout}, and {net.name} is built by {built}'s conventions",
            ["padding, epsilon or strides differ: it would compute something else"],
            hint=f"--conventions {theirs} (with train: --options.conventions {theirs})",
        )


def names_elsewhere(net: Network, layout: str) -> dict[str, str]:
    """What `layout` calls each of our tensors; UserError where it has no network of this family."""
    return _partners(net, list(net.state_dict()), _known_layout(net, layout))


def _of_head(net: Network, name: str) -> bool:
    """Whether a tensor belongs to an auxiliary head that `net` was built without."""
    return net.table is not None and not net.head_names and HEADS.match(name) is not None


@dataclass(frozen=True)
class _Fit:
    """How well the tensors of one dictionary, without a prefix, are what `net` wants, by the names of one layout."""

    net: Network
    state: Mapping[str, Tensor]
    wanted: list[str]
    layout: str
    source: State
    prefix: str

    @property
    def place(self) -> str:
        """Where in the file, as a beginning of names."""
        return f"{self.source.where}." * bool(self.source.where) + self.prefix

    @property
    def averaged(self) -> bool:
        return AVERAGE.search(self.place) is not None

    @cached_property
    def _arranged(self) -> tuple[Mapping[str, Tensor], str]:
        """By the layout's names, and what is wrong with that."""
        tensors = without(self.prefix, self.source.tensors)
        if self.net.table is None:
            return tensors, ""
        try:
            return arranged(tensors, self.net.family, self.layout), ""
        except Twice as cause:
            return cause.tensors, str(cause)

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        return self._arranged[0]

    @property
    def problem(self) -> str:
        """Two tensors of the file that want one name; "" where there are none."""
        return self._arranged[1]

    @cached_property
    def present(self) -> int:
        """How many tensors are there by the right name, whatever their shape."""
        return sum(theirs in self.tensors for theirs in self.partners.values())

    @property
    def foreign(self) -> bool:
        """Whether no names are right, or a few that some prefix has made so by chance."""
        return not self.present or (self.prefix != "" and 4 * self.present < len(self.partners))

    @cached_property
    def partners(self) -> dict[str, str]:
        return _partners(self.net, self.wanted, self.layout)

    @cached_property
    def misfits(self) -> list[str]:
        """Our names whose partner is not there, or has another shape, or is one of two."""
        return (
            list(self.partners)
            if self.problem
            else [ours for ours, theirs in self.partners.items() if not self._fits(ours, theirs)]
        )

    def _fits(self, ours: str, theirs: str) -> bool:
        if theirs in self.tensors:
            return _alike(self.state[ours], self.tensors[theirs])
        return ours.endswith(COUNTER) or (self.layout in TENSORFLOW and ours.endswith(SCALE))


def _alike(ours: Tensor, theirs: Tensor) -> bool:
    """The same shape, or a linear layer that somebody wrote as a convolution over the whole map."""
    return ours.shape == theirs.shape or (ours.ndim == 2 and theirs.ndim == 4 and ours.shape == theirs.flatten(1).shape)


def _no_partner(where: str, fit: _Fit) -> UserError:
    """Name the first tensor that has no partner, with the nearest names, in the layout that fits most."""
    misfits = fit.misfits
    reached = _reached(fit.net, fit.partners, misfits)
    if fit.foreign and not (fit.problem or reached):
        return UserError(
            f"{where} does not hold the tensors of {fit.net.name}, by whoever's names",
            [f"it has {', '.join(listed(list(fit.source.tensors), 4))}"],
            hint=_another(fit),
        )
    first = misfits[0]
    theirs = fit.partners[first]
    what = f"{where} does not fit {fit.net.name} by the names of {fit.layout}"
    if fit.problem:
        return UserError(what, [fit.problem], hint="save the model's own weights alone")
    if theirs not in fit.tensors:
        near = get_close_matches(theirs, fit.tensors, n=3)
        problem = f"{theirs} ({_shape(fit.state[first])}) is not there"
        problem += f"; near are {', '.join(near)}" if near else ""
        problem += f"; it is {fit.source.odd[theirs]}" if theirs in fit.source.odd else ""
    else:
        problem = f"{theirs} is {_shape(fit.tensors[theirs])}, and {first} is {_shape(fit.state[first])}"
        head = {id(tensor) for module in fit.net.head_modules() for tensor in held(module)}
        ours = dict(fit.net.named_parameters())
        if all(name in ours and id(ours[name]) in head for name in misfits):
            classes = counted(len(fit.tensors[theirs]), "class", "classes")
            return UserError(
                f"{where} is for {classes}, and {fit.net.name} is built for {fit.net.classes}",
                [problem],
                hint="name as many classes as it has; `pellucid train` takes all but its last layer",
            )
    return UserError(
        what,
        listed([problem, *([f"and {len(misfits) - 1} more like it"] if len(misfits) > 1 else [])]),
        hint=f"the file is whole up to {reached}: `pellucid train` takes it with --until {reached}"
        if reached
        else _another(fit),
    )


def _another(fit: _Fit) -> str:
    """What to do with weights of which the first is not there or does not fit."""
    first = next(iter(fit.source.tensors), None)
    if first is None or not fit.foreign:
        return "is it another network's? `pellucid models` lists those that are here"
    return (
        f"its names begin with {first}: is it another network's, or another library's? --model FILE.py:NAME trains a "
        "module of that library as your own"
    )


def _reached(net: Network, partners: Mapping[str, str], misfits: list[str]) -> str | None:
    """The last end point before which nothing is missing, or None where there is none."""
    owner = {
        name: end_point
        for end_point in net.end_point_names
        for name in partners
        if name.startswith(f"{net.inside}{end_point}.")
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
