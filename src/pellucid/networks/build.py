"""Tables become torch modules under the same names; `network` gives any network by name, timm's too."""

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.architectures.catalog import architecture
from pellucid.architectures.geometry import check_dropout, check_end_point, check_settings, walk
from pellucid.architectures.layers import (
    Architecture,
    Chain,
    Conv,
    Dropout,
    Flatten,
    GlobalPool,
    Layer,
    Linear,
    Pool,
    Probabilities,
    Relu,
    Residual,
)
from pellucid.errors import UserError, nearest

TIMM = "timm/"


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

    def forward(self, images: Tensor) -> Tensor:
        """float32 (N, 3, H, W) to logits (N, classes)."""
        return self.end_points(images, last="Logits")["Logits"]

    @abstractmethod
    def end_points(self, images: Tensor, last: str | None = None) -> dict[str, Tensor]:
        """Maps by end point in order, up to and with `last` (default: all); what comes after is not computed."""

    @abstractmethod
    def divided(self, end_point: str) -> Divided:
        """The network's modules before `end_point`, of it, and after it: what is frozen, or stays random, by name."""

    @abstractmethod
    def head_modules(self) -> list[nn.Module]:
        """The last linear layer: new where the classes are, and all that a probe trains."""


class TableNetwork(Network):
    """A network built from its table: one module an end point, in order."""

    def __init__(
        self, table: Architecture, classes: int, *, size: int, width: float = 1.0, dropout: float | None = None
    ) -> None:
        super().__init__()
        check_settings(table, classes=classes, width=width, size=size)
        self.name, self.classes, self.size = table.name, classes, size
        self.options = {"size": size, "width": width, "dropout": dropout}
        self.end_point_names = table.end_points
        self.family = table.family
        for end_point, layer, before, _ in walk(table, size=size, classes=classes, width=width, dropout=dropout):
            cells = (before.height, before.width)
            module, _ = _build(layer, before.channels, cells, epsilon=table.epsilon)
            self.add_module(end_point, module)
        _initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        x = images
        for name in self.end_point_names[:-1]:
            x = getattr(self, name)(x)
        return x

    def end_points(self, images: Tensor, last: str | None = None) -> dict[str, Tensor]:
        if last is not None:
            check_end_point(self.name, self.end_point_names, last)
        found: dict[str, Tensor] = {}
        x = images
        for name in self.end_point_names:
            found[name] = x = getattr(self, name)(x)
            if name == last:
                break
        return found

    def divided(self, end_point: str) -> Divided:
        check_end_point(self.name, self.end_point_names, end_point)
        parts = [units(getattr(self, name)) for name in self.end_point_names]
        at = self.end_point_names.index(end_point)
        return Divided(tuple(chain(*parts[:at])), parts[at], tuple(chain(*parts[at + 1 :])))

    def head_modules(self) -> list[nn.Module]:
        return [self.Logits]


def network(name: str, classes: int, *, size: int | None = None, **options: Any) -> Network:
    """The network `name` for `classes` outputs, with random weights from torch's current seed.

    `options`: width (a factor on channels) and dropout for the networks defined here, dropout for timm/NAME.
    Raises UserError for unknown names and options, and for a size that is too small.
    """
    if name.startswith(TIMM):
        from pellucid.networks.backbone import TimmNetwork  # brings timm and torchvision, 17 s

        _check_options(name, options, ("dropout",))
        return TimmNetwork(name, classes, size=size, **options)
    table = architecture(name)
    _check_options(name, options, ("width", "dropout"))
    return TableNetwork(table, classes, size=table.size if size is None else size, **options)


def _check_options(name: str, options: dict[str, Any], known: tuple[str, ...]) -> None:
    for option in options:
        if option not in known:
            right = nearest(option, known)
            hint = f"did you mean {right}?" if right else f"it has {', '.join(known)}"
            raise UserError(f"{name} has no option {option!r}", hint=hint)
    check_dropout(options.get("dropout"))


class _Unit(nn.Sequential):
    """Steps whose result the input, or its projection, is added to; then ReLU."""

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for name, step in self.named_children():
            if name != "shortcut":
                y = step(y)
        return torch.relu(y + (self.shortcut(x) if hasattr(self, "shortcut") else x))


class _Logistic(nn.Module):
    """Softmax over classes; sigmoid of one logit."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sigmoid() if x.shape[1] == 1 else x.softmax(dim=1)


def _build(layer: Layer, channels: int, cells: tuple[int, int], *, epsilon: float) -> tuple[nn.Module, int]:
    """The module for `layer` on maps of `channels`, and the channels that leave it."""
    match layer:
        case Chain(steps=steps):
            return _steps(nn.Sequential(), steps, channels, cells, epsilon)
        case Residual(steps=steps, shortcut=shortcut):
            unit, out = _steps(_Unit(), steps, channels, cells, epsilon)
            if shortcut is not None:
                unit.add_module("shortcut", _build(shortcut, channels, cells, epsilon=epsilon)[0])
            return unit, out
        case Conv(out=out):
            parts: OrderedDict[str, nn.Module] = OrderedDict()
            parts["conv"] = nn.Conv2d(channels, out, layer.kernel, layer.stride, layer.pad, bias=layer.bias)
            if layer.norm:
                parts["norm"] = nn.BatchNorm2d(out, eps=epsilon)
            if layer.relu:
                parts["relu"] = nn.ReLU(inplace=True)
            return nn.Sequential(parts), out
        case Pool(kind=kind):
            pool = {"max": nn.MaxPool2d, "average": nn.AvgPool2d}[kind]
            return pool(layer.kernel, layer.stride, layer.pad), channels
        case GlobalPool():
            return nn.AdaptiveAvgPool2d(1), channels
        case Flatten(cells=None):
            return nn.Flatten(), channels * max(1, cells[0]) * max(1, cells[1])
        case Flatten(cells=int(side)):
            return nn.Sequential(nn.AdaptiveAvgPool2d(side), nn.Flatten()), channels * side * side
        case Linear(out=int(out)):
            return nn.Linear(channels, out), out
        case Relu():
            return nn.ReLU(inplace=True), channels
        case Dropout(rate=float(rate)):
            return nn.Dropout(rate), channels
        case Probabilities():
            return _Logistic(), channels
    raise AssertionError(f"{layer} is left open")


def _steps(
    holder: nn.Sequential, steps: tuple[tuple[str, Layer], ...], channels: int, cells: tuple[int, int], epsilon: float
) -> tuple[nn.Module, int]:
    for name, step in steps:
        module, channels = _build(step, channels, cells, epsilon=epsilon)
        holder.add_module(name, module)
        # Vectors and pooled maps have one cell; within a chain that is all that a later step asks.
        cells = (1, 1) if isinstance(step, GlobalPool | Flatten) else cells
    return holder, channels


def _initialise(net: nn.Module) -> None:
    """He's normal, fan-out, for convolutions (arXiv:1502.01852); norms one and zero; linear layers N(0, 0.01)."""
    for module in net.modules():
        match module:
            case nn.Conv2d():
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            case nn.BatchNorm2d():
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)
            case nn.Linear():
                nn.init.normal_(module.weight, 0, 0.01)
                nn.init.zeros_(module.bias)
