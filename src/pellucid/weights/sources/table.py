"""For each family of networks, the sources whose weights fit it, and how they are read."""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from pellucid.weights.sources import keras, paddle, slim, torch_libraries
from pellucid.weights.sources.common import Pairs, Shapes

if TYPE_CHECKING:
    from torch import Tensor

Reader = Callable[[Shapes], Pairs]  # of the shapes of our tensors, by name

# Networks that a library calls by another name.
ELSEWHERE = {("torchvision", "inception_v1"): "googlenet"}

# Libraries that have some networks of a family and not others: ours, and what each is called there.
OF_LIBRARY = {
    "keras": {
        **{f"resnet{depth}": f"ResNet{depth}" for depth in (50, 101, 152)},
        **{"vgg16": "VGG16", "vgg19": "VGG19"},
        **{"inception_v3": "InceptionV3", "inception_resnet_v2": "InceptionResNetV2"},
    },
    "paddle": {
        **{name: name for name in ("vgg11", "vgg13", "vgg16", "vgg19", "inception_v3")},
        **{f"{name}_bn": name for name in ("vgg11", "vgg13", "vgg16", "vgg19")},
        **{f"resnet{depth}": f"resnet{depth}" for depth in (18, 34, 50, 101, 152)},
        "inception_v1_plain": "googlenet",
    },
}


def _slim(family: str) -> Reader:
    return partial(slim.names, scope=slim.SCOPES[family])


# For each family, the sources whose names are known, and how to find them; those of auxiliary heads match `HEADS`.
NAMES: dict[str, dict[str, Reader]] = {
    "resnet": {
        "torchvision": torch_libraries.resnet,
        "timm": torch_libraries.resnet,
        "keras": keras.resnet,
        "paddle": torch_libraries.resnet,
    },
    "vgg": {
        "torchvision": torch_libraries.vgg,
        "timm": torch_libraries.timm_vgg,
        "keras": keras.vgg,
        "paddle": torch_libraries.vgg,
    },
    "inception_v1": {"torchvision": torch_libraries.inception_v1, "tf-slim": _slim("inception_v1")},
    "inception_v1_plain": {"paddle": paddle.inception_v1},
    "inception_v2": {"tf-slim": _slim("inception_v2")},
    "inception_v3": {
        "torchvision": torch_libraries.inception_v3,
        "timm": torch_libraries.inception_v3,
        "tf-slim": _slim("inception_v3"),
        "keras": keras.counted,
        "paddle": paddle.inception_v3,
    },
    "inception_v4": {"timm": torch_libraries.inception_v4, "tf-slim": _slim("inception_v4")},
    "inception_resnet_v2": {
        "timm": torch_libraries.inception_resnet_v2,
        "tf-slim": _slim("inception_resnet_v2"),
        "keras": keras.counted,
    },
}
# Sources whose network of a family has the auxiliary heads that ours can have.
WITH_HEADS = {
    *(("torchvision", family) for family in ("inception_v1", "inception_v3")),
    *(("tf-slim", family) for family in ("inception_v3", "inception_v4", "inception_resnet_v2")),
    *(("timm", "inception_v3"), ("paddle", "inception_v1_plain")),
}
HEADS = re.compile(r"^(\w+/)?(AuxLogits|aux\d|_(conv_o|fc_o|out)\d)\b")


def has_network(source: str, name: str) -> bool:
    """Whether a source that has networks of a family has the one of that name."""
    return name in OF_LIBRARY.get(source, (name,))


def partners_of(ours: Shapes, family: str, source: str) -> dict[str, str]:
    """Our name of every tensor of a network of `family` to what `source` calls it."""
    return dict(_partners(family, source, tuple(ours.items())))


@lru_cache(maxsize=32)  # a file is tried by the names of several sources, in several places
def _partners(family: str, source: str, ours: tuple[tuple[str, tuple[int, ...]], ...]) -> dict[str, str]:
    return dict(NAMES[family][source](dict(ours)))


def arranged(tensors: "Mapping[str, Tensor]", family: str, source: str) -> "Mapping[str, Tensor]":
    """`tensors` of a network of `family`, as `source` keeps them, for torch to compute the same with."""
    if source == "tf-slim":
        return slim.arranged(tensors)
    if source == "keras":
        return keras.arranged(tensors)
    return paddle.arranged(tensors, family) if source == "paddle" else tensors
