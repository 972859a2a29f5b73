"""The layers of keras.applications: their names, the order of their axes, and what they compute besides.

A convolution's bias before a batch norm moves its mean; what VGG flattens has its channels last.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pellucid.weights.sources.common import Pairs, Renamed, Shapes, computable, split, with_torch_axes

if TYPE_CHECKING:
    from torch import Tensor

COUNTED = re.compile(r"(conv2d|batch_normalization)(?:_v\d)?(?:_(\d+))?")
VGG_CELLS = 7  # along each side of the map that VGG's first linear layer sees
TENSORS = {
    "conv.weight": "kernel",
    "conv.bias": "bias",
    "norm.weight": "gamma",
    "norm.bias": "beta",
    "norm.running_mean": "moving_mean",
    "norm.running_var": "moving_variance",
    "norm.num_batches_tracked": "num_batches_tracked",  # which no file has
    "weight": "kernel",
    "bias": "bias",
}


def vgg(ours: Shapes) -> Pairs:
    """conv3.conv3_2.conv.weight is block3_conv2/kernel."""
    layers = {"fc6.linear": "fc1", "fc7.linear": "fc2", "Logits": "predictions"}
    for name in ours:
        place, tensor = split(name, TENSORS)
        layer = layers.get(place) or re.sub(r".*conv(\d)_(\d)$", r"block\1_conv\2", place)
        yield name, f"{layer}/{TENSORS[tensor]}"


def resnet(ours: Shapes) -> Pairs:
    """conv3_x.unit_2.conv1.norm.weight is conv3_block2_1_bn/gamma; a shortcut is number 0."""
    for name in ours:
        place, tensor = split(name, TENSORS)
        layer = re.sub(r"_x\.unit_(\d+)\.", r"_block\1_", place)
        layer = re.sub(r"_(?:shortcut|conv(\d))$", lambda at: f"_{at[1] or 0}", layer)
        kind = "bn" if tensor.startswith("norm.") else "conv"
        yield name, f"{'predictions' if place == 'Logits' else f'{layer}_{kind}'}/{TENSORS[tensor]}"


def counted(ours: Shapes) -> Pairs:
    """Keras' Inceptions leave most layers nameless: they are counted as they come, and so do ours."""
    places: list[str] = []
    for name in ours:
        place, tensor = split(name, TENSORS)
        kind = TENSORS[tensor]
        if place == "Logits":
            layer = "predictions"
        elif place.endswith(".Conv2d_7b_1x1"):
            layer = "conv_7b" if tensor == "conv.weight" else "conv_7b_bn"
        elif block := re.search(r"(block\d+)_(\d+)\.Conv2d_1x1$|(Block8)\.Conv2d_1x1$", place):
            layer = f"{block[1]}_{block[2]}_conv" if block[1] else "block8_10_conv"
        else:
            if place not in places:
                places.append(place)
            counted = "conv2d" if tensor == "conv.weight" else "batch_normalization"
            layer = f"{counted}_{places.index(place)}"
        yield name, f"{layer}/{kind}"


def arranged(tensors: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    """`layer/kernel` and the like. Keras counts nameless layers through a whole session: here they begin at 0.

    Raises Twice where two layers have one name, as those of an optimizer's moments or of a second model have.
    """
    layers = {name.split("/")[-2] for name in tensors if "/" in name}
    renamed: dict[str, str] = {}
    for kind in ("conv2d", "batch_normalization"):
        numbers = {layer: int(at[2] or 0) for layer in layers if (at := COUNTED.fullmatch(layer)) and at[1] == kind}
        for index, layer in enumerate(sorted(numbers, key=numbers.__getitem__)):
            renamed[layer] = f"{kind}_{index}"
    found = Renamed()
    for name, tensor in tensors.items():
        *_, layer, kind = ["", *name.removesuffix(":0").split("/")]
        if f"{layer}/{kind}" == "fc1/kernel" and tensor.ndim == 2 and tensor.numel() and not len(tensor) % VGG_CELLS**2:
            maps = tensor.reshape(VGG_CELLS, VGG_CELLS, -1, tensor.shape[1])  # channels last, before flattening
            tensor = maps.permute(2, 0, 1, 3).flatten(0, 2)
        found.put(f"{renamed.get(layer, layer)}/{kind}", with_torch_axes(tensor), was=name)
    found.settled()
    for name in [name for name in found if name.endswith("_conv/bias")]:
        mean = name.replace("_conv/bias", "_bn/moving_mean")
        if mean in found and computable(found[mean], found[name]):
            found[mean] = found[mean] - found.pop(name)
    return found
