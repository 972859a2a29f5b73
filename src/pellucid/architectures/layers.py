"""The words an architecture's table is written in: plain data. geometry.py counts them, networks builds them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

LEAST_CHANNELS = 16  # TF-Slim's min_depth


@dataclass(frozen=True)
class Conv:
    """Convolution, then batch norm and ReLU unless told otherwise. Pairs are (height, width)."""

    out: int
    kernel: tuple[int, int]
    stride: int = 1
    pad: tuple[int, int] = (0, 0)
    bias: bool = False
    norm: bool = True
    relu: bool = True


@dataclass(frozen=True)
class Pool:
    kind: Literal["max", "average"]
    kernel: int
    stride: int
    pad: int = 0


@dataclass(frozen=True)
class GlobalPool:
    """Every map averaged to one cell."""


@dataclass(frozen=True)
class Flatten:
    """Maps to one vector, channel by channel; with `cells`, first averaged to cells x cells, whatever their size."""

    cells: int | None = None


@dataclass(frozen=True)
class Linear:
    """A fully connected layer with bias; as wide as there are classes where `out` says so."""

    out: int | Literal["classes"]


@dataclass(frozen=True)
class Relu:
    pass


@dataclass(frozen=True)
class Dropout:
    """Zeroes values at random in training; None: the rate that the architecture or the user names."""

    rate: float | None = None


@dataclass(frozen=True)
class Probabilities:
    """Softmax over the classes; sigmoid where there is one logit."""


@dataclass(frozen=True)
class Chain:
    """Named steps, one after another."""

    steps: tuple[tuple[str, "Layer"], ...]


@dataclass(frozen=True)
class Residual:
    """Named steps, and the input added to what leaves them: through `shortcut` where shapes differ. Then ReLU."""

    steps: tuple[tuple[str, "Layer"], ...]
    shortcut: "Layer | None" = None


Leaf = Conv | Pool | GlobalPool | Flatten | Linear | Relu | Dropout | Probabilities
Layer = Leaf | Chain | Residual

# One row an end point: its name, the layer that leads to it, and what leaves it at the design size with 1000 classes
# ("height x width x channels", or the length of a vector), which a test compares with what geometry.py finds.
Row = tuple[str, Layer, str]


@dataclass(frozen=True)
class Architecture:
    """A network as its table. `size`: pixels a side it was designed for. `source`: paper or program it was taken from.

    `family` says whose names its weights have elsewhere; `published` names who publishes ImageNet weights for it.
    """

    name: str
    family: str
    source: str
    rows: tuple[Row, ...]
    size: int
    dropout: float = 0.0
    epsilon: float = 1e-5  # of batch norms
    published: tuple[Literal["torchvision", "timm"], ...] = ()

    @property
    def end_points(self) -> tuple[str, ...]:
        return tuple(name for name, _, _ in self.rows)


def conv(
    out: int,
    kernel: int | tuple[int, int],
    stride: int = 1,
    *,
    pad: int | None = None,
    bias: bool = False,
    norm: bool = True,
    relu: bool = True,
) -> Conv:
    """A Conv as tables write it; without `pad`, odd kernels keep the map's size at stride 1."""
    height, width = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    padding = (height // 2, width // 2) if pad is None else (pad, pad)
    return Conv(out, (height, width), stride, padding, bias, norm, relu)


def chain(**steps: Layer) -> Chain:
    return Chain(tuple(steps.items()))


def made_concrete(
    architecture: Architecture, *, classes: int, width: float, dropout: float | None
) -> Iterator[tuple[str, Layer]]:
    """The table's (end point, layer) with nothing left open: channels widened, classes and dropout rates filled in."""

    def concrete(leaf: Leaf) -> Leaf:
        match leaf:
            case Conv(out=out):
                return replace(leaf, out=widened(out, width))
            case Linear(out="classes"):
                return Linear(classes)
            case Dropout(rate=None):
                return Dropout(architecture.dropout if dropout is None else dropout)
        return leaf

    for name, layer, _ in architecture.rows:
        yield name, changed(layer, concrete)


def widened(channels: int, width: float) -> int:
    """`channels` times `width`, as TF-Slim's depth multiplier: at least 16, or the table's own if it has fewer."""
    return max(int(channels * width), min(channels, LEAST_CHANNELS))


def changed(layer: Layer, change: Callable[[Leaf], Leaf]) -> Layer:
    """`layer` with every leaf in it put through `change`."""
    match layer:
        case Chain(steps=steps):
            return Chain(tuple((name, changed(step, change)) for name, step in steps))
        case Residual(steps=steps, shortcut=shortcut):
            walked = tuple((name, changed(step, change)) for name, step in steps)
            return Residual(walked, None if shortcut is None else changed(shortcut, change))
    return change(layer)
