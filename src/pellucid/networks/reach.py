"""How far each value in a running network sees: receptive fields found from the operations that torch carries out.

Convolutions and pooling widen what a cell sees, operations on single values leave it, and whatever mixes all cells
(an average over the map, attention, a linear layer over a flattened map) sees all of them. Where an operation is none
of these, what comes out of it is not known, and neither is what is made of that.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

Pair = tuple[int, int]


@dataclass(frozen=True)
class Reach:
    """Input pixels that one cell has seen and from cell to cell, down and across, and the cells of the map.

    `whole`: every cell has seen all that there is, and can see no more.
    """

    field: Pair = (1, 1)
    stride: Pair = (1, 1)
    cells: Pair = (1, 1)
    whole: bool = False

    def through(self, kernel: Pair, stride: Pair, dilation: Pair, cells: Pair) -> "Reach":
        """After a window slid over the map."""
        seen = zip(self.field, kernel, dilation, self.stride, strict=True)
        down, across = (field + (side - 1) * apart * step for field, side, apart, step in seen)
        (a, b), (c, d) = self.stride, stride
        return Reach(self.field if self.whole else (down, across), (a * c, b * d), cells, self.whole)

    def of_all(self) -> "Reach":
        """What all cells together have seen."""
        down, across = (
            field + (count - 1) * step for field, count, step in zip(self.field, self.cells, self.stride, strict=True)
        )
        return replace(self, field=self.field if self.whole else (down, across), cells=(1, 1), whole=True)


MOST_EXTRA = 8  # tokens beside those of the map: of the class, and the like

# Value by value, or on one cell's channels.
LOCAL = frozenset(
    """
    _native_batch_norm_legit_no_training _prelu_kernel _to_copy abs add addcmul cat clamp clamp_max clamp_min clone
    contiguous copy_ div dropout elu erf exp gelu hardsigmoid hardswish hardtanh leaky_relu log mish mul
    native_batch_norm neg pow prelu relu relu6 rsqrt rsub sigmoid silu softplus sqrt sub tanh where
    """.split()  # noqa: SIM905 - easier to read
)
# The same values in another arrangement.
ARRANGED = frozenset(
    """
    _reshape_alias _unsafe_view alias as_strided chunk detach expand flatten movedim permute pixel_unshuffle reshape
    roll select slice split split_with_sizes squeeze stack t transpose unbind unfold unsqueeze view
    """.split()  # noqa: SIM905 - easier to read
)


class Reaches(TorchDispatchMode):
    """While it is entered, notes what every tensor that comes from `images` sees; `of` asks for it."""

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        self._known = WeakTensorKeyDictionary()
        self._known[images] = Reach(cells=_pair(images.shape[-2:]))

    def of(self, tensor: object) -> Reach | None:
        """None where it is not known, or nothing of the images is in it."""
        return self._known.get(tensor) if isinstance(tensor, Tensor) else None

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        given = [self._known[tensor] for tensor in _tensors(args) if tensor in self._known]
        if given:
            name = func.overloadpacket.__name__.rstrip("_")
            outputs = list(_tensors([made]))
            seen = _seen(name, args, given, outputs)
            for tensor in outputs:
                if seen is not None:
                    self._known[tensor] = seen
                elif tensor in self._known:
                    del self._known[tensor]  # written over
        return made


def _tensors(values: Sequence[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


def _seen(name: str, args: Sequence[Any], given: list[Reach], outputs: list[Tensor]) -> Reach | None:
    """What comes out of the operation `name` sees."""
    before = _joined(given)
    if name in RULES:
        return RULES[name](before, args, outputs[0])
    if name in LOCAL or name in ARRANGED:
        return before
    return None


def _joined(given: list[Reach]) -> Reach:
    """Of several that meet in one value: what any of them has seen."""
    maps = [reach for reach in given if reach.cells != (1, 1)] or given
    field = (max(reach.field[0] for reach in given), max(reach.field[1] for reach in given))
    stride = (max(reach.stride[0] for reach in maps), max(reach.stride[1] for reach in maps))
    cells = (max(reach.cells[0] for reach in maps), max(reach.cells[1] for reach in maps))
    return Reach(field, stride, cells, any(reach.whole for reach in given))


def _convolved(before: Reach, args: Sequence[Any], out: Tensor) -> Reach | None:
    _given, weight, _bias, stride, _pad, dilation, transposed, *_ = args
    if transposed or weight.ndim != 4:
        return None
    return before.through(_pair(weight.shape[2:]), _pair(stride), _pair(dilation), _pair(out.shape[2:]))


def _pooled(before: Reach, args: Sequence[Any], out: Tensor) -> Reach:
    _given, kernel, *rest = args
    stride = rest[0] if rest and rest[0] else kernel
    return before.through(_pair(kernel), _pair(stride), (1, 1), _pair(out.shape[-2:]))


def _divided(before: Reach, _args: Sequence[Any], out: Tensor) -> Reach:
    """Adaptive pooling: the same map, or cells that are told to have seen all."""
    cells = _pair(out.shape[-2:])
    return before if cells == before.cells else replace(before.of_all(), cells=cells)


def _reduced(before: Reach, args: Sequence[Any], out: Tensor) -> Reach | None:
    """A mean or the like: over channels, or over every cell; over some cells it is not known."""
    given = args[0]
    dropped = given.numel() // max(1, out.numel())
    count = before.cells[0] * before.cells[1]
    if count == 1:
        return before
    over = [given.shape[axis] for axis in (args[1] if len(args) > 1 and args[1] is not None else range(given.ndim))]
    if given.ndim == 4 and _pair(given.shape[2:]) == before.cells and len(over) == 1 and over[0] == given.shape[1]:
        return before  # over channels
    return before.of_all() if dropped >= count else None


def _multiplied(before: Reach, args: Sequence[Any], _out: Tensor) -> Reach | None:
    """A linear layer: over each cell by itself where it has a row for each (and a few more), else over all cells."""
    rows, features = next(tensor.shape for tensor in _tensors(args) if tensor.ndim == 2)
    count = before.cells[0] * before.cells[1]
    if count == 1:
        return before
    each = 0 <= rows - count <= MOST_EXTRA or rows % count == 0
    if each and features == count:
        return None  # cells or channels?
    return before if each else before.of_all()


def _attended(before: Reach, args: Sequence[Any], _out: Tensor) -> Reach | None:
    """Attention among all cells; among some of them (windows) it is not known."""
    tokens = max(next(_tensors(args)).shape[-2:])
    return before.of_all() if tokens >= before.cells[0] * before.cells[1] else None


def _normed(before: Reach, args: Sequence[Any], _out: Tensor) -> Reach:
    return before if len(args[1]) == 1 else before.of_all()


RULES: dict[str, Callable[[Reach, Sequence[Any], Tensor], Reach | None]] = {
    "convolution": _convolved,
    "_slow_conv2d_forward": _convolved,
    "max_pool2d_with_indices": _pooled,
    "max_pool2d": _pooled,
    "avg_pool2d": _pooled,
    "_adaptive_avg_pool2d": _divided,
    "adaptive_max_pool2d": _divided,
    "mean": _reduced,
    "sum": _reduced,
    "amax": _reduced,
    "addmm": _multiplied,
    "mm": _multiplied,
    "bmm": _attended,
    "_scaled_dot_product_flash_attention_for_cpu": _attended,
    "_scaled_dot_product_attention_math": _attended,
    "native_layer_norm": _normed,
    "native_group_norm": lambda before, _args, _out: before.of_all(),
    "_softmax": lambda before, _args, _out: before,  # over what attention joined, or over classes
}


def _pair(values: Sequence[int] | int) -> Pair:
    if isinstance(values, int):
        return values, values
    numbers = [int(value) for value in values]
    return (numbers[0], numbers[0]) if len(numbers) == 1 else (numbers[0], numbers[1])
