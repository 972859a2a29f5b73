"""Nodes of an ONNX graph, written as Python expressions: `(a + 1) * b` adds two nodes and gives the name of the second.

Every value knows its type, so that a number written beside it becomes a constant of the same. What is written needs
opset 13 and changes its meaning in none up to 23.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper


class Writing:
    """The nodes and constants that have been written, in order; every name begins with `prefix`."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[tuple[str, tuple[int, ...], bytes], onnx.TensorProto] = {}

    def constant(self, content: Any, kind: npt.DTypeLike) -> Value:
        """A number or an array; one that is written twice is kept once."""
        array = np.asarray(content, dtype=kind)
        key = (array.dtype.name, array.shape, array.tobytes())
        if key not in self.constants:
            self.constants[key] = numpy_helper.from_array(array, f"{self.prefix}constant_{len(self.constants)}")
        return Value(self, self.constants[key].name, array.dtype)

    def node(
        self, operator: str, inputs: Sequence[Value], *, kind: npt.DTypeLike, name: str = "", **said: Any
    ) -> Value:
        """One node with one output of `kind`, called `name` where others ask for it."""
        made = name or f"{self.prefix}{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, [each.name for each in inputs], [made], name=made, **said))
        return Value(self, made, np.dtype(kind))

    def nodes_of(self, operator: str, inputs: Sequence[Value], outputs: int, *, kind: npt.DTypeLike) -> list[Value]:
        """One node with several outputs of one kind."""
        made = [f"{self.prefix}{operator}_{len(self.nodes)}_{number}" for number in range(outputs)]
        self.nodes.append(helper.make_node(operator, [each.name for each in inputs], made, name=made[0], axis=0))
        return [Value(self, each, np.dtype(kind)) for each in made]


Operand: TypeAlias = "Value | float | npt.NDArray[Any]"


@dataclass(frozen=True)
class Value:
    """What a node makes, or a graph is given: a name, and its type."""

    writing: Writing
    name: str
    kind: np.dtype[Any]

    def like(self, other: Operand) -> Value:
        """`other`, as a constant of this value's type where it is a number or an array."""
        return other if isinstance(other, Value) else self.writing.constant(other, self.kind)

    def _node(
        self, operator: str, *others: Operand, kind: npt.DTypeLike | None = None, name: str = "", **said: Any
    ) -> Value:
        inputs = [self, *(self.like(other) for other in others)]
        return self.writing.node(operator, inputs, kind=self.kind if kind is None else kind, name=name, **said)

    def __add__(self, other: Operand) -> Value:
        return self._node("Add", other)

    def __sub__(self, other: Operand) -> Value:
        return self._node("Sub", other)

    def __mul__(self, other: Operand) -> Value:
        return self._node("Mul", other)

    def __truediv__(self, other: Operand) -> Value:
        """Of whole numbers, too: what is not below 0 is rounded down, and what is, somehow."""
        return self._node("Div", other)

    def __matmul__(self, other: Operand) -> Value:
        return self._node("MatMul", other)

    def __neg__(self) -> Value:
        return self._node("Neg")

    def below(self, other: Operand) -> Value:
        return self._node("Less", other, kind=bool)

    def above(self, other: Operand) -> Value:
        return self._node("Greater", other, kind=bool)

    def equals(self, other: Operand) -> Value:
        return self._node("Equal", other, kind=bool)

    def __and__(self, other: Value) -> Value:
        return self._node("And", other)

    def __or__(self, other: Value) -> Value:
        return self._node("Or", other)

    def __invert__(self) -> Value:
        return self._node("Not")

    def then(self, yes: Value, no: Operand) -> Value:
        """`yes` where this is true, elsewhere `no`."""
        return self.writing.node("Where", [self, yes, yes.like(no)], kind=yes.kind)

    def abs(self) -> Value:
        return self._node("Abs")

    def floor(self) -> Value:
        return self._node("Floor")

    def sign(self) -> Value:
        return self._node("Sign")

    def sin(self) -> Value:
        return self._node("Sin")

    def sigmoid(self) -> Value:
        return self._node("Sigmoid")

    def softmax(self) -> Value:
        return self._node("Softmax", axis=-1)

    def at_least(self, other: Operand) -> Value:
        return self._node("Max", other)

    def at_most(self, other: Operand) -> Value:
        return self._node("Min", other)

    def to(self, kind: npt.DTypeLike, *, name: str = "") -> Value:
        code = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
        return self._node("Cast", kind=kind, to=code, name=name)

    def sum(self, axis: int) -> Value:
        """Over one axis, which stays with one entry."""
        return self.writing.node("ReduceSum", [self, self._whole([axis])], kind=self.kind, keepdims=1)

    def running_sum(self) -> Value:
        return self.writing.node("CumSum", [self, self._whole(0)], kind=self.kind)

    def shaped(self, *sides: int, name: str = "") -> Value:
        """0 keeps a side as it is, and -1 is what remains."""
        return self.writing.node("Reshape", [self, self._whole(sides)], kind=self.kind, name=name)

    def turned(self, *axes: int) -> Value:
        return self._node("Transpose", perm=axes)

    def side(self, axis: int) -> Value:
        """How long it is along an axis: a whole number."""
        shape = self.writing.node("Shape", [self], kind=np.int64)
        return shape.pick(axis)

    def pick(self, index: Operand, axis: int = 0) -> Value:
        """The entries at one index, or at several, of an axis."""
        chosen = index if isinstance(index, Value) else self._whole(index)
        return self.writing.node("Gather", [self, chosen], kind=self.kind, axis=axis)

    def cut(self, starts: Value | list[int], ends: Value | list[int], axes: Sequence[int]) -> Value:
        """From `starts` to before `ends`, one of each per axis."""
        bounds = [each if isinstance(each, Value) else self._whole(each) for each in (starts, ends)]
        return self.writing.node("Slice", [self, *bounds, self._whole(axes)], kind=self.kind)

    def apart(self, pieces: int) -> list[Value]:
        """One value per entry of the first axis, of which there are so many; the axis stays, with one entry."""
        sizes = self._whole([1] * pieces)
        return self.writing.nodes_of("Split", [self, sizes], pieces, kind=self.kind)

    def _whole(self, numbers: Any) -> Value:
        return self.writing.constant(numbers, np.int64)


def counted(number: Value) -> Value:
    """0, 1, 2 and so on, below a whole number."""
    return number.writing.node("Range", [number.like(0), number, number.like(1)], kind=np.int64)


def joined(values: Sequence[Value], axis: int, *, name: str = "") -> Value:
    """One behind the other along an axis."""
    return values[0].writing.node("Concat", values, kind=values[0].kind, axis=axis, name=name)
