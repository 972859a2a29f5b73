"""What an operation costs: multiply-adds by torch's own formulas, none where there are none, and None where unknown.

torch's FlopCounterMode takes whatever it has no formula for as free. Here an operation is free only if it is known to
multiply nothing up: values one by one, moved about, compared or averaged.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry

# Neither products of matrices nor windows: comparing, averaging, normalising, moving. What torch itself tags as
# pointwise, as a reduction or as a view is free as well.
FREE = frozenset(
    """
    _adaptive_avg_pool2d _adaptive_avg_pool3d _assert_async _assert_tensor_metadata _batch_norm_no_update
    _batch_norm_with_update _efficientzerotensor _fused_rms_norm _local_scalar_dense _log_softmax
    _native_batch_norm_legit _native_batch_norm_legit_no_training _prelu_kernel _resize_output _safe_softmax
    _softmax _thnn_fused_gru_cell _thnn_fused_lstm_cell _to_copy _unique2 _unsafe_index _unsafe_index_put
    _unsafe_view _upsample_bicubic2d_aa _upsample_bilinear2d_aa _upsample_nearest_exact1d
    _upsample_nearest_exact2d _upsample_nearest_exact3d _weight_norm_interface adaptive_max_pool2d
    adaptive_max_pool3d alias_copy arange as_strided avg_pool2d avg_pool3d bernoulli bincount bitwise_and
    bucketize cat channel_shuffle clone col2im constant_pad_nd copy cudnn_batch_norm cummax cummin cumprod
    cumsum detach diag_embed diagonal_copy embedding empty empty_like empty_permuted empty_strided expand_copy
    exponential eye fill flip fractional_max_pool2d full full_like gather glu grid_sampler_2d grid_sampler_3d
    hardsigmoid hardswish hardtanh histc im2col index index_add index_copy index_fill index_put index_select
    isin kthvalue leaky_relu lift lift_fresh_copy linspace log_sigmoid_forward logcumsumexp logspace
    masked_scatter masked_select max_pool2d_with_indices max_pool3d_with_indices max_unpool2d max_unpool3d
    median miopen_batch_norm mode multinomial nanmedian native_batch_norm native_dropout native_group_norm
    native_layer_norm new_empty new_empty_strided new_full new_ones new_zeros nonzero normal normal_functional
    ones ones_like pixel_shuffle pixel_unshuffle put rand rand_like randint randint_like randn randn_like
    randperm reflection_pad1d reflection_pad2d reflection_pad3d renorm repeat repeat_interleave
    replication_pad1d replication_pad2d replication_pad3d resize roll rot90 rrelu_with_noise scalar_tensor
    scatter scatter_add scatter_reduce searchsorted select_scatter set slice_scatter sort split_copy stack
    sym_size take threshold topk trace tril tril_indices triu triu_indices unfold_copy uniform
    unique_consecutive unique_dim unsafe_split unsafe_split_with_sizes upsample_bicubic2d upsample_bilinear2d
    upsample_linear1d upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_trilinear3d view_copy
    zero zeros zeros_like
    """.split()  # noqa: SIM905 - easier to read
)


def multiply_adds(func: Any, args: Sequence[Any], kwargs: dict[str, Any], made: Any) -> int | None:
    """Those of one operation that has been carried out; None where nobody knows how many there were."""
    packet = getattr(func, "_overloadpacket", func)
    if packet in flop_registry:
        return int(flop_registry[packet](*args, **kwargs, out_val=made)) // 2
    name = getattr(packet, "__name__", str(packet)).rstrip("_")
    if name in FORMULAS and _is_atens(func):
        return FORMULAS[name](args)
    return 0 if _is_free(func, name) else None


def _is_free(func: Any, name: str) -> bool:
    tags = getattr(func, "tags", ())
    if not _is_atens(func):
        return getattr(func, "namespace", "") == "prim" and name in ("device", "layout")
    if func.is_view or any(tag in tags for tag in (torch.Tag.pointwise, torch.Tag.reduction, torch.Tag.inplace_view)):
        return True
    return name in FREE


def _is_atens(func: Any) -> bool:
    return getattr(func, "namespace", "") == "aten"


def _tensors(values: Any) -> list[Tensor]:
    """The tensors in arguments, in order."""
    if isinstance(values, Tensor):
        return [values]
    if isinstance(values, list | tuple):
        return [tensor for value in values for tensor in _tensors(value)]
    return []


def _vector(args: Sequence[Any]) -> int:
    """A matrix and a vector, or two vectors: one for each number of the larger."""
    return max(tensor.numel() for tensor in _tensors(args))


def _added_vector(args: Sequence[Any]) -> int:
    return _vector(args[1:])


def _outer(args: Sequence[Any]) -> int:
    _given, one, other, *_ = args
    return int(one.numel() * other.numel())


def _added_batches(args: Sequence[Any]) -> int:
    _given, one, other, *_ = args
    return int(prod(one.shape) * other.shape[-1])


def _recurrent(args: Sequence[Any]) -> int:
    """Each weight of each matrix is used once for each step of each sequence."""
    sequences, weights = args[0], args[1] if isinstance(args[1], list | tuple) else args[1:5]
    used = sum(prod(weight.shape) for weight in weights if weight.ndim == 2)
    return int(sequences.numel() // sequences.shape[-1] * used)


# What torch has no formula for, and whose count is plain.
FORMULAS: dict[str, Callable[[Sequence[Any]], int]] = {
    "mv": _vector,
    "dot": _vector,
    "vdot": _vector,
    "addmv": _added_vector,
    "addr": _outer,
    "addbmm": _added_batches,
    "mkldnn_rnn_layer": _recurrent,
    "_cudnn_rnn": _recurrent,
}
