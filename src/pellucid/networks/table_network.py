"""A table becomes a torch module: one an end point, under the table's names."""

from collections import OrderedDict
from itertools import chain
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from pellucid.architectures.geometry import (
    Map,
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
from pellucid.architectures.written import TABLE, from_text
from pellucid.errors import UserError
from pellucid.networks.initialisation import HEADS_OWN, INITIALISATIONS, check_initialisation
from pellucid.networks.network import Divided, Network, units
from pellucid.weights.called import end_point_called

Holder = TypeVar("Holder", bound=nn.Sequential)


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
        self.name, self.classes, self.size = table.name, classes, size
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


def written_network(text: str, classes: int, *, size: int | None = None, **options: Any) -> TableNetwork:
    """The network of the table in `text` (see architectures.written), which goes with it into files."""
    table = from_text(text)
    made = TableNetwork(table, classes, size=table.size if size is None else size, **options)
    made.name, made.options = f"{TABLE}{table.name}", made.options | {"table": text}
    return made


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
