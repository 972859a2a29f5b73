"""A network made quick: channels last, fewer multiplications, memory kept for the next batch; batch norms folded."""

import ctypes
import platform
from copy import deepcopy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from pellucid.networks.winograd import winograd

# glibc's mallopt: memory above 128 kB is otherwise given back to the system after each layer, and cleared anew for
# the next. Measured on 2 cores: up to 1.45 times for Inception V3's forward, up to 4 times for a training step of
# MobileNetV2 (benchmarks/training_step.py).
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
KEPT = 2**31 - 1  # bytes, the largest that it takes


def quick(net: nn.Module) -> nn.Module:
    """A copy of `net` for evaluation alone: the same numbers to rounding, 1.5 times as fast and more on a processor."""
    copy = deepcopy(net).eval()
    for module in copy.modules():
        conv, norm = getattr(module, "conv", None), getattr(module, "norm", None)
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            _fold(conv, norm)
            del module.norm
    for parameter in copy.parameters():
        parameter.requires_grad_(False)
    winograd(copy, fixed=True)
    return copy.to(memory_format=torch.channels_last)


def quick_to_train(net: nn.Module) -> None:
    """Make `net` itself quick to train: its weights, their names and what it computes stay the same, to rounding.

    The order in memory makes a step on 2 cores 1.2 times as fast; for the rest see docs/decisions/0009.
    """
    winograd(net, fixed=False)
    net.to(memory_format=torch.channels_last)


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
