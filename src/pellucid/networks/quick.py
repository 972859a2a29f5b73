"""A network made quick: channels last, fewer multiplications, memory kept for the next batch; batch norms folded."""

import ctypes
import platform
from collections import Counter
from copy import deepcopy
from itertools import pairwise

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from pellucid.errors import UserError
from pellucid.names import is_own
from pellucid.networks.cut import followed
from pellucid.networks.ensemble import Ensemble
from pellucid.networks.network import Network
from pellucid.networks.table_network import SameConv
from pellucid.networks.winograd import Winograd, winograd

# glibc's mallopt: memory above 128 kB is otherwise given back to the system after each layer, and cleared anew for
# the next. Measured on 2 cores: up to 1.45 times for Inception V3's forward, up to 4 times for a training step of
# MobileNetV2 (benchmarks/training_step.py).
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
KEPT = 2**31 - 1  # bytes, the largest that it takes
SAME_TO = 1e-4  # of the largest logit


def quick(net: nn.Module) -> nn.Module:
    """A copy of `net` for evaluation alone: the same numbers to rounding, 1.2 to 2 times as fast on a processor."""
    if isinstance(net, Ensemble):
        return Ensemble([quick(member) for member in net.members], net.voices)
    copy = _folded(net)
    if isinstance(net, Network) and is_own(net.name) and not _agree(net, copy):
        copy = deepcopy(net).eval()  # its code uses its layers in ways of its own
    for parameter in copy.parameters():
        parameter.requires_grad_(False)
    winograd(copy, fixed=True)
    return copy.to(memory_format=torch.channels_last)


def _folded(net: nn.Module) -> nn.Module:
    """A copy for evaluation whose convolutions do what the norms after them did."""
    copy = deepcopy(net).eval()
    places = Counter(id(module) for _, module in copy.named_modules(remove_duplicate=False))
    for module in list(copy.modules()):
        if isinstance(module, fx.GraphModule):
            _fold_along(module, module.graph)
        elif isinstance(module, Network) and module.inner is not module:
            if graph := followed(module.inner):
                _fold_along(module.inner, graph)
        elif type(module).forward is nn.Sequential.forward:
            for (_, conv), (name, norm) in pairwise(list(module.named_children())):
                if places[id(conv)] == places[id(norm)] == 1:
                    _fold_pair(module, conv, name, norm)
    return copy


def _agree(net: Network, copy: nn.Module) -> bool:
    """Whether both say the same of some noise, to rounding."""
    images = torch.randn(2, 3, net.size, net.size, generator=torch.Generator().manual_seed(0))
    images = images.to(next(net.parameters()).device)
    with torch.inference_mode():
        expected = deepcopy(net).eval()(images)
        try:
            made = copy(images)
        except UserError:  # it looks for what was folded away
            return False
        return bool((made - expected).abs().max() <= SAME_TO * max(1.0, float(expected.abs().max())))


def quick_to_train(net: nn.Module) -> None:
    """Make `net` itself quick to train: its weights, their names and what it computes stay the same, to rounding.

    The order in memory makes a step on 2 cores 1.2 times as fast; for the rest see docs/decisions/0009.
    """
    winograd(net, fixed=False)
    net.to(memory_format=torch.channels_last)


def _fold_along(model: nn.Module, graph: fx.Graph) -> None:
    """Fold each norm whose input is a convolution's output, where nothing else sees that."""
    modules = dict(model.named_modules())
    called = [node for node in graph.nodes if node.op == "call_module"]
    times = Counter(node.target for node in called)
    for node in called:
        before, name = node.args[0], str(node.target)
        if not isinstance(before, fx.Node) or before.op != "call_module" or len(before.users) > 1:
            continue
        if times[before.target] == times[node.target] == 1:
            parent, _, own = name.rpartition(".")
            _fold_pair(model.get_submodule(parent), modules[str(before.target)], own, modules[name])


def _fold_pair(parent: nn.Module, conv: nn.Module, name: str, norm: nn.Module) -> None:
    """Let a convolution do what the norm after it does; what else the norm does takes its place in `parent`."""
    rest = _besides(norm)
    if rest is not None and type(conv) in (nn.Conv2d, SameConv, Winograd):
        _fold(conv, norm)
        setattr(parent, name, rest)


def _besides(norm: nn.Module) -> nn.Module | None:
    """What a batch norm with statistics does besides; None for anything else."""
    if not isinstance(norm, nn.BatchNorm2d) or norm.running_mean is None:
        return None
    if type(norm) is nn.BatchNorm2d:
        return nn.Identity()
    return nn.Sequential(norm.drop, norm.act) if type(norm).__name__ == "BatchNormAct2d" else None  # timm's


def _fold(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Let the convolution's weights do what the norm does: Jacob et al. 2018, arXiv:1712.05877, equation 14."""
    assert norm.running_mean is not None and norm.running_var is not None
    conv.weight, conv.bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )


def keep_memory() -> bool:
    """Let this process keep the memory that layers free; False where the system's allocator takes no such wish."""
    if platform.system() != "Linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # not glibc
        return False
    return all(mallopt(what, KEPT) == 1 for what in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_TOP_PAD))


def native_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 itself; a processor that does not is many times slower with it."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
