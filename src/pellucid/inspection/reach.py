"""How far each value in a running network sees: receptive fields found from the operations that torch carries out.

Only operations that are known are followed, each by its rule: values that are moved about, joined one by one, weighed
in windows, averaged, multiplied up. What comes out of any other operation is not known, and neither is anything that
is made of it. What a mask might hide is not known either.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from pellucid.inspection import boxes as box
from pellucid.inspection.boxes import FAR, Boxes, Pair, TooManyError, Window

# What a rule stumbles over where an operation comes in a form that it was not written for: then nothing is known.
UNFORESEEN = (RuntimeError, IndexError, ValueError, TypeError, AssertionError)
HIDING = 30  # a constant whose values lie further apart than that hides some places from a softmax, to rounding


@dataclass(frozen=True)
class Reach:
    """Input pixels that one cell has seen and from cell to cell, down and across; None where it is not known."""

    field: Pair | None
    stride: int | None


class _Unknown:
    """What an element has seen cannot be told."""


UNKNOWN = _Unknown()
State = Boxes | _Unknown | None  # None: nothing of the images


class Reaches:
    """Told of every operation, knows what each tensor that comes from `images` has seen; `of` asks for it.

    Values of `parameters` are taken for any numbers; those of other constants are looked at, for a zero hides.
    """

    def __init__(self, images: Tensor, parameters: Iterable[Tensor]) -> None:
        self._known = WeakTensorKeyDictionary()
        self._written: dict[int, tuple[StorageWeakRef, int]] = {}  # how often what lies there got other boxes
        self._made_of_learned = WeakTensorKeyDictionary()
        self._learned = {place for parameter in parameters if (place := place_of(parameter)) is not None}
        self._size = (images.shape[-2], images.shape[-1])
        self._read = False  # by the module's own code, which may decide by what it read
        self._known[images] = (box.of_images(tuple(images.shape)), 0)

    def of(self, tensor: object) -> Reach | None:
        """None where nothing is known."""
        state = self._state(tensor)
        return told(state, self._size) if isinstance(state, Boxes) else None

    def note(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any], made: Any) -> None:
        """An operation was carried out."""
        outputs = [leaf for leaf in tree_leaves(made) if isinstance(leaf, Tensor)]
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        states = [self._state(tensor) for tensor in given]
        if all(state is None for state in states):
            numbers = [tensor for tensor in given if tensor.is_floating_point()]
            if numbers and all(map(self.is_learned, numbers)):  # a choice among them, or their sum, is any number too
                for tensor in outputs:
                    self._made_of_learned[tensor] = True
            return
        written = _written_into(func, args, kwargs)
        name = getattr(getattr(func, "_overloadpacket", func), "__name__", "").rstrip("_")
        if name == "_local_scalar_dense":
            self._read = True
            return
        if name in SHAPES_ONLY:
            return
        found: Sequence[State] = [UNKNOWN] * len(outputs)
        if not any(isinstance(state, _Unknown) for state in states):
            operation = _Operation(self, func, name, args, kwargs, given, outputs)
            try:
                found = operation.seen()
            except (TooManyError, *UNFORESEEN):
                found = [UNKNOWN] * len(outputs)
        for tensor, state in zip(outputs, found, strict=True):
            self._set(tensor, state, written=any(tensor is one for one in written))
        for tensor in written:
            if not any(tensor is one for one in outputs):
                self._set(tensor, UNKNOWN, written=True)

    def is_learned(self, tensor: Tensor) -> bool:
        """Whether it is a parameter, or part of one, or made of nothing else."""
        return place_of(tensor) in self._learned or tensor in self._made_of_learned

    def state(self, tensor: object) -> Boxes | None:
        """The boxes of what is given to an operation; None for what has seen nothing."""
        state = self._state(tensor)
        assert not isinstance(state, _Unknown)
        return state

    def _state(self, tensor: object) -> State:
        if not isinstance(tensor, Tensor):
            return None
        if self._read:
            return UNKNOWN
        version = self._version(tensor)
        state, at = self._known.get(tensor, (None, 0))
        return state if version == at else UNKNOWN

    def _version(self, tensor: Tensor) -> int:
        place = place_of(tensor)
        if place not in self._written:
            return 0
        reference, version = self._written[place]
        if reference.expired():  # something else lies there by now
            del self._written[place]
            return 0
        return version

    def _set(self, tensor: Tensor, state: State, *, written: bool) -> None:
        """`written`: the tensor was there before, and may share its numbers with others."""
        if written and state is not self._state(tensor):
            place = place_of(tensor)
            if place is not None:
                self._written[place] = (StorageWeakRef(tensor.untyped_storage()), self._version(tensor) + 1)
        if state is None and tensor in self._known:
            del self._known[tensor]
        if state is not None or self._version(tensor):
            self._known[tensor] = (state, self._version(tensor))


def place_of(tensor: Tensor) -> int | None:
    """Where a tensor's numbers lie: the same for all that share them; None where torch does not say."""
    try:
        return int(tensor.untyped_storage()._cdata)
    except (NotImplementedError, RuntimeError):  # sparse ones have none
        return None


def _written_into(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Tensor]:
    """The tensors that an operation changes."""
    schema = getattr(func, "_schema", None)
    if schema is None or not schema.is_mutable:
        return []
    values = {argument.name: value for argument, value in zip(schema.arguments, args, strict=False)} | kwargs
    changed = [one.name for one in schema.arguments if one.alias_info is not None and one.alias_info.is_write]
    return [leaf for name in changed for leaf in tree_leaves(values.get(name)) if isinstance(leaf, Tensor)]


@dataclass(frozen=True)
class _Operation:
    """One operation that was carried out, with what was given and made."""

    reaches: Reaches
    func: Any
    name: str
    args: Sequence[Any]
    kwargs: dict[str, Any]
    given: list[Tensor]
    outputs: list[Tensor]

    def seen(self) -> Sequence[State]:
        """What each output has seen."""
        if getattr(self.func, "namespace", "") != "aten" or self.kwargs.get("out") is not None:
            return self.unknown()
        tags = self.func.tags
        if self.name in RULES:
            return RULES[self.name](self)
        if torch.Tag.pointwise in tags or self.name in POINTWISE:
            return _pointwise(self)
        if torch.Tag.reduction in tags or self.name in WHOLE_REDUCTIONS:
            return _reduced(self)
        return self.unknown()

    def unknown(self) -> list[State]:
        return [UNKNOWN] * len(self.outputs)

    def value(self, name: str, otherwise: Any = None) -> Any:
        """An argument by its name in torch's schema."""
        for argument, value in zip(self.func._schema.arguments, self.args, strict=False):
            if argument.name == name:
                return value
        if name in self.kwargs:
            return self.kwargs[name]
        for argument in self.func._schema.arguments:
            if argument.name == name and argument.has_default_value():
                return argument.default_value
        return otherwise

    @property
    def first(self) -> Boxes | None:
        """Of the first tensor that is given: what the operation is about."""
        return self.reaches.state(self.given[0])

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.outputs[0].shape)

    def alone(self) -> bool:
        """Whether the first tensor is the only one with something of the images in it."""
        return all(self.reaches.state(tensor) is None or tensor is self.given[0] for tensor in self.given)


def _pointwise(op: _Operation) -> Sequence[State]:
    several = []
    for tensor in op.given:
        state = op.reaches.state(tensor)
        if state is not None:
            several.append(state)
        elif _hides(tensor, op):
            return op.unknown()
    if op.name in ("mul", "div") and any(value == 0 for value in op.args if isinstance(value, int | float)):
        return op.unknown()
    return [box.joined(several, tuple(out.shape)) for out in op.outputs]


def _hides(constant: Tensor, op: _Operation) -> bool:
    """Whether some values may disappear where they meet this constant: behind a mask, or multiplied by zero."""
    if op.reaches.is_learned(constant) or not constant.numel():
        return False
    if constant.is_meta or constant.is_complex() or constant.dtype == torch.bool:
        return True
    values = constant.detach().double()
    if not bool(values.isfinite().all()) or float(values.max() - values.min()) > HIDING:
        return True
    return op.name not in ("add", "sub", "rsub") and bool((values == 0).any())


def _weighs_all(weight: Tensor, op: _Operation) -> bool:
    """Whether no weight is zero for good: those that are learned are not."""
    if op.reaches.is_learned(weight):
        return True
    return not weight.is_meta and weight.dtype.is_floating_point and bool((weight != 0).all())


def _convolved(op: _Operation) -> Sequence[State]:
    state, weight = op.first, op.value("weight")
    if state is None or not op.alone() or not _weighs_all(weight, op):
        return op.unknown()
    groups = op.value("groups", 1)
    kernel, places = weight.shape[2:], len(weight.shape) - 2
    numbers = {name: _many(op.value(name), places) for name in ("stride", "padding", "dilation")}
    out = op.shape
    state = _by_group(state, groups, out[1])
    transposed = bool(op.value("transposed", False))
    windows, further = [], []
    for at in range(places):
        stride, pad, dilation = (numbers[name][at] for name in ("stride", "padding", "dilation"))
        if transposed:
            state = _apart(state, 2 + at, stride)
            windows.append(Window(2 + at, kernel[at], 1, dilation, dilation * (kernel[at] - 1) - pad, out[2 + at]))
        else:
            windows.append(Window(2 + at, kernel[at], stride, dilation, pad, out[2 + at]))
        further.append(stride)
    made = box.slid(state, windows)
    return [replace(made, stride=(None, None) if transposed else _further(state, further))]


def _by_group(state: Boxes, groups: int, channels: int) -> Boxes:
    """Each output channel has seen all channels of its group."""
    shape = (state.shape[0], channels, *state.shape[2:])
    if groups == 1 or all(plane.shape[1] == 1 for plane in (*state.real, *state.ideal)):
        return box.resized(box.together(state, [1]), shape)
    rest = state.shape[2:]
    split = box.viewed(state, (state.shape[0], groups, state.shape[1] // groups, *rest))
    met = box.together(split, [2])
    wide = box.resized(met, (*met.shape[:2], channels // groups, *rest))
    return replace(box.viewed(wide, shape), stride=state.stride)


def _apart(state: Boxes, axis: int, stride: int) -> Boxes:
    """With stride - 1 cells that have seen nothing between any two."""
    if stride == 1:
        return state
    shape = state.shape
    apart = box.viewed(state, (*shape[: axis + 1], 1, *shape[axis + 1 :]))
    filled = replace(box.padded(apart, [(axis + 1, 0, stride - 1)]), alone=(None,) * len(apart.shape))
    flat = box.viewed(filled, (*shape[:axis], shape[axis] * stride, *shape[axis + 1 :]))
    return box.padded(flat, [(axis, 0, 1 - stride)])


def _further(state: Boxes, strides: Sequence[int]) -> tuple[int | None, int | None]:
    """How far apart cells are after a stride along each of the last axes; in the image only where these are two."""
    if len(strides) != 2:
        return None, None
    down, across = state.stride
    turned = any((step := state.step(axis)) is not None and step[1 - way] for way, axis in enumerate((-2, -1)))
    if turned:
        return None, None
    return None if down is None else down * strides[0], None if across is None else across * strides[1]


def _pooled(op: _Operation) -> Sequence[State]:
    state = op.first
    if state is None:
        return op.unknown()
    places = 3 if "3d" in op.name else 2
    kernel = _many(op.value("kernel_size"), places)
    stride = _many(op.value("stride") or kernel, places)
    pad, dilation = _many(op.value("padding", 0), places), _many(op.value("dilation", 1), places)
    first = len(state.shape) - places
    windows = [
        Window(first + at, kernel[at], stride[at], dilation[at], pad[at], op.shape[first + at]) for at in range(places)
    ]
    made = replace(box.slid(state, windows), stride=_further(state, stride))
    return [made for _ in op.outputs]


def _divided(op: _Operation) -> Sequence[State]:
    """Adaptive pooling: as many cells as asked for, each of the cells of the map that it overlaps."""
    state = op.first
    if state is None:
        return op.unknown()
    out = op.shape
    for axis in range(-3 if "3d" in op.name else -2, 0):
        side, cells = state.shape[axis], out[axis]
        if side == cells:
            continue
        spans = [(at * side // cells, -(-(at + 1) * side // cells)) for at in range(cells)]
        axis %= len(out)

        def divide(plane: Tensor, axis: int = axis, side: int = side, spans: list[Pair] = spans) -> Tensor:
            if plane.shape[axis] == 1 and side > 1:
                return plane
            parts = [plane.narrow(axis, begin, end - begin).amin(dim=axis, keepdim=True) for begin, end in spans]
            return torch.cat(parts, dim=axis)

        shape = (*state.shape[:axis], cells, *state.shape[axis + 1 :])
        made = box.changed(state, divide, shape)
        alone = (*state.alone[:axis], (0, 0) if cells == 1 else None, *state.alone[axis + 1 :])
        state = replace(made, alone=alone, stride=state.stride if cells == 1 else (None, None))
    return [state for _ in op.outputs]


def _reduced(op: _Operation) -> Sequence[State]:
    """A mean or the like, over some axes or over all."""
    state = op.first
    if state is None or not op.alone():
        return op.unknown()
    axes = op.value("dim")
    axes = [axes] if isinstance(axes, int) else list(axes or range(len(state.shape)))
    met = box.together(state, axes)
    shape = tuple(1 if at in {axis % len(state.shape) for axis in axes} else n for at, n in enumerate(state.shape))
    met = box.resized(met, shape)
    if any(len(out.shape) != len(shape) for out in op.outputs):
        met = box.without(met, axes)
    return [met for _ in op.outputs]


def _mixed(axes: Callable[[_Operation], Sequence[int]]) -> Callable[[_Operation], Sequence[State]]:
    """A rule: what lies along some axes is mixed, and everything keeps its place."""

    def rule(op: _Operation) -> Sequence[State]:
        state = op.first
        if state is None or not op.alone():
            return op.unknown()
        met = box.together(state, axes(op))
        return [met if tuple(out.shape) == met.shape else UNKNOWN for out in op.outputs]

    return rule


def _batch_normed(op: _Operation) -> Sequence[State]:
    """By statistics that are kept, value by value; by those of the batch, over all that is in it."""
    state = op.first
    if state is None or not op.alone():
        return op.unknown()
    training = op.value("training", op.value("train", op.name not in NORMED_BY_WHAT_IS_KEPT))
    if training:
        state = box.together(state, [axis for axis in range(len(state.shape)) if axis != 1])
    return [state if tuple(out.shape) == state.shape else UNKNOWN for out in op.outputs]


def _group_normed(op: _Operation) -> Sequence[State]:
    state, groups = op.first, op.value("group")
    if state is None or not op.alone():
        return op.unknown()
    state = box.together(state, range(2, len(state.shape)))
    if groups != state.shape[1]:
        met = _by_group(box.resized(state, (*state.shape[:2], *(1 for _ in state.shape[2:]))), groups, state.shape[1])
        state = box.resized(met, state.shape)
    return [state if tuple(out.shape) == state.shape else UNKNOWN for out in op.outputs]


def _last(op: _Operation) -> Sequence[int]:
    return range(-len(op.value("normalized_shape")), 0)


def _gated(op: _Operation) -> Sequence[State]:
    """Half of the values times the other half."""
    state = op.first
    if state is None:
        return op.unknown()
    axis = op.value("dim", -1) % len(state.shape)
    halves = [
        box.moved(state, lambda plane, at=at: plane.chunk(2, dim=axis)[at], op.shape)  # type: ignore[misc]
        for at in (0, 1)
    ]
    return [replace(box.joined(halves, op.shape), stride=state.stride)]


def _multiplied(op: _Operation) -> Sequence[State]:
    """Matrices, or batches of them: each element has seen a row of one and a column of the other."""
    matrices = op.given[-2:]
    parts = []
    for matrix, axis in zip(matrices, (-1, -2), strict=True):
        state = op.reaches.state(matrix)
        if state is None:
            if not _weighs_all(matrix, op):
                return op.unknown()
            continue
        axis = -1 if len(state.shape) == 1 else axis
        met = box.together(state, [axis])
        shape = list(state.shape)
        shape[axis] = 1
        met = box.resized(met, tuple(shape))
        if len(state.shape) != len(op.shape):  # a vector
            met = box.without(met, [axis])
        parts.append(met)
    for added in op.given[:-2]:
        state = op.reaches.state(added)
        if state is not None:
            parts.append(state)
        elif _hides(added, replace(op, name="add")):
            return op.unknown()
    return [box.joined(parts, op.shape)]


def _attended(op: _Operation) -> Sequence[State]:
    """Each query has seen itself, all keys and all values, unless a mask hides some."""
    mask = op.value("attn_mask", op.value("attn_bias"))
    hidden = isinstance(mask, Tensor) and (op.reaches.state(mask) is not None or _hides(mask, replace(op, name="add")))
    if op.value("is_causal", False) or hidden or len(op.shape) != 4:
        return op.unknown()
    parts = []
    for name, axes in (("query", (-1,)), ("key", (-1, -2)), ("value", (-2,))):
        state = op.reaches.state(op.value(name))
        if state is not None:
            shape = list(state.shape)
            for axis in axes:
                shape[axis] = 1
            parts.append(box.resized(box.together(state, axes), tuple(shape)))
    made = box.joined(parts, op.shape)
    return [made, *(UNKNOWN for _ in op.outputs[1:])]


def _moved(op: _Operation) -> Sequence[State]:
    """The same values in other places; no value comes from two."""
    state = op.first
    if state is None or not op.alone() or torch.Tag.inplace_view in op.func.tags or op.kwargs.get("dtype"):
        return op.unknown()
    if any(isinstance(value, torch.dtype) for value in op.args):
        return op.unknown()
    if any(tensor.is_meta for tensor in op.given[1:]):
        return op.unknown()

    def there(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [there(one) for one in value]
        return value.cpu() if isinstance(value, Tensor) else value

    rest, several = [there(value) for value in op.args[1:]], len(op.outputs) > 1
    found = []
    for at, out in enumerate(op.outputs):

        def move(plane: Tensor, at: int = at) -> Tensor:
            made = op.func(plane, *rest, **op.kwargs)
            return made[at] if several or isinstance(made, list | tuple) else made  # type: ignore[no-any-return]

        found.append(_placed(op, state, box.moved(state, move, tuple(out.shape))))
    return found


def _placed(op: _Operation, before: Boxes, after: Boxes) -> Boxes:
    """With what is known of axes of length 1, and of the stride, after the commonest moves."""
    if before.constant:
        return after
    places = len(before.shape)
    match op.name:
        case "permute":
            alone = tuple(before.alone[axis % places] for axis in op.args[1])
            return replace(after, alone=alone)
        case "transpose" | "t":
            one, other = (0, 1) if op.name == "t" else (op.args[1] % places, op.args[2] % places)
            alone = list(before.alone)  # type: ignore[assignment]
            if places > 1:
                alone[one], alone[other] = alone[other], alone[one]  # type: ignore[index]
            return replace(after, alone=tuple(alone))
        case "slice":
            axis, step = op.value("dim", 0) % places, op.value("step", 1)
            further = before.step(axis) if after.shape[axis] == 1 else None
            one = None if further is None else (further[0] * step, further[1] * step)
            alone = (*before.alone[:axis], one, *before.alone[axis + 1 :])
            return replace(after, alone=alone, stride=before.stride if step == 1 else (None, None))
        case "detach" | "alias" | "clone" | "lift_fresh":
            return before
    return after if op.name in KEEPS_STRIDE else replace(after, stride=(None, None))


def _viewed(op: _Operation) -> Sequence[State]:
    state = op.first
    if state is None or any(isinstance(value, torch.dtype) for value in op.args):
        return op.unknown()
    return [box.viewed(state, op.shape)]


def _restrided(op: _Operation) -> Sequence[State]:
    """as_strided: the same vector, as torch does for its memory's sake; not known for anything else."""
    state, out = op.first, op.outputs[0]
    long = [axis for axis, side in enumerate(out.shape) if side > 1]
    whole = out.untyped_storage().nbytes() == out.numel() * out.element_size()
    if state is None or op.shape != state.shape or len(long) > 1 or not whole:
        return op.unknown()
    return [state]


def _beside(op: _Operation) -> Sequence[State]:
    """Tensors joined along an axis, or stacked along a new one."""
    tensors = op.args[0]
    axis = op.value("dim", 0)
    states = [op.reaches.state(tensor) for tensor in tensors]
    shapes = [tuple(tensor.shape) for tensor in tensors]
    if op.name == "stack":
        axis %= len(op.shape)
        shapes = [(*shape[:axis], 1, *shape[axis:]) for shape in shapes]
        states = [None if one is None else box.viewed(one, shape) for one, shape in zip(states, shapes, strict=True)]
    if len({len(shape) for shape in shapes}) > 1:  # torch lets an empty vector pass
        return op.unknown()
    return [box.side_by_side(states, shapes, axis)]


def _padded(op: _Operation) -> Sequence[State]:
    """With a constant around it, or with what lies near the edge."""
    state = op.first
    if state is None:
        return op.unknown()
    pads = op.value("pad", op.value("padding"))
    places = len(state.shape)
    sides = [(places - 1 - at, pads[2 * at], pads[2 * at + 1]) for at in range(len(pads) // 2)]
    made = box.padded(state, sides)
    if op.name == "constant_pad_nd":
        return [made]
    mirrored = box.moved(state, lambda plane: op.func(plane, pads), op.shape)
    return [replace(made, real=mirrored.real)]


def _patched(op: _Operation) -> Sequence[State]:
    """im2col: every window as a column."""
    state = op.first
    if state is None or len(state.shape) != 4:
        return op.unknown()
    pads = op.value("padding")
    state = box.padded(state, [(2, pads[0], pads[0]), (3, pads[1], pads[1])])
    rest = (op.value("kernel_size"), op.value("dilation"), [0, 0], op.value("stride"))
    made = box.moved(state, lambda plane: op.func(plane.contiguous(), *rest), op.shape)
    return [replace(made, stride=(None, None))]


def _copied(op: _Operation) -> Sequence[State]:
    """copy_: the second takes the first's place."""
    state = op.reaches.state(op.given[1])
    return [None if state is None else box.joined([state], op.shape)]


SHAPES_ONLY = frozenset(
    """
    empty_like full_like new_empty new_empty_strided new_full new_ones new_zeros ones_like rand_like randint_like
    randn_like zeros_like
    """.split()  # noqa: SIM905 - easier to read
)
# Value by value, though torch does not say so.
POINTWISE = frozenset(
    """
    _prelu_kernel _to_copy hardsigmoid hardswish hardtanh leaky_relu log_sigmoid_forward lerp native_dropout prelu
    softplus threshold
    """.split()  # noqa: SIM905 - easier to read
)
WHOLE_REDUCTIONS = frozenset(["mean", "sum", "prod", "amax", "amin"])
MOVES = frozenset(
    """
    alias channel_shuffle detach diagonal expand flip index lift_fresh native_channel_shuffle permute pixel_shuffle
    pixel_unshuffle repeat roll rot90 select slice split split_with_sizes squeeze t transpose unbind unfold
    unsafe_split unsafe_split_with_sizes unsqueeze upsample_nearest2d
    """.split()  # noqa: SIM905 - easier to read
)
KEEPS_STRIDE = frozenset(
    """
    expand flip select split split_with_sizes squeeze unbind unsafe_split unsafe_split_with_sizes unsqueeze
    """.split()  # noqa: SIM905 - easier to read
)
NORMED_BY_WHAT_IS_KEPT = ("_native_batch_norm_legit_no_training", "_batch_norm_no_update")

RULES: dict[str, Callable[[_Operation], Sequence[State]]] = {
    **dict.fromkeys(("convolution", "_convolution", "cudnn_convolution", "_slow_conv2d_forward"), _convolved),
    **dict.fromkeys(("max_pool2d_with_indices", "max_pool3d_with_indices", "max_pool2d", "max_pool3d"), _pooled),
    **dict.fromkeys(("avg_pool2d", "avg_pool3d"), _pooled),
    **dict.fromkeys(("_adaptive_avg_pool2d", "_adaptive_avg_pool3d"), _divided),
    **dict.fromkeys(("adaptive_max_pool2d", "adaptive_max_pool3d"), _divided),
    **dict.fromkeys(("native_batch_norm", "cudnn_batch_norm", "miopen_batch_norm"), _batch_normed),
    **dict.fromkeys(("_native_batch_norm_legit", "_batch_norm_with_update", *NORMED_BY_WHAT_IS_KEPT), _batch_normed),
    "native_layer_norm": _mixed(_last),
    "_fused_rms_norm": _mixed(_last),
    "native_group_norm": _group_normed,
    **dict.fromkeys(("_softmax", "_log_softmax", "_safe_softmax"), _mixed(lambda op: [op.value("dim")])),
    "glu": _gated,
    **dict.fromkeys(("mm", "bmm", "addmm", "baddbmm", "mv", "addmv", "dot"), _multiplied),
    **dict.fromkeys(
        (f"_scaled_dot_product_{kind}" for kind in ("flash_attention", "flash_attention_for_cpu")), _attended
    ),
    **dict.fromkeys((f"_scaled_dot_product_{kind}_attention" for kind in ("efficient", "cudnn")), _attended),
    **dict.fromkeys(("view", "_unsafe_view", "_reshape_alias"), _viewed),
    "as_strided": _restrided,
    **dict.fromkeys(("cat", "stack"), _beside),
    "constant_pad_nd": _padded,
    **dict.fromkeys(
        (f"{kind}_pad{places}d" for kind in ("reflection", "replication") for places in (1, 2, 3)), _padded
    ),
    "im2col": _patched,
    "copy": _copied,
    **dict.fromkeys(MOVES, _moved),
}


def _many(value: Any, places: int) -> list[int]:
    values = [int(one) for one in value] if isinstance(value, list | tuple) else [int(value)]
    return values * places if len(values) == 1 else values


def told(boxes: Boxes, size: Pair) -> Reach | None:
    """What a cell of the map has seen; a cell is all channels at one place where these have seen different things.

    None where cells have seen more or less than one another for another reason than the image's edge, where it is open
    which axis has the channels or what a cell is, and where the map is a part of one that padding may have reached.
    """
    if len(boxes.shape) <= 2 and any(_wandering(boxes)):  # a vector of places: no cell
        return None
    found = {field for state in _as_cells(boxes) if (field := _field(state, size)) is not None}
    if len(found) != 1:
        return None
    return Reach(found.pop(), _stride(boxes))


def _as_cells(boxes: Boxes) -> Iterator[Boxes]:
    """With each element as a cell; and with all that lies along an axis as one, if it may be that of the channels.

    It may be if boxes do not wander along it, and still do along others if they did.
    """
    yield boxes
    if len(boxes.shape) == 4 and not boxes.constant:
        for axis in (1, 3):
            met = box.together(boxes, [axis]) if boxes.step(axis) in (None, (0, 0)) else None
            if met is not None and _wandering(met) == _wandering(boxes):
                yield met


def _wandering(boxes: Boxes) -> list[bool]:
    """Whether boxes lie in different places, down and across."""
    return [boxes.ideal[2 * way].numel() > 1 for way in (0, 1)]


def _field(boxes: Boxes, size: Pair) -> Pair | None:
    """Of every cell that has seen anything, beyond the image's edge; None where they differ."""
    sides = []
    for way, whole in enumerate(size):
        begins, ends, low, high = torch.broadcast_tensors(
            *boxes.real[2 * way : 2 * way + 2], *boxes.ideal[2 * way : 2 * way + 2]
        )
        some = low < FAR / 2
        extents = -(low + high)[some]
        if not extents.numel() or bool((extents != extents[0]).any()):
            return None
        inside = (begins == low) & (ends == high) & some
        everything = (begins == 0) & (ends == -whole)
        # Or all are cut by the edge: by that alone, if the map lies all over the image.
        cut = (begins == low.clamp(min=0)) & (ends == high.clamp(min=-whole)) & some
        spread = bool(low[some].min() <= 0) and bool(high[some].min() <= -whole)
        if not bool((inside | everything | (cut & spread)).any()):
            return None
        sides.append(int(extents[0]))
    return sides[0], sides[1]


def _stride(boxes: Boxes) -> int | None:
    """From cell to cell; None where it is not the same down and across, or not from each to the next."""
    found, wandering = [], _wandering(boxes)
    for way in (0, 1):
        steps = [boxes.step(axis) for axis, side in enumerate(boxes.shape) if side > 1]
        moving = [abs(step[way]) for step in steps if step is not None and step[way]]
        if moving:
            found.append(moving[0] if len(moving) == 1 else None)
        else:  # a single cell, one box for all, or cells that are counted row by row
            found.append(boxes.stride[way] if len(boxes.shape) <= 3 or not wandering[way] else None)
    return found[0] if found[0] == found[1] else None
