"""What other libraries call the layers of a network of ours, and how they order the axes of their shapes. No torch.

Names of layers with weights are those of the tensors in that library's files (see table.py), so that they are written
once; here is what lies between them. Paddle counts layers of a kind as they are made, whatever its files say.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from pellucid.architectures.catalog import ARCHITECTURES
from pellucid.architectures.rows import ADDED, LayerRow, Structure
from pellucid.errors import UserError, named
from pellucid.weights.sources import slim
from pellucid.weights.sources.keras import VGG_CELLS
from pellucid.weights.sources.table import NAMES, WITH_HEADS, has_network, partners_of

ENDS = ("PreLogits", "Logits", "Predictions")

SLIM = "tf-slim"
CHANNELS_LAST = (SLIM, "keras")  # the libraries of TensorFlow
LIBRARIES = {"slim": SLIM, SLIM: SLIM} | {name: name for name in ("paddle", "torchvision", "timm", "keras")}

# Between the layers with weights: our row, and what it is called. Originals for parity are watched at these as well.
BETWEEN: dict[tuple[str, str], dict[str, str]] = {
    ("torchvision", "resnet"): {"pool1": "maxpool", "PreLogits/pool": "avgpool"},
    ("timm", "resnet"): {"pool1": "maxpool", "PreLogits/pool": "global_pool"},
    ("keras", "resnet"): {"pool1": "pool1_pool", "PreLogits/pool": "avg_pool"},
    ("torchvision", "inception_v1"): {
        **{"MaxPool_2a_3x3": "maxpool1", "MaxPool_3a_3x3": "maxpool2", "MaxPool_4a_3x3": "maxpool3"},
        **{"MaxPool_5a_2x2": "maxpool4", "PreLogits/pool": "avgpool", "PreLogits/dropout": "dropout"},
    },
    ("torchvision", "inception_v3"): {
        **{"MaxPool_3a_3x3": "maxpool1", "MaxPool_5a_3x3": "maxpool2"},
        **{"PreLogits/pool": "avgpool", "PreLogits/dropout": "dropout"},
    },
    ("timm", "inception_v3"): {
        **{"MaxPool_3a_3x3": "Pool1", "MaxPool_5a_3x3": "Pool2"},
        **{"PreLogits/pool": "global_pool", "PreLogits/dropout": "head_drop"},
    },
    ("timm", "inception_v4"): {"PreLogits/pool": "global_pool", "PreLogits/dropout": "head_drop"},
    ("timm", "inception_resnet_v2"): {
        **{"MaxPool_3a_3x3": "maxpool_3a", "MaxPool_5a_3x3": "maxpool_5a"},
        **{"PreLogits/pool": "global_pool", "PreLogits/dropout": "head_drop"},
    },
    ("torchvision", "vgg"): {
        **{"fc6/pool": "avgpool", "fc6/relu": "classifier.1", "fc7/dropout": "classifier.2"},
        **{"fc7/relu": "classifier.4", "PreLogits": "classifier.5"},
    },
    ("keras", "vgg"): {"fc6/flatten": "flatten", **{f"pool{stage}": f"block{stage}_pool" for stage in range(1, 6)}},
    ("keras", "inception_v3"): {"PreLogits/pool": "avg_pool"},
    ("keras", "inception_resnet_v2"): {"PreLogits/pool": "avg_pool"},
}
PADDLE = {
    "convolution": "conv2d",
    "depthwise convolution": "conv2d",
    "linear": "linear",
    "max pooling": "max_pool2d",
    "average pooling": "avg_pool2d",
    "global average pooling": "adaptive_avg_pool2d",
    "dropout": "dropout",
}
KERAS_COUNTS = {"max pooling": "max_pooling2d", "average pooling": "average_pooling2d"}  # in its Inceptions


def source_called(library: str) -> str:
    """The source of weights that somebody means by `library`; UserError for one that is not known."""
    if library not in LIBRARIES:
        raise UserError(f"there are no names of {library!r}", hint=f"there are those of {named([*LIBRARIES])}")
    return LIBRARIES[library]


def called(counted: Structure, family: str, library: str) -> Structure:
    """`counted`, of a network of ours, with each row's name and axes in `library`; ours in brackets where it has none.

    Raises UserError where that library has no such network.
    """
    source = source_called(library)
    rows, channels = [], 3  # that enter
    for row, name in zip(counted.rows, layer_names(counted, family, source), strict=True):
        weight, output = _weight(row, name, source, channels), _output(row.output, source)
        rows.append(replace(row, called=name or f"({row.name})", weight=weight, output=output))
        channels = row.output[1]
    ends = tuple(replace(end, output=_output(end.output, source)) for end in counted.ends)
    return replace(counted, rows=tuple(rows), ends=ends, names=library)


def called_by_torch(watched: Structure, library: str) -> Structure:
    """A module's rows by the paths that torch has for them, which are its only names."""
    if source_called(library) not in ("torchvision", "timm"):
        raise UserError(
            f"{watched.name} is no network that {library} has: its names are torch's",
            hint="--names torchvision shows them as torch writes them",
        )
    rows = tuple(replace(row, called=row.name.replace("/", ".")) for row in watched.rows)
    return replace(watched, rows=rows, names=library)


def layer_names(counted: Structure, family: str, source: str) -> list[str]:
    """What `source` calls each row; "" for one that it has no layer for. UserError where it has no such network."""
    known = [one for one in NAMES.get(family, {}) if counted.name in ARCHITECTURES and has_network(one, counted.name)]
    if source not in known:
        hint = f"there are the names of {named(known)} for it" if known else "nobody else has it: leave --names out"
        raise UserError(f"{source} has no network {counted.name}", hint=hint)
    table = ARCHITECTURES[counted.name]
    heads = {head.name for head in table.heads}
    main = [row for row in counted.rows if row.end_point not in heads]
    aside = [row for row in counted.rows if row.end_point in heads] if (source, family) in WITH_HEADS else []
    if source == "paddle":  # which makes its heads at last
        names = _counted_by_paddle([*main, *aside], drops=table.dropout > 0)
        called = dict(zip([row.name for row in (*main, *aside)], names, strict=True))
    else:
        there = [row for row in counted.rows if row in main or row in aside]
        called = dict(
            zip([row.name for row in there], _named(there, family, source, last=_last_map(main)), strict=True)
        )
    return [called.get(row.name, "") for row in counted.rows]


def tensor_names(rows: Sequence[LayerRow], family: str, source: str) -> dict[str, str]:
    """What `source` calls the weight of each of our rows that has one: layer3.0.conv1.weight."""
    owners, shapes = {}, {}
    for row in rows:
        place = row.name.replace("/", ".")
        bare = row.kind == "linear" or row.name.endswith(("/depthwise", "/pointwise"))
        if row.weight:
            weight = f"{place}.weight" if bare else f"{place}.conv.weight"
            owners[weight], shapes[weight] = row.name, row.weight
        if row.norm:
            shapes[f"{place}.norm.weight"] = row.norm
    partners = partners_of(shapes, family, source)
    return {row: partners[weight] for weight, row in owners.items()}


def _named(rows: Sequence[LayerRow], family: str, source: str, *, last: tuple[int, ...]) -> Iterator[str]:
    """Layers with weights as their tensors are called, and those between by the tables above."""
    weighed = {row: _layer(tensor, source) for row, tensor in tensor_names(rows, family, source).items()}
    table = BETWEEN.get((source, family), {})
    counts: Counter[str] = Counter()
    before, normed = "", any(row.norm for row in rows)
    for row in rows:
        counts[row.kind] += 1
        if row.name in weighed:
            before = weighed[row.name]
            yield before
        elif row.kind == "addition":
            yield _unit(row, weighed, source, family)
        elif row.name in table:
            yield table[row.name]
        elif source == SLIM:
            yield _by_slim(row, slim.SCOPES[family], last)
        elif source == "keras" and family.startswith("inception") and row.kind in KERAS_COUNTS:
            yield _numbered(KERAS_COUNTS[row.kind], counts[row.kind] - 1)
        elif family == "vgg" and source != "keras" and row.name.startswith("pool"):
            # A list of convolution, norm where there is one, ReLU; the pooling follows.
            yield f"features.{int(before.rpartition('.')[2]) + 2 + normed}"
        else:
            yield ""


def _last_map(main: Sequence[LayerRow]) -> tuple[int, ...]:
    """The shape that is averaged before the logits, as torch has it."""
    maps = [row.output for row in main if len(row.output) == 4 and row.end_point not in ENDS]
    return maps[-1] if maps else ()


def _layer(tensor: str, source: str) -> str:
    """The layer of a tensor, as the library itself calls it."""
    if source == SLIM:
        return tensor.partition("/")[2].rpartition("/")[0]  # within the network's scope
    if source == "keras":
        layer = tensor.rpartition("/")[0]
        return _numbered("conv2d", int(layer[7:])) if layer.startswith("conv2d_") else layer
    return tensor.rpartition(".")[0]


def _numbered(kind: str, number: int) -> str:
    """As Keras does: the first has no number."""
    return f"{kind}_{number}" if number else kind


def _unit(row: LayerRow, weighed: dict[str, str], source: str, family: str) -> str:
    """What a residual unit is called, whose sum this is."""
    place = row.name.removesuffix(f"/{ADDED}")
    if source == SLIM:
        return slim.layer(place.replace("/", "."), slim.SCOPES[family])
    inside = [name for ours, name in weighed.items() if ours.startswith(f"{place}/")]
    if source == "keras":
        blocks = [name.removesuffix("_conv") for name in inside if name.startswith("block")]
        return blocks[0] if blocks else f"{_shared(inside)}out"
    return ".".join(_shared([name.split(".") for name in inside]))


def _shared(names: Sequence[Any]) -> Any:
    """What all begin with: of texts their letters, of lists their parts."""
    first, last = min(names), max(names)
    return first[: next((at for at, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))]


def _by_slim(row: LayerRow, scope: str, last: tuple[int, ...]) -> str:
    """A pooling, dropout or flattening; those after the last map lie in the scope of the logits."""
    end, _, inside = row.name.partition("/")
    if end == "PreLogits":
        kernel = last[2:]
        if inside == "pool" and max(kernel) > slim.LARGEST_KERNEL.get(scope, max(kernel)):
            return ""  # its kernel would not reach over the whole map
        return slim.LAST[scope].get(inside, "").format(*kernel)
    if row.kind in ("max pooling", "average pooling") or row.kind == "probabilities":
        return slim.layer(row.name.replace("/", "."), scope)
    return ""


def _counted_by_paddle(rows: Sequence[LayerRow], *, drops: bool) -> Iterator[str]:
    """conv2d_0, conv2d_1, ...: its layers are numbered by kind, a projection after the unit that it goes with.

    The end of a unit and flattening are no layers, and are called as the ResNet tutorial calls them. `drops`: there is
    a dropout.
    """
    counts: Counter[str] = Counter()
    for row in rows:
        kind = PADDLE.get(row.kind)
        if kind and (drops or kind != "dropout"):
            yield f"{kind}_{counts[kind]}"
            counts[kind] += 1
        else:
            yield {"addition": "end block", "flatten": "flatten"}.get(row.kind, "")


def _output(shape: tuple[int, ...], source: str) -> tuple[int, ...]:
    """(N, C, H, W) in the library's order."""
    return (shape[0], *shape[2:], shape[1]) if source in CHANNELS_LAST else shape


def _weight(row: LayerRow, name: str, source: str, channels: int) -> tuple[int, ...]:
    """A weight's shape in the library's order; `channels` enter the layer."""
    shape = row.weight
    if not shape or source == "torchvision":
        return shape
    if row.kind == "linear":
        out, inputs = shape
        if name.startswith("pre_logits.fc"):  # timm's VGG has convolutions there
            cells = VGG_CELLS if name.endswith("fc1") else 1
            return out, inputs // cells**2, cells, cells
        convolution = name.rpartition("/")[2].startswith("Conv2d")  # most of TF-Slim's
        return shape if source == "timm" else (1, 1, inputs, out) if convolution else (inputs, out)
    if source not in CHANNELS_LAST:
        return shape
    out, inputs, *kernel = shape
    return (*kernel, channels, out // channels) if row.kind == "depthwise convolution" else (*kernel, inputs, out)
