"""The words an architecture's table is written in: plain data. geometry.py counts them, networks builds them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

LEAST_CHANNELS = 16  # TF-Slim's min_depth
MOST_PER_CHANNEL = 8  # maps that a depthwise convolution makes of one; TF-Slim's Inception V2


@dataclass(frozen=True)
class Conv:
    """Convolution, then batch norm and ReLU unless told otherwise. Pairs are (height, width).

    `out` "input" is as many channels as entered the residual unit around it. `fits`: a kernel no larger than its map.
    `same`: padded as TensorFlow's SAME, unevenly at stride 2; conventions set it, tables do not.
    """

    out: int | Literal["input"]
    kernel: tuple[int, int]
    stride: int = 1
    pad: tuple[int, int] = (0, 0)
    bias: bool = False
    norm: bool = True
    relu: bool = True
    fits: bool = False
    same: bool = False


@dataclass(frozen=True)
class Separable:
    """Each channel convolved by kernels of its own, then mixed by a 1x1 convolution with bias, then ReLU."""

    out: int
    kernel: tuple[int, int]
    stride: int
    pad: tuple[int, int]
    same: bool = False


@dataclass(frozen=True)
class Pool:
    """`ceil`: a last window that reaches beyond the edge counts. `counted`: an average counts zeros beyond the edge."""

    kind: Literal["max", "average"]
    kernel: int
    stride: int
    pad: int = 0
    ceil: bool = False
    counted: bool = True
    same: bool = False


@dataclass(frozen=True)
class GlobalPool:
    """Every map averaged to `cells` x `cells`, whatever its size."""

    cells: int = 1


@dataclass(frozen=True)
class Flatten:
    """Maps to one vector, channel by channel."""


@dataclass(frozen=True)
class Linear:
    """A fully connected layer with bias; as wide as there are classes where `out` says so.

    `spatial`: it takes the one cell of a map and gives one, as a 1x1 convolution; an option sets it, tables do not.
    """

    out: int | Literal["classes"]
    spatial: bool = False


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
class Branches:
    """Named paths from the same input; their maps are joined, channel after channel."""

    paths: tuple[tuple[str, "Layer"], ...]


@dataclass(frozen=True)
class Residual:
    """Named steps; what leaves them, times `scale`, is added to the input, or to what `shortcut` makes of it."""

    steps: tuple[tuple[str, "Layer"], ...]
    shortcut: "Layer | None" = None
    scale: float = 1.0
    relu: bool = True


Leaf = Conv | Separable | Pool | GlobalPool | Flatten | Linear | Relu | Dropout | Probabilities
Layer = Leaf | Chain | Branches | Residual

# One row per end point: its name, the layer that leads to it, and what leaves it at the design size with 1000 classes
# ("height x width x channels", or the length of a vector), which a test compares with what geometry.py finds.
Row = tuple[str, Layer, str]


@dataclass(frozen=True)
class Head:
    """An auxiliary classifier: its end point, and the one it starts from."""

    name: str
    source: str
    layer: Layer


@dataclass(frozen=True)
class Conventions:
    """What frameworks that publish the same network do differently."""

    epsilon: float = 1e-5  # of batch norms
    same: bool = False  # padding as TensorFlow's SAME: at stride 2, one row and column more at the far side
    counted: bool = True  # average pooling counts the padding
    scaled: bool = True  # batch norm has a learned scale
    stride_first: bool = False  # a bottleneck's stride is on its first convolution


@dataclass(frozen=True)
class Architecture:
    """A network as its table. `size`: pixels per side it was designed for. `source`: the paper or program it is from.

    `family` says whose names its weights have elsewhere; `published` names who publishes ImageNet weights for it.
    """

    name: str
    family: str
    source: str
    rows: tuple[Row, ...]
    size: int
    dropout: float = 0.0
    heads: tuple[Head, ...] = ()
    torch: Conventions = Conventions()
    tensorflow: Conventions = Conventions()
    published: tuple[Literal["torchvision", "timm"], ...] = ()

    @property
    def end_points(self) -> tuple[str, ...]:
        return tuple(name for name, _, _ in self.rows)


def conv(
    out: int | Literal["input"],
    kernel: int | tuple[int, int],
    stride: int = 1,
    *,
    pad: int | None = None,
    bias: bool = False,
    norm: bool = True,
    relu: bool = True,
    fits: bool = False,
) -> Conv:
    """A Conv as tables write it; without `pad`, odd kernels keep the map's size at stride 1."""
    height, width = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    padding = (height // 2, width // 2) if pad is None else (pad, pad)
    return Conv(out, (height, width), stride, padding, bias, norm, relu, fits)


def chain(**steps: Layer) -> Chain:
    return Chain(tuple(steps.items()))


def branches(*paths: tuple[Layer, ...]) -> Branches:
    """Paths as TF-Slim names them: Branch_0, Branch_1, ..., and their steps by position, kind and kernel."""
    return Branches(tuple((f"Branch_{index}", path(*steps)) for index, steps in enumerate(paths)))


def path(*steps: Layer, first: int = 0) -> Chain:
    """Steps named by their position, as TF-Slim does; `first` is the position of the first."""
    return Chain(tuple((_step_name(step, "abcdefgh"[at]), step) for at, step in enumerate(steps, start=first)))


def fan(*steps: Layer, first: int) -> Branches:
    """Branches of one step each, in the middle of a path."""
    return Branches(path(*steps, first=first).steps)


def _step_name(step: Layer, letter: str) -> str:
    match step:
        case Conv(kernel=(height, width), stride=stride):
            return f"Conv2d_{_place(stride, letter)}_{height}x{width}"
        case Pool(kind=kind, kernel=side, stride=stride):
            return f"{'Max' if kind == 'max' else 'Avg'}Pool_{_place(stride, letter)}_{side}x{side}"
        case Branches():
            return f"Fan_0{letter}"
    return type(step).__name__


def _place(stride: int, letter: str) -> str:
    return f"0{letter}" if stride == 1 else "1a"


def inner(layer: Layer) -> tuple[tuple[str, Layer], ...]:
    """The named layers that `layer` consists of, in order; () where it is one step."""
    match layer:
        case Chain(steps=steps):
            return steps
        case Branches(paths=paths):
            return paths
        case Residual(steps=steps, shortcut=shortcut):
            return steps if shortcut is None else (*steps, ("shortcut", shortcut))
    return ()


def changed(layer: Layer, change: Callable[[Layer], Layer]) -> Layer:
    """`layer` with everything in it, and at last itself, put through `change`."""

    def all_of(steps: tuple[tuple[str, Layer], ...]) -> tuple[tuple[str, Layer], ...]:
        return tuple((name, changed(step, change)) for name, step in steps)

    match layer:
        case Chain(steps=steps):
            return change(Chain(all_of(steps)))
        case Branches(paths=paths):
            return change(Branches(all_of(paths)))
        case Residual(steps=steps, shortcut=shortcut):
            beside = None if shortcut is None else changed(shortcut, change)
            return change(replace(layer, steps=all_of(steps), shortcut=beside))
    return change(layer)


def made_concrete(
    architecture: Architecture, *, classes: int, width: float, dropout: float | None, conventions: Conventions
) -> Iterator[tuple[str, str, Layer]]:
    """Each end point, the one it starts from, and its layer with nothing left open; auxiliary heads before PreLogits.

    Channels are widened, classes and dropout rates filled in, and what conventions say is written into the layers.
    """

    def concrete(layer: Layer) -> Layer:
        match layer:
            case Conv(out=int(out)):
                same = conventions.same and any(layer.pad)
                return replace(layer, out=widened(out, width), same=same)
            case Separable(out=out):
                return replace(layer, out=widened(out, width), same=conventions.same)
            case Pool():
                same = conventions.same and (layer.pad > 0 or layer.ceil)
                return replace(layer, counted=conventions.counted, same=same)
            case Linear(out="classes"):
                return replace(layer, out=classes)
            case Dropout(rate=None):
                return Dropout(architecture.dropout if dropout is None else dropout)
            case Residual() if conventions.stride_first:
                return _stride_first(layer)
        return layer

    before = ""
    for name, layer, _ in architecture.rows:
        if name == "PreLogits":
            yield from ((head.name, head.source, changed(head.layer, concrete)) for head in architecture.heads)
        yield name, before, changed(layer, concrete)
        before = name


def classifier(features: int) -> tuple[Row, Row, Row]:
    """The last rows of a network that averages its maps, of so many channels, before the linear layer."""
    pooled = chain(pool=GlobalPool(), flatten=Flatten(), dropout=Dropout())
    return (
        ("PreLogits", pooled, f"{features}"),
        ("Logits", Linear("classes"), "1000"),
        ("Predictions", Probabilities(), "1000"),
    )


def cut(architecture: Architecture, last: str) -> Architecture:
    """The network up to the end point `last`, then pooled and classified: for weights that end there."""
    at = architecture.end_points.index(last)
    heads = tuple(head for head in architecture.heads if head.source in architecture.end_points[: at + 1])
    # Its rows are never compared: how many channels are pooled depends on where it ends.
    return replace(architecture, rows=(*architecture.rows[: at + 1], *classifier(0)), heads=heads)


def _stride_first(unit: Residual) -> Residual:
    """A bottleneck as in the paper: its 1x1 convolution takes the stride, not the 3x3."""
    strides = [step.stride for _, step in unit.steps if isinstance(step, Conv)]
    if len(strides) != len(unit.steps) or len(strides) < 3:
        return unit
    moved = [max(strides), *[1] * (len(strides) - 1)]
    steps = zip(unit.steps, moved, strict=True)
    return replace(
        unit,
        steps=tuple((name, replace(step, stride=stride)) for (name, step), stride in steps if isinstance(step, Conv)),
    )


def filled(unit: Residual, channels: int) -> Residual:
    """`unit` for `channels` that enter it: convolutions that give back as many know how many that are."""

    def fill(layer: Layer) -> Layer:
        return replace(layer, out=channels) if isinstance(layer, Conv) and layer.out == "input" else layer

    return replace(unit, steps=tuple((name, changed(step, fill)) for name, step in unit.steps))


def widened(channels: int, width: float) -> int:
    """`channels` times `width`, as TF-Slim's depth multiplier: at least 16, or the table's own if it has fewer."""
    return max(int(channels * width), min(channels, LEAST_CHANNELS))
