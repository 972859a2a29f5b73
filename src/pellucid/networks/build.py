"""Tables become torch modules under the same names; `network` gives any network by name, timm's too."""

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from pellucid.architectures.catalog import architecture
from pellucid.architectures.geometry import (
    Map,
    check_dropout,
    check_end_point,
    chosen_conventions,
    fitting,
    measured,
    opened,
    per_channel,
    same_padding,
    walk,
)
from pellucid.architectures.layers import (
    Architecture,
    Branches,
    Chain,
    Conv,
    Conventions,
    Dropout,
    Flatten,
    GlobalPool,
    Layer,
    Linear,
    Pool,
    Probabilities,
    Relu,
    Residual,
    Separable,
    filled,
)
from pellucid.architectures.options import OF_TIMM, OPTIONS, check_names
from pellucid.architectures.written import TABLE, from_text
from pellucid.errors import UserError
from pellucid.networks.called import end_point_called
from pellucid.networks.initialisation import HEADS_OWN, INITIALISATIONS, check_initialisation
from pellucid.networks.own import is_own

TIMM = "timm/"
Holder = TypeVar("Holder", bound=nn.Sequential)


@dataclass(frozen=True)
class Divided:
    """A network's units (see `units`) before an end point, of it, and after it, in order."""

    before: tuple[nn.Module, ...]
    within: tuple[nn.Module, ...]
    after: tuple[nn.Module, ...]


def units(module: nn.Module) -> tuple[nn.Module, ...]:
    """Every module inside that has no parts, or that owns tensors besides its parts: taken without its parts.

    A container such as a vision transformer owns a class token, and its blocks are units of their own.
    """
    return tuple(part for part in module.modules() if is_unit(part))


def is_unit(module: nn.Module) -> bool:
    return not any(True for _ in module.children()) or any(True for _ in held(module))


def held(module: nn.Module) -> Iterator[Tensor]:
    """The parameters and buffers that `module` owns itself."""
    yield from module.parameters(recurse=False)
    yield from module.buffers(recurse=False)


class Network(nn.Module, ABC):
    """What every network here can do, whoever defined it.

    `name` and `options` rebuild it: network(name, classes, **options). `end_point_names` are in the order in which
    they are computed and end with PreLogits, Logits, Predictions.
    """

    name: str
    options: dict[str, Any]
    classes: int
    size: int
    end_point_names: tuple[str, ...]
    head_names: tuple[str, ...] = ()
    as_it_comes = False  # somebody made it, and its weights may be of use

    def forward(self, images: Tensor) -> Tensor:
        """float32 (N, 3, H, W) to logits (N, classes)."""
        return self.end_points(images, last="Logits")["Logits"]

    def with_heads(self, images: Tensor) -> tuple[Tensor, ...]:
        """The logits, and those of each auxiliary head: what training minimises a loss of."""
        if not self.head_names:
            return (self(images),)
        found = self.end_points(images, last="Logits")
        return found["Logits"], *(found[name] for name in self.head_names)

    @abstractmethod
    def end_points(self, images: Tensor, last: str | None = None) -> dict[str, Tensor]:
        """Maps by end point in order, up to and with `last` (default: all); what comes after is not computed."""

    def called(self, end_point: str) -> str:
        """The end point that is meant by a name: itself, or the only one that begins so. UserError for none."""
        return check_end_point(self.name, self.end_point_names, end_point)

    @abstractmethod
    def divided(self, end_point: str) -> Divided:
        """The network's modules before `end_point`, of it, and after it: what is frozen, or stays random, by name."""

    @abstractmethod
    def head_modules(self) -> list[nn.Module]:
        """The last linear layer: new where the classes are, and all that a probe trains."""


class TableNetwork(Network):
    """A network built from its table: one module an end point, in order."""

    def __init__(
        self,
        table: Architecture,
        classes: int,
        *,
        size: int,
        width: float = 1.0,
        dropout: float | None = None,
        auxiliary: bool = False,
        conventions: str = "torch",
        initialisation: str = "he",
        head_initialisation: str | None = None,
        norm_decay: float = 0.9,
        last: str | None = None,
        spatial_squeeze: bool = True,
    ) -> None:
        super().__init__()
        check_initialisation(initialisation, head_initialisation)
        if not 0 <= norm_decay < 1:
            raise UserError(f"norm_decay is at least 0 and below 1, not {norm_decay:g}", hint="0.9 is common")
        self.name, self.classes, self.size, self.family = table.name, classes, size, table.family
        self.table = table
        self.options = {"size": size, "width": width, "dropout": dropout}
        self.options |= {"auxiliary": auxiliary, "conventions": conventions}
        self.options |= {"initialisation": initialisation, "head_initialisation": head_initialisation}
        last = last and check_end_point(table.name, table.end_points, last)
        self.options |= {"norm_decay": norm_decay, "last": last, "spatial_squeeze": spatial_squeeze}
        table = opened(table, last, spatial_squeeze=spatial_squeeze)
        steps = walk(
            table,
            size=size,
            classes=classes,
            width=width,
            dropout=dropout,
            auxiliary=auxiliary,
            conventions=conventions,
        )
        self.end_point_names = tuple(step.name for step in steps)
        self.head_names = tuple(head.name for head in table.heads if auxiliary)
        self.sources = {step.name: step.source for step in steps}
        norms = chosen_conventions(table, conventions)
        for step in steps:
            self.add_module(step.name, _build(step.layer, step.before, norms)[0])
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1 - norm_decay
        INITIALISATIONS[initialisation](self)
        if head_initialisation:
            HEADS_OWN[head_initialisation](self.Logits)

    def forward(self, images: Tensor) -> Tensor:
        x = images
        for name in self.end_point_names[:-1]:
            if name not in self.head_names:
                x = getattr(self, name)(x)
        return x

    def end_points(self, images: Tensor, last: str | None = None) -> dict[str, Tensor]:
        if last is not None:
            last = self.called(last)
        found = {"": images}
        for name in self.end_point_names:
            found[name] = getattr(self, name)(found[self.sources[name]])
            if name == last:
                break
        del found[""]
        return found

    def called(self, end_point: str) -> str:
        """Other libraries' names are understood as well."""
        return super().called(end_point_called(self.name, end_point))

    def divided(self, end_point: str) -> Divided:
        end_point = self.called(end_point)
        parts = [units(getattr(self, name)) for name in self.end_point_names]
        at = self.end_point_names.index(end_point)
        return Divided(tuple(chain(*parts[:at])), parts[at], tuple(chain(*parts[at + 1 :])))

    def head_modules(self) -> list[nn.Module]:
        return [self.Logits, *(list(getattr(self, name).children())[-1] for name in self.head_names)]


def network(name: str, classes: int, *, size: int | None = None, **options: Any) -> Network:
    """The network `name` for `classes` outputs, with random weights from torch's current seed.

    `options` of the networks defined here: width (a factor on channels), dropout, auxiliary (build the auxiliary
    heads), conventions ("torch" or "tensorflow": how maps are padded, averaged and normalised), initialisation ("he",
    "tf-slim" or "torch"), head_initialisation (of the last layer: "uniform" within 1 / sqrt(inputs), its bias
    zero, or "torch", its bias so too), norm_decay (how much of the running statistics a batch leaves), last (the end
    point after which the network ends: pooled and classified there) and spatial_squeeze (False: logits
    (N, classes, 1, 1), which nothing is trained on). timm/NAME has dropout alone. table/NAME is the network of the text
    `table` (see architectures.written); a name with a colon is somebody's own, once it is named (networks.own).
    Raises UserError for unknown names and options, and for a size that is too small.
    """
    if is_own(name):
        from pellucid.networks.own_network import own_network

        return own_network(name, classes, size=size, **options)
    if name.startswith(TIMM):
        from pellucid.networks.backbone import TimmNetwork  # brings timm and torchvision, 17 s

        _check_options(name, options, OF_TIMM)
        return TimmNetwork(name, classes, size=size, **options)
    if name.startswith(TABLE):
        text = str(options.pop("table", ""))
        table = from_text(text)
        _check_options(name, options)
        made = TableNetwork(table, classes, size=table.size if size is None else size, **options)
        made.name, made.options = f"{TABLE}{table.name}", made.options | {"table": text}
        return made
    table = architecture(name)
    _check_options(name, options)
    return TableNetwork(table, classes, size=table.size if size is None else size, **options)


def check_vectors(network: Network) -> None:
    """UserError for logits that are maps: a loss, and everything that is said of a model, is of (N, classes)."""
    if network.options.get("spatial_squeeze") is False:
        raise UserError(
            f"options.spatial_squeeze false leaves the logits of {network.name} as maps (N, classes, 1, 1)",
            hint="leave it out, here: the weights are the same; structure and network() can show such logits",
        )


def _check_options(name: str, options: dict[str, Any], known: Sequence[str] = tuple(OPTIONS)) -> None:
    check_names(name, options, known)
    check_dropout(options.get("dropout"))


class _Unit(nn.Sequential):
    """Steps whose result, scaled, is added to the input or its projection; then ReLU where there is one."""

    scale: float
    relu: bool

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for name, step in self.named_children():
            if name != "shortcut":
                y = step(y)
        y = (self.shortcut(x) if hasattr(self, "shortcut") else x) + (y if self.scale == 1 else self.scale * y)
        return torch.relu(y) if self.relu else y


class _Joined(nn.Sequential):
    """Branches from one input; their maps side by side."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self], dim=1)


class SameConv(nn.Conv2d):
    """Padded with zeros as TensorFlow's SAME: at stride 2, one row or column more at the far side."""

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = (self.kernel_size[0], self.kernel_size[1]), self.stride[0]
        return super().forward(nn.functional.pad(x, _same(x, kernel, stride)))


class SameMaxPool(nn.MaxPool2d):
    """Padded as TensorFlow's SAME, with what no maximum takes."""

    def forward(self, x: Tensor) -> Tensor:
        pad = _same(x, (self.kernel_size, self.kernel_size), self.stride)
        return super().forward(nn.functional.pad(x, pad, value=float("-inf")))


def _same(x: Tensor, kernel: tuple[int, int], stride: int) -> tuple[int, ...]:
    """left, right, top, bottom"""
    down, across = (same_padding(x.shape[axis - 2], kernel[axis], stride) for axis in (0, 1))
    return (*across, *down)


class CellLinear(nn.Linear):
    """A linear layer on the one cell of a map (N, C, 1, 1), which it leaves a map: a 1x1 convolution's numbers."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(1))[:, :, None, None]


class _Logistic(nn.Module):
    """Softmax over classes; sigmoid of one logit."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sigmoid() if x.shape[1] == 1 else x.softmax(dim=1)


def _build(layer: Layer, before: Map, conventions: Conventions) -> tuple[nn.Module, Map]:
    """The module for `layer` on maps such as `before`, and the map that leaves it."""
    after = measured(layer, before, conventions)
    match layer:
        case Chain(steps=steps):
            return _steps(nn.Sequential(), steps, before, conventions), after
        case Branches(paths=paths):
            joined = _Joined()
            for name, branch in paths:
                joined.add_module(name, _build(branch, before, conventions)[0])
            return joined, after
        case Residual(shortcut=shortcut, scale=scale, relu=relu):
            unit = _steps(_Unit(), filled(layer, before.channels).steps, before, conventions)
            unit.scale, unit.relu = scale, relu
            if shortcut is not None:
                unit.add_module("shortcut", _build(shortcut, before, conventions)[0])
            return unit, after
        case Conv(out=int(out)):
            kernel = fitting(layer, before)
            parts: OrderedDict[str, nn.Module] = OrderedDict()
            parts["conv"] = _convolution(before.channels, out, kernel, layer, bias=layer.bias)
            if layer.norm:
                parts["norm"] = _norm(out, conventions)
            if layer.relu:
                parts["relu"] = nn.ReLU(inplace=True)
            return nn.Sequential(parts), after
        case Separable(out=out, kernel=kernel):
            between = before.channels * per_channel(layer, before.channels)
            parts = OrderedDict()
            parts["depthwise"] = _convolution(
                before.channels, between, kernel, layer, bias=False, groups=before.channels
            )
            parts["pointwise"] = nn.Conv2d(between, out, 1)
            parts["relu"] = nn.ReLU(inplace=True)
            return nn.Sequential(parts), after
        case Pool():
            return _pool(layer), after
        case GlobalPool(cells=cells):
            return nn.AdaptiveAvgPool2d(cells), after
        case Flatten():
            return nn.Flatten(), after
        case Linear(out=int(out), spatial=spatial):
            return (CellLinear if spatial else nn.Linear)(before.channels, out), after
        case Relu():
            return nn.ReLU(inplace=True), after
        case Dropout(rate=float(rate)):
            return nn.Dropout(rate), after
        case Probabilities():
            return _Logistic(), after
    raise AssertionError(f"{layer} is left open")


def _steps(holder: Holder, steps: tuple[tuple[str, Layer], ...], before: Map, conventions: Conventions) -> Holder:
    for name, step in steps:
        module, before = _build(step, before, conventions)
        holder.add_module(name, module)
    return holder


def _convolution(
    channels: int, out: int, kernel: tuple[int, int], layer: Conv | Separable, *, bias: bool, groups: int = 1
) -> nn.Conv2d:
    if layer.same and layer.stride > 1:
        return SameConv(channels, out, kernel, layer.stride, groups=groups, bias=bias)
    return nn.Conv2d(channels, out, kernel, layer.stride, layer.pad, groups=groups, bias=bias)


def _norm(channels: int, conventions: Conventions) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels, eps=conventions.epsilon, affine=conventions.scaled)
    if not conventions.scaled:  # a shift without a scale
        norm.bias = nn.Parameter(torch.zeros(channels))
    return norm


def _pool(layer: Pool) -> nn.Module:
    if layer.kind == "average":
        return nn.AvgPool2d(layer.kernel, layer.stride, layer.pad, count_include_pad=layer.counted)
    if layer.same and layer.stride > 1:
        return SameMaxPool(layer.kernel, layer.stride)
    return nn.MaxPool2d(layer.kernel, layer.stride, layer.pad, ceil_mode=layer.ceil)
