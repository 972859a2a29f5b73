"""TF-Slim's variables: their names, and the order of their axes."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pellucid.weights.sources.common import Pairs, Renamed, Shapes, split, with_torch_axes

if TYPE_CHECKING:
    from torch import Tensor

SCOPE = re.compile(r"Inception(V\d|ResnetV2)/.*")  # a model or a user may write something before it
TENSORS = {
    "conv.weight": "weights",
    "conv.bias": "biases",
    "norm.weight": "BatchNorm/gamma",
    "norm.bias": "BatchNorm/beta",
    "norm.running_mean": "BatchNorm/moving_mean",
    "norm.running_var": "BatchNorm/moving_variance",
    "norm.num_batches_tracked": "BatchNorm/num_batches_tracked",  # which no file has
    "depthwise.weight": "depthwise_weights",
    "pointwise.weight": "pointwise_weights",
    "pointwise.bias": "biases",
    "weight": "weights",
    "bias": "biases",
}
ENDS = tuple(f"/{variable}" for variable in TENSORS.values())
# Our families of networks, and what its variables begin with.
SCOPES = {
    "inception_v1": "InceptionV1",
    "inception_v2": "InceptionV2",
    "inception_v3": "InceptionV3",
    "inception_v4": "InceptionV4",
    "inception_resnet_v2": "InceptionResnetV2",
}
LOGITS = {
    "InceptionV1": "Logits/Conv2d_0c_1x1",
    "InceptionV2": "Logits/Conv2d_1c_1x1",
    "InceptionV3": "Logits/Conv2d_1c_1x1",
    "InceptionV4": "Logits/Logits",
    "InceptionResnetV2": "Logits/Logits",
}
# Between the last block and the logits; {} is a kernel as large as the map, up to the largest that it has.
LARGEST_KERNEL = {"InceptionV1": 7, "InceptionV2": 7, "InceptionV3": 8}
LAST = {
    "InceptionV1": {"pool": "Logits/AvgPool_0a_7x7", "dropout": "Logits/Dropout_0b"},
    "InceptionV2": {"pool": "Logits/AvgPool_1a_{}x{}", "dropout": "Logits/Dropout_1b"},
    "InceptionV3": {"pool": "Logits/AvgPool_1a_{}x{}", "dropout": "Logits/Dropout_1b"},
    "InceptionV4": {
        "pool": "Logits/AvgPool_1a",
        "dropout": "Logits/Dropout_1b",
        "flatten": "Logits/PreLogitsFlatten",
    },
    "InceptionResnetV2": {"pool": "Logits/AvgPool_1a_8x8", "dropout": "Logits/Dropout", "flatten": "Logits/Flatten"},
}
# Where TF-Slim's own names break its rules: ours, and what it says.
EXCEPTIONS = {
    "InceptionV1": {"Mixed_5b/Branch_2/Conv2d_0b_3x3": "Mixed_5b/Branch_2/Conv2d_0a_3x3"},
    "InceptionV3": {
        "Mixed_5c/Branch_1/Conv2d_0a_1x1": "Mixed_5c/Branch_1/Conv2d_0b_1x1",
        "Mixed_5c/Branch_1/Conv2d_0b_5x5": "Mixed_5c/Branch_1/Conv_1_0c_5x5",
        "Mixed_6a/Branch_0/Conv2d_1a_3x3": "Mixed_6a/Branch_0/Conv2d_1a_1x1",
        "Mixed_6a/Branch_1/Conv2d_1a_3x3": "Mixed_6a/Branch_1/Conv2d_1a_1x1",
        "Mixed_7b/Branch_1/Conv2d_0c_3x1": "Mixed_7b/Branch_1/Conv2d_0b_3x1",
    },
    "InceptionV4": {
        "Mixed_3a/Branch_0/MaxPool_1a_3x3": "Mixed_3a/Branch_0/MaxPool_0a_3x3",
        "Mixed_3a/Branch_1/Conv2d_1a_3x3": "Mixed_3a/Branch_1/Conv2d_0a_3x3",
        "Mixed_4a/Branch_0/Conv2d_0b_3x3": "Mixed_4a/Branch_0/Conv2d_1a_3x3",
        "Mixed_4a/Branch_1/Conv2d_0d_3x3": "Mixed_4a/Branch_1/Conv2d_1a_3x3",
    },
    "InceptionResnetV2": {"Mixed_5b/Branch_0/Conv2d_0a_1x1": "Mixed_5b/Branch_0/Conv2d_1x1"},
}


def names(ours: Shapes, scope: str) -> Pairs:
    """InceptionV3/Mixed_5b/Branch_1/Conv2d_0b_5x5/BatchNorm/beta, where `scope` is InceptionV3."""
    for name in ours:
        place, tensor = split(name, TENSORS)
        theirs = layer(place, scope)
        if theirs == "AuxLogits/Conv2d_2a_5x5" and scope == "InceptionV3":
            height, width = ours[f"{place}.conv.weight"][2:]  # named after the kernel as cut to its map
            theirs = f"AuxLogits/Conv2d_2a_{height}x{width}"
        yield name, f"{scope}/{theirs}/{TENSORS[tensor]}"


def layer(place: str, scope: str) -> str:
    """What TF-Slim calls a layer of ours, or a block, within its scope."""
    parts = [part for part in place.split(".") if part != "mixed" and not part.startswith("Fan_")]
    if len(parts) > 1 and parts[1].startswith(("Repeat", "Block8", "Mixed_6a", "Conv2d_7b")):
        parts = parts[1:]  # stacks of blocks have scopes of their own
    theirs = "/".join(parts)
    if theirs == "Logits":
        return LOGITS[scope]
    if "block" in theirs.lower():
        theirs = theirs.replace("Branch_0/Conv2d_0a_1x1", "Branch_0/Conv2d_1x1")
    return EXCEPTIONS.get(scope, {}).get(theirs, theirs)


def arranged(tensors: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    """The variables of the network itself, with torch's axes, by their names from its scope on.

    What an optimizer keeps of one lies under the variable's own name (weights/Adam, weights/Momentum), and so does its
    moving average (weights/ExponentialMovingAverage): the variable is taken. Raises Twice where two have one name.
    """
    found = Renamed()
    for name, tensor in tensors.items():
        scoped = SCOPE.search(name)
        own = scoped[0].removesuffix(":0") if scoped else ""
        if own.endswith(ENDS):
            found.put(own, with_torch_axes(tensor, depthwise=own.endswith("depthwise_weights")), was=name)
    return found.settled()
