"""Where in what a file holds the tensors are: a checkpoint keeps them beside an optimizer, an epoch, their average."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from numpy import float64, ndarray
from torch import Tensor

from pellucid.errors import UserError

DEEPEST = 8  # dictionaries in dictionaries
# Dictionaries of tensors that are nobody's weights, and moving averages of them, by their names.
NO_WEIGHTS = re.compile(r"optim|scheduler|scaler|amp$|rng|metric|callback|loss(es)?$|criterion|momentum|hyper|config")
AVERAGE = re.compile(r"(^|[_.])(ema|swa|average|averaged|avg|shadow)([_.]|$)|avg_model")
# What wrappers write into the names of what they wrap, wherever they stand.
WRAPPERS = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
KERAS_OBJECTS = ".ATTRIBUTES/VARIABLE_VALUE"
NUMBERS = "biufc"  # NumPy's kinds
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True)
class State:
    """Tensors by name, as one dictionary held them. `where` names the dictionaries down to it; "" is the outermost.

    `odd` are the names of what is no tensor of torch, with what it is instead.
    """

    where: str
    tensors: Mapping[str, Tensor]
    odd: Mapping[str, str] = field(default_factory=dict)

    @property
    def averaged(self) -> bool:
        return AVERAGE.search(self.where) is not None


def states_in(content: Mapping[Any, Any]) -> tuple[State, ...]:
    """Every dictionary of named tensors in `content`: first what is no moving average, then whose tensors are most.

    Raises UserError for a tensor that is none: sparse, quantised, without content.
    """
    found = [_state(where, values) for where, values in _dictionaries(content, "", DEEPEST)]
    held = [state for state in found if any(tensor.ndim for tensor in state.tensors.values())]
    return tuple(sorted(held, key=lambda state: (state.averaged, -len(state.tensors))))


def is_of_optimizer(content: Any, depth: int = DEEPEST) -> bool:
    """Whether `content` is an optimizer's state, or a dictionary that has one somewhere inside."""
    if not isinstance(content, Mapping):
        return False
    return {"state", "param_groups"} <= content.keys() or (
        depth > 0 and any(is_of_optimizer(value, depth - 1) for value in content.values())
    )


def _dictionaries(content: Mapping[Any, Any], where: str, depth: int) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    if is_of_optimizer(content, 0):  # moments by the weights' own names, perhaps
        return
    yield where, content
    for name, value in content.items():
        if depth and isinstance(value, Mapping) and isinstance(name, str) and not NO_WEIGHTS.search(name.lower()):
            yield from _dictionaries(value, f"{where}.{name}" if where else name, depth - 1)


def _state(where: str, values: Mapping[Any, Any]) -> State:
    tensors: dict[str, Tensor] = {}
    odd = {}
    for name, value in values.items():
        if isinstance(value, ndarray) and value.dtype.kind not in NUMBERS:
            odd[str(name)] = f"an array of {value.dtype}"
        elif isinstance(name, str) and isinstance(value, Tensor | ndarray):
            bare = ".".join(part for part in name.split(".") if part not in WRAPPERS)
            if bare in tensors:
                raise UserError(f"two tensors want to be called {bare}", [name], hint="save one model's weights alone")
            tensors[bare] = _plain(f"{where}.{name}" if where else name, value)
    if any(name.endswith(KERAS_OBJECTS) for name in tensors):
        raise UserError(
            "this checkpoint of TensorFlow 2 has no names of layers, only their numbers",
            [next(name for name in tensors if name.endswith(KERAS_OBJECTS))],
            hint="in Keras: model.load_weights(...), then model.save_weights('model.weights.h5')",
        )
    return State(where, tensors, odd)


def _plain(name: str, value: Tensor | ndarray) -> Tensor:
    """A tensor of torch. It knows one order of bytes, the machine's, and floats of up to 64 bits."""
    if isinstance(value, ndarray):
        wide = value.dtype.kind == "f" and value.dtype.itemsize > 8
        return torch.as_tensor(value.astype(float64 if wide else value.dtype.newbyteorder("="), copy=False))
    kind = (
        "a tensor without content (on the device meta)"
        if value.is_meta
        else "quantised"
        if value.is_quantized
        else f"not a plain tensor, but {str(value.layout).removeprefix('torch.')}"
        if value.layout is not torch.strided
        else f"of {str(value.dtype).removeprefix('torch.')}"
        if value.is_floating_point() and value.dtype not in FLOATS
        else ""
    )
    if kind:
        hint = "save it from a model that holds its weights as floating point numbers"
        raise UserError(f"{name} is {kind}, and cannot be a weight here", hint=hint)
    return value.detach()


def prefixes(names: Iterable[str], wanted: Sequence[str], most: int = 4) -> list[str]:
    """What may stand before the `wanted` names among `names`, such as `module.` or `model.backbone.`; fullest first.

    "" is the first where it does as well as others.
    """
    given = dict.fromkeys(names)  # in their order, which decides between prefixes of one length
    anchors = {wanted[0], wanted[len(wanted) // 2], wanted[-1]} if wanted else set()
    found = dict.fromkeys(
        name.removesuffix(anchor) for name in given for anchor in anchors if name.endswith(f".{anchor}")
    )
    full = {prefix: sum(f"{prefix}{name}" in given for name in wanted) for prefix in ("", *sorted(found, key=len))}
    return sorted((prefix for prefix in full if full[prefix] or not prefix), key=lambda prefix: -full[prefix])[:most]


def without(prefix: str, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The tensors whose names begin with `prefix`, named without it."""
    if not prefix:
        return tensors
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def same(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> bool:
    """Whether two dictionaries hold the same tensors by the same names."""
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
