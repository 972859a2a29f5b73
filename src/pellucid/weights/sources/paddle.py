"""The layers of paddle.vision: their names, the order of their axes, and what they compute besides.

Its batch norms have another epsilon than our Inception V3: gamma is scaled to give the same. Some of its dropouts
shrink what flows when they predict: the weights after them are shrunk instead.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pellucid.architectures.catalog import architecture
from pellucid.weights.sources import torch_libraries
from pellucid.weights.sources.common import BASIC, Pairs, Renamed, Shapes, computable, split

if TYPE_CHECKING:
    from torch import Tensor

STATISTICS = {"_mean": "running_mean", "_variance": "running_var"}
EPSILON = 1e-5
# Linear layers after a dropout that multiplies by the share it keeps when it predicts ("downscale_in_infer").
SHRUNK = {
    "inception_v3": {"fc.weight": 0.8},
    "inception_v1_plain": {"_fc_out.weight": 0.6, "_out1.weight": 0.3, "_out2.weight": 0.3},
}


def inception_v3(ours: Shapes) -> Pairs:
    """Nearly torchvision's: inception_block_list.3.branch3x3dbl_1.1.weight is Mixed_6a.branch3x3dbl_1.bn.weight."""
    blocks = list(dict.fromkeys(end for name in ours if (end := name.split(".")[0]).startswith("Mixed")))
    for name, theirs in torch_libraries.inception_v3(ours):
        end_point, _, rest = theirs.partition(".")
        if end_point in blocks:
            end_point, rest = f"inception_block_list.{blocks.index(end_point)}", rest.replace("pool.", "pool_conv.")
        elif end_point.startswith("Conv2d"):
            end_point = f"inception_stem.{end_point.replace('Conv2d', 'conv')}"
        yield name, f"{end_point}.{rest.replace('conv.weight', '0.weight').replace('bn.', '1.')}"


def inception_v1(ours: Shapes) -> Pairs:
    """Mixed_4b.join.Branch_1.Conv2d_0b_3x3.conv.weight is _ince4a._conv3._conv.weight."""
    places = {"Conv2d_1a_7x7": "_conv", "Conv2d_2b_1x1": "_conv_1", "Conv2d_2c_3x3": "_conv_2", "Logits": "_fc_out"}
    for number in (1, 2):
        head = {"conv": f"_conv_o{number}", "fc1": f"_fc_o{number}", "fc2": f"_out{number}"}
        places |= {f"AuxLogits_{number}.{ours}": theirs for ours, theirs in head.items()}
    branches = {"0a": {0: "_conv1", 1: "_conv3r", 2: "_conv5r"}, "0b": {1: "_conv3", 2: "_conv5", 3: "_convprj"}}
    for name in ours:
        place, tensor = split(name, BASIC)
        theirs = places.get(place, "")
        if not theirs:
            block, letter, branch, step = re.match(r"Mixed_(\d)(\w)\.join\.Branch_(\d)\.Conv2d_(0\w)", place).groups()  # type: ignore[union-attr]
            theirs = f"_ince{block}{chr(ord(letter) - 1)}.{branches[step][int(branch)]}"
        yield name, f"{theirs}.{'_conv.' if tensor.startswith('conv.') else ''}{BASIC[tensor].removeprefix('conv.')}"


def arranged(tensors: "Mapping[str, Tensor]", family: str) -> "dict[str, Tensor]":
    import torch

    found = Renamed()
    for name, tensor in tensors.items():
        place, _, kind = name.rpartition(".")
        if tensor.dtype == torch.uint16:
            tensor = tensor.view(torch.bfloat16)  # NumPy has no such numbers
        if tensor.ndim == 2:
            tensor = tensor.T
        if (share := SHRUNK.get(family, {}).get(name)) and tensor.is_floating_point():
            tensor = tensor * share
        found.put(f"{place}.{STATISTICS.get(kind, kind)}", tensor, was=name)
    found.settled()
    if family == "inception_v3":
        epsilon = architecture("inception_v3").torch.epsilon
        for name in [name for name in found if name.endswith(".running_var")]:
            gamma, variance = name.replace(".running_var", ".weight"), found[name]
            if gamma in found and computable(found[gamma], variance):
                variance = variance.double()
                ratio = ((variance + epsilon) / (variance + EPSILON)).sqrt()
                found[gamma] = (found[gamma].double() * ratio).float()
    return found
