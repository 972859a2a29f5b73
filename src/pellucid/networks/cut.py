"""A network in two: what is frozen, whose output for an image never changes, and what trains on that output."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from inspect import Parameter, signature

import torch
from torch import Tensor, fx, nn

from pellucid.errors import UserError
from pellucid.names import is_own
from pellucid.networks.network import Network, held, is_unit, units
from pellucid.networks.undisturbed import undisturbed

CHECKED_TO = 1e-5  # relative to the largest logit


@dataclass(frozen=True)
class Place:
    """Where features are taken from a network, by the names of its end points.

    `frozen_until` is the last whose output is computed, None where none ends right before `train_from`;
    `train_from` the first that makes something of the features, None where none does. `averaged` are the end points
    whose maps are averaged over their cells and put side by side; where there are none, features are the maps.
    """

    frozen_until: str | None = None
    train_from: str | None = None
    averaged: tuple[str, ...] = ()


@dataclass(frozen=True)
class Halves:
    """Both share their modules with the network; what `frozen` makes at that place goes from one to the other."""

    place: Place
    frozen: nn.Module  # images (N, 3, H, W) to features
    rest: "Rest"


class Rest(nn.Module):
    """What comes after the features; called as the network is."""

    def with_heads(self, features: Tensor) -> tuple[Tensor, ...]:
        """The logits, and those of each auxiliary head that is trained."""
        return (self(features),)


def halves(network: Network, train_from: str) -> Halves | None:
    """`network` cut before the end point `train_from`; None where nothing comes before it, or it cannot be cut there.

    The networks defined here are cut anywhere, unless an auxiliary head that is trained starts from what is frozen;
    those of timm where a single tensor goes from one part to the other, and their code can be followed.
    """
    if network.sources:
        return _of_stages(network, train_from)
    if train_from == "Logits":
        return _before_classifier(network)
    return None if network.options.get("dropout") else _of_graph(network, train_from)


def _of_stages(network: Network, train_from: str) -> Halves | None:
    at = network.end_point_names.index(train_from)
    before = [name for name in network.end_point_names[:at] if name not in network.head_names]
    after = network.end_point_names[at:]
    if not before:
        return None
    known = {before[-1], *after}
    if any(name in network.head_names and network.sources[name] not in known for name in after):
        return None
    frozen = nn.Sequential(*(getattr(network, name) for name in before))
    return Halves(Place(before[-1], train_from), frozen, _RestOfStages(network, before[-1], after))


class _RestOfStages(Rest):
    def __init__(self, network: Network, source: str, names: Sequence[str]) -> None:
        super().__init__()
        self.source = source
        self.names = tuple(name for name in names if name != "Predictions")
        self.heads = tuple(name for name in self.names if name in network.head_names)
        self.sources = {name: network.sources[name] for name in self.names}
        for name in self.names:
            self.add_module(name, getattr(network, name))

    def forward(self, features: Tensor) -> Tensor:
        return self._logits(features, skipped=self.heads)["Logits"]

    def with_heads(self, features: Tensor) -> tuple[Tensor, ...]:
        found = self._logits(features, skipped=())
        return found["Logits"], *(found[name] for name in self.heads)

    def _logits(self, features: Tensor, *, skipped: Sequence[str]) -> dict[str, Tensor]:
        found = {self.source: features}
        for name in self.names:
            if name not in skipped:
                found[name] = getattr(self, name)(found[self.sources[name]])
        return found


def before_head(network: Network) -> Halves | None:
    """`network` cut before its head, where that can be solved: one layer with a bias, which stands by itself."""
    heads = network.head_modules()
    return None if any(getattr(head, "bias", None) is None for head in heads) else halves(network, "Logits")


class _UntilClassifier(nn.Module):
    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network.end_points(images, last="PreLogits")["PreLogits"]


class _Classifier(Rest):
    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.head(features)
        return logits


def _before_classifier(network: Network) -> Halves | None:
    heads = network.head_modules()
    if len(heads) != 1:
        return None
    cut = Halves(Place("PreLogits", "Logits"), _UntilClassifier(network), _Classifier(heads[0]))
    return cut if _agree(network, cut) else None


def _agree(network: Network, cut: Halves) -> bool:
    """Whether both halves, one after the other, compute what the network does."""
    with undisturbed(network), torch.no_grad():
        network.eval()
        images = torch.randn(2, 3, network.size, network.size, generator=torch.Generator().manual_seed(0))
        images = images.to(next(network.parameters()).device)
        expected, found = network(images), cut.rest(cut.frozen(images))
    if not expected.isfinite().all():
        raise UserError(
            f"{network.name} gives no finite numbers with these weights",
            hint="take other weights: these have overflowed",
        )
    same = expected.shape == found.shape and (expected - found).abs().max() <= CHECKED_TO * expected.abs().max()
    return bool(same)


class _Watched(fx.Tracer):
    """Follows a network's code down to the modules that own tensors, or have no parts."""

    def is_leaf_module(self, module: nn.Module, qualified_name: str) -> bool:  # noqa: ARG002 - fx names it
        return is_unit(module)


class _RestOfGraph(Rest):
    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__()
        self.graph = graph

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.graph(features)
        return logits


def _defaults(model: nn.Module) -> dict[str, object]:
    """The arguments of `forward` besides the images."""
    parameters = list(signature(model.forward).parameters.values())[1:]
    return {one.name: one.default for one in parameters if one.default is not Parameter.empty}


def followed(model: nn.Module) -> fx.Graph | None:
    """The graph of a network's operations, modules with weights of their own as one; None where its code decides by
    values and cannot be followed.
    """
    try:
        graph = _Watched().trace(model, concrete_args=_defaults(model))
    except Exception:
        return None
    for node in graph.nodes:
        # The same, wherever that can be: here channels may come last in memory.
        if node.op == "call_method" and node.target == "view" and not isinstance(node.args[-1], torch.dtype):
            node.target = "reshape"
    return graph


def _alike_in_training(model: nn.Module, graph: fx.Graph) -> bool:
    """Whether the graph is the same in training mode, or the other way round: no dropout, say, is done by hand."""
    before = [(module, module.training) for module in model.modules()]
    model.train(not model.training)
    try:
        other = followed(model)
    finally:
        for module, training in before:
            module.training = training
    return other is not None and other.python_code("self").src == graph.python_code("self").src


def _across(late: Collection[fx.Node]) -> set[fx.Node]:
    """What goes from the earlier operations to the `late` ones."""
    return {given for node in late for given in node.all_input_nodes if given not in late}


def _of_graph(network: Network, train_from: str) -> Halves | None:
    """A network whose code is not ours, cut in the graph of its operations: where a single tensor goes across."""
    model = network.inner
    divided = network.divided(train_from)
    trained = {id(part) for part in (*divided.within, *divided.after)}
    modules = dict(model.named_modules())
    graph = followed(model)
    if graph is None or (is_own(network.name) and not _alike_in_training(model, graph)):
        return None  # such a network is trained as a whole
    late: set[fx.Node] = set()
    for node in graph.nodes:
        learns = node.op == "call_module" and any(id(part) in trained for part in units(modules[node.target]))
        if learns or any(given in late for given in node.all_input_nodes):
            late.add(node)
    order = {node: at for at, node in enumerate(graph.nodes)}
    across = _across(late)
    while len(across) > 1:  # what has no weights and serves the rest alone may come after the cut as well
        last = max(across, key=order.__getitem__)
        weighs = last.op == "call_module" and any(True for _ in held(modules[last.target]))
        if weighs or last.op in ("placeholder", "get_attr") or not all(user in late for user in last.users):
            return None
        late.add(last)
        across = _across(late)
    if len(across) != 1:
        return None
    (cut,) = across
    if cut.op == "placeholder":
        return None
    early, rest = fx.Graph(), fx.Graph()
    copied: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        if node not in late:
            copied[node] = early.node_copy(node, copied.__getitem__)
    early.output(copied[cut])
    frozen = fx.GraphModule(model, early)
    frozen.graph.eliminate_dead_code()  # what only the rest would have used
    frozen.recompile()
    copied = {cut: rest.placeholder("features")}
    for node in graph.nodes:
        if node in late:
            copied[node] = rest.node_copy(node, copied.__getitem__)
    place = Place(_named_before(network, train_from), train_from)
    halved = Halves(place, frozen, _RestOfGraph(fx.GraphModule(model, rest)))
    return halved if _agree(network, halved) else None


def _named_before(network: Network, train_from: str) -> str | None:
    """The end point that ends where `train_from` begins; None where none does."""
    names = network.end_point_names
    at = names.index(train_from) if train_from in names else 0
    before = network.divided(names[at - 1]) if at else None
    same = before and {*before.before, *before.within} == {*network.divided(train_from).before}
    return names[at - 1] if same else None
