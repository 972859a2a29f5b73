"""Our names of tensors, taken apart: the end point, the steps inside, and the tensor.

Mixed_5b.Branch_1.Conv2d_0b_5x5.conv.weight is `conv.weight` at the place Mixed_5b.Branch_1.Conv2d_0b_5x5.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

Shapes = Mapping[str, tuple[int, ...]]  # of our tensors, by name, in order
Pairs = Iterator[tuple[str, str]]  # our name, theirs

BASIC = {
    "conv.weight": "conv.weight",
    "conv.bias": "bias",
    "norm.weight": "bn.weight",
    "norm.bias": "bn.bias",
    "norm.running_mean": "bn.running_mean",
    "norm.running_var": "bn.running_var",
    "norm.num_batches_tracked": "bn.num_batches_tracked",
    "weight": "weight",
    "bias": "bias",
}


class Twice(ValueError):
    """Two tensors of a file want one name; `tensors` are those that had theirs first."""

    def __init__(self, first: str, second: str, tensors: "Mapping[str, Tensor]") -> None:
        super().__init__(f"{first} and {second} want to be the same tensor")
        self.tensors = tensors


class Renamed(dict[str, "Tensor"]):
    """Tensors by the names that a source's readers give them, and never two by one: `put` remembers what had it."""

    def __init__(self) -> None:
        super().__init__()
        self._was: dict[str, str] = {}
        self._twice: tuple[str, str] | None = None

    def put(self, name: str, tensor: "Tensor", *, was: str) -> None:
        if name in self:
            self._twice = self._twice or (self._was[name], was)
            return
        self[name], self._was[name] = tensor, was

    def settled(self) -> "Renamed":
        """Itself; raises Twice where two wanted one name."""
        if self._twice:
            raise Twice(*self._twice, self)
        return self


def split(name: str, tensors: Mapping[str, str]) -> tuple[str, str]:
    """The place and the tensor of one of our names: what the table of tensors knows, the longer the better."""
    for words in (2, 1):
        parts = name.rsplit(".", words)
        tensor = ".".join(parts[1:])
        if tensor in tensors:
            return parts[0], tensor
    raise AssertionError(f"{name} is no tensor of a table network")


@dataclass(frozen=True)
class Step:
    """Where a convolution stands in its branch. `side`: a or b, where two stand side by side."""

    position: int
    alone: bool
    side: str

    @property
    def in_sequence(self) -> str:
        """As torch's Sequential names it; a step alone needs none."""
        return "" if self.alone else f".{self.position}"


def steps_of(ours: Shapes) -> dict[str, Step]:
    """The step of every convolution in a branch, by its place."""
    places = dict.fromkeys(split(name, BASIC)[0] for name in ours if ".Branch_" in name)
    branches: dict[str, list[str]] = {}
    for place in places:
        branch, step = re.match(r"(.*\.Branch_\d)\.(\w+)", place).groups()  # type: ignore[union-attr]
        steps = branches.setdefault(branch, [])
        if step not in steps:
            steps.append(step)
    found = {}
    for place in places:
        branch, step = re.match(r"(.*\.Branch_\d)\.(\w+)(?:\.\w+)?", place).groups()  # type: ignore[union-attr]
        steps = branches[branch]
        pooled = steps[0] == "Conv2d_0b_1x1"  # what comes first has no weights
        side = ""
        if place != f"{branch}.{step}":
            side = "ab"[[other for other in places if other.startswith(f"{branch}.{step}.")].index(place)]
        found[place] = Step(steps.index(step) + pooled, len(steps) == 1 and not pooled, side)
    return found


def computable(one: "Tensor", other: "Tensor") -> bool:
    """Whether two tensors can be computed with: what cannot is left as it is, and refused by name when it is wanted."""
    return one.is_floating_point() and other.is_floating_point() and one.shape == other.shape


def with_torch_axes(tensor: "Tensor", *, depthwise: bool = False) -> "Tensor":
    """(height, width, in, out) as (out, in, height, width), and (in, out) as (out, in)."""
    if depthwise and tensor.ndim == 4:  # (height, width, channels, maps of each)
        return tensor.permute(2, 3, 0, 1).flatten(0, 1).unsqueeze(1)
    if tensor.ndim == 4:
        return tensor.permute(3, 2, 0, 1)
    return tensor.T if tensor.ndim == 2 else tensor
