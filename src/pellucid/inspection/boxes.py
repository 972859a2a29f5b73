"""What every element of a tensor has seen of the image: the smallest box around the pixels, kept for all at once.

A tensor's boxes are four planes (top, bottom, left, right) of its own shape, but for axes along which all is the same,
which have length 1. Whatever only moves values about moves planes alike, with torch's own operation; whatever joins
values joins their boxes. So no arrangement of axes needs a rule of its own, and none is guessed.

Each is kept twice: as it is, and as it would be if the image went on beyond its edges, which is how receptive fields
are usually told: a window over padding sees pixels that are not there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

Pair = tuple[int, int]
Planes = tuple[Tensor, Tensor, Tensor, Tensor]  # top, -bottom, left, -right: a box around others has the least of each
Shape = tuple[int, ...]

FAR = 2.0**30  # the edges of a box around nothing
HERE = torch.device("cpu")  # wherever the network is, or new tensors are made
MOST = 2**23  # elements of a plane; what would need more is not known
WAYS = ((0, 1), (0, -1), (1, 1), (1, -1))  # of each plane: down or across, and the sign with which it moves


class TooManyError(Exception):
    """The boxes are not kept: they would take too much memory."""


@dataclass(frozen=True)
class Window:
    """What slides along one axis, and how far it may reach out at both ends; negative where the map is cut."""

    axis: int
    kernel: int
    stride: int = 1
    dilation: int = 1
    before: int = 0
    cells: int = 1  # of the result


@dataclass(frozen=True)
class Boxes:
    """Of a tensor of that `shape`: `real` boxes, and `ideal` ones that may reach beyond the image.

    `alone` says of each axis of length 1 how boxes would move along it if it were longer, None where that is unknown.
    `stride` is how many pixels lie between two cells of the map, down and across, as far as it is known.
    """

    shape: Shape
    real: Planes
    ideal: Planes
    alone: tuple[Pair | None, ...]
    stride: tuple[int | None, int | None]

    @property
    def constant(self) -> bool:
        """Every element has seen the same."""
        return all(plane.numel() == 1 for plane in (*self.real, *self.ideal))

    def step(self, axis: int) -> Pair | None:
        """How far the box moves down and across from one element to the next along `axis`; None where it varies."""
        if self.shape[axis] == 1:
            return self.alone[axis]
        steps = [_step(plane, axis) for plane in self.ideal]
        top, bottom, left, right = steps
        if None in steps or top != -bottom or left != -right:  # type: ignore[operator]
            return None
        return top, left  # type: ignore[return-value]


def _step(plane: Tensor, axis: int) -> int | None:
    if plane.shape[axis] == 1:
        return 0
    if bool((plane >= FAR / 2).any()):
        return None
    steps = plane.diff(dim=axis)
    first = steps.flatten()[0]
    return int(first) if bool((steps == first).all()) else None


def of_images(shape: Shape) -> Boxes:
    """Of images (N, C, H, W): each element has seen its own pixel."""
    down = torch.arange(shape[2], dtype=torch.float32, device=HERE).view(1, 1, -1, 1)
    across = torch.arange(shape[3], dtype=torch.float32, device=HERE).view(1, 1, 1, -1)
    planes = (down, -(down + 1), across, -(across + 1))
    return Boxes(shape, planes, planes, ((0, 0), (0, 0), (1, 0), (0, 1)), (1, 1))


def changed(boxes: Boxes, change: Callable[[Tensor], Tensor], shape: Shape) -> Boxes:
    """The boxes with every plane changed; how they would move along short axes is unknown afterwards."""
    real = tuple(_shortened(change(plane)) for plane in boxes.real)
    ideal = real if boxes.ideal is boxes.real else tuple(_shortened(change(plane)) for plane in boxes.ideal)
    return Boxes(shape, real, ideal, (None,) * len(shape), boxes.stride)  # type: ignore[arg-type]


def _shortened(plane: Tensor) -> Tensor:
    """Without the repetitions along axes where all is the same."""
    for axis, side in enumerate(plane.shape):
        if side > 1:
            first = plane.narrow(axis, 0, 1)
            if plane.stride(axis) == 0 or bool((plane == first).all()):
                plane = first
    return plane.contiguous()


def moved(boxes: Boxes, move: Callable[[Tensor], Tensor], shape: Shape) -> Boxes:
    """After torch's own `move`, which takes planes of the full shape; views of them cost nothing."""
    if boxes.constant:
        return _everywhere(boxes, shape)
    _check(shape)
    return changed(boxes, lambda plane: move(plane.expand(boxes.shape)), shape)


def viewed(boxes: Boxes, shape: Shape) -> Boxes:
    """In another shape with the same elements in the same order. Axes that stay at either end are not spread out."""
    old = boxes.shape
    ahead = 0
    while ahead < min(len(old), len(shape)) and old[ahead] == shape[ahead]:
        ahead += 1
    behind = 0
    while behind < min(len(old), len(shape)) - ahead and old[-1 - behind] == shape[-1 - behind]:
        behind += 1
    middle, wanted = old[ahead : len(old) - behind], shape[ahead : len(shape) - behind]

    def view(plane: Tensor) -> Tensor:
        first, last = plane.shape[:ahead], plane.shape[len(old) - behind :]
        if all(side == 1 for side in plane.shape[ahead : len(old) - behind]):
            return plane.reshape(*first, *(1 for _ in wanted), *last)
        _check((*first, *middle, *last))
        return plane.expand(*first, *middle, *last).reshape(*first, *wanted, *last)

    made = changed(boxes, view, shape)
    known = (*boxes.alone[:ahead], *(None for _ in wanted), *boxes.alone[len(old) - behind :])
    split = len(wanted) > len(middle) and any(
        plane.shape[axis] > 1 for plane in boxes.ideal for axis in range(ahead, len(old) - behind)
    )
    return replace(made, alone=known, stride=(None, None) if split else boxes.stride)


def _everywhere(boxes: Boxes, shape: Shape) -> Boxes:
    """One box for all elements."""
    planes = tuple(plane.reshape((1,) * len(shape)) for plane in boxes.real)
    ideal = planes if boxes.ideal is boxes.real else tuple(plane.reshape((1,) * len(shape)) for plane in boxes.ideal)
    return Boxes(shape, planes, ideal, ((0, 0),) * len(shape), boxes.stride)  # type: ignore[arg-type]


def joined(several: Sequence[Boxes], shape: Shape) -> Boxes:
    """Element by element, as values meet that are broadcast to `shape`."""
    if len(several) == 1 and several[0].shape == shape:
        return several[0]
    real = tuple(_least([boxes.real[at] for boxes in several], shape) for at in range(4))
    shared = all(boxes.ideal is boxes.real for boxes in several)
    ideal = real if shared else tuple(_least([boxes.ideal[at] for boxes in several], shape) for at in range(4))
    alone = tuple(_agreed(several, axis - len(shape)) for axis in range(len(shape)))
    maps = [boxes for boxes in several if not boxes.constant] or several
    return Boxes(shape, real, ideal, alone, _largest(maps))  # type: ignore[arg-type]


def _least(planes: Sequence[Tensor], shape: Shape) -> Tensor:
    _check(torch.broadcast_shapes(*(plane.shape for plane in planes)))
    made = planes[0]
    for plane in planes[1:]:
        made = torch.minimum(made, plane)
    made = made.reshape((1,) * (len(shape) - made.ndim) + tuple(made.shape))
    return made if len(planes) == 1 else _shortened(made)


def _agreed(several: Sequence[Boxes], axis: int) -> Pair | None:
    steps = {boxes.alone[axis] for boxes in several if -axis <= len(boxes.shape)}
    return steps.pop() if len(steps) == 1 else None


def _largest(several: Sequence[Boxes]) -> tuple[int | None, int | None]:
    """The stride of the coarsest map; that of a map and of what was made of all its cells is the map's."""
    found = [[one for boxes in several if (one := boxes.stride[way]) is not None] for way in (0, 1)]
    down, across = (max(strides) if len(strides) == len(several) else None for strides in found)
    return down, across


def together(boxes: Boxes, axes: Sequence[int]) -> Boxes:
    """All that lies along `axes` meets in each element: all along them is the same then; their length stays."""
    axes = [axis % len(boxes.shape) for axis in axes]
    if not axes:
        return boxes
    made = changed(boxes, lambda plane: plane.amin(dim=axes, keepdim=True), boxes.shape)
    return replace(made, alone=tuple((0, 0) if axis in axes else step for axis, step in enumerate(boxes.alone)))


def resized(boxes: Boxes, shape: Shape) -> Boxes:
    """The same planes for axes of another length, where all along them is the same."""
    assert all(plane.shape[axis] in (1, side) for plane in boxes.real for axis, side in enumerate(shape))
    return replace(boxes, shape=shape)


def without(boxes: Boxes, axes: Sequence[int]) -> Boxes:
    """Axes along which all is the same are dropped."""
    axes = sorted((axis % len(boxes.shape) for axis in axes), reverse=True)
    shape, alone = list(boxes.shape), list(boxes.alone)
    for axis in axes:
        del shape[axis], alone[axis]
    keep = tuple(axis for axis in range(len(boxes.shape)) if axis not in axes)
    drop = changed(boxes, lambda plane: plane.reshape([plane.shape[axis] for axis in keep]), tuple(shape))
    return replace(drop, alone=tuple(alone))


def slid(boxes: Boxes, windows: Sequence[Window]) -> Boxes:
    """After windows that slide along some axes, each over all that is in it."""
    for window in windows:
        boxes = _slid(boxes, window)
    return boxes


def _slid(boxes: Boxes, window: Window) -> Boxes:
    axis, side = window.axis, boxes.shape[window.axis]
    span = (window.kernel - 1) * window.dilation + 1
    after = (window.cells - 1) * window.stride + span - side - window.before
    if span == window.stride == 1 and not window.before and not after:
        return boxes
    padded = _padded(boxes, axis, window.before, after)

    def slide(plane: Tensor) -> Tensor:
        if plane.shape[axis] == 1 < padded.shape[axis]:
            return plane
        seen = plane.unfold(axis, span, window.stride)[..., :: window.dilation]
        return seen.amin(dim=-1).narrow(axis, 0, window.cells)

    step = boxes.step(axis) if window.cells == 1 else None
    shape = (*boxes.shape[:axis], window.cells, *boxes.shape[axis + 1 :])
    made = changed(padded, slide, shape)
    further = None if step is None else (step[0] * window.stride, step[1] * window.stride)
    alone = (*boxes.alone[:axis], further, *boxes.alone[axis + 1 :])
    return replace(made, alone=alone, stride=boxes.stride)


def padded(boxes: Boxes, pads: Sequence[tuple[int, int, int]]) -> Boxes:
    """With nothing beside it: (axis, before, after), negative where the map is cut."""
    for axis, before, after in pads:
        boxes = _padded(boxes, axis, before, after)
    return boxes


def _padded(boxes: Boxes, axis: int, before: int, after: int) -> Boxes:
    """What is beside the map has seen nothing; ideally it has seen what lies there, where that can be told."""
    if not before and not after:
        return boxes
    side = boxes.shape[axis]
    step = boxes.step(axis)
    shape = (*boxes.shape[:axis], side + before + after, *boxes.shape[axis + 1 :])

    def pad(plane: Tensor, further: int | None) -> Tensor:
        if further == 0 and plane.shape[axis] == 1:
            return plane
        full = plane.expand(*plane.shape[:axis], side, *plane.shape[axis + 1 :])
        first, last = full.narrow(axis, 0, 1), full.narrow(axis, side - 1, 1)
        steps = [-1] * full.ndim
        ends = []
        for edge, count, sign in ((first, before, -1), (last, after, 1)):
            count = max(count, 0)
            if further is None:
                steps[axis] = count
                ends.append(torch.full_like(edge, FAR).expand(steps))
                continue
            places = torch.arange(1, count + 1, dtype=edge.dtype, device=HERE).view(
                [-1 if at == axis else 1 for at in range(edge.ndim)]
            )
            ends.append(edge + sign * further * (places.flip(axis) if sign < 0 else places))
        full = full.narrow(axis, max(-before, 0), side - max(-before, 0) - max(-after, 0))
        return torch.cat([ends[0], full, ends[1]], dim=axis)

    real = tuple(_shortened(pad(plane, None)) for plane in boxes.real)
    moves = [None if step is None else sign * step[way] for way, sign in WAYS]
    ideal = tuple(_shortened(pad(plane, move)) for plane, move in zip(boxes.ideal, moves, strict=True))
    alone = (*boxes.alone[:axis], step, *boxes.alone[axis + 1 :])
    return Boxes(shape, real, ideal, alone, boxes.stride)  # type: ignore[arg-type]


def side_by_side(several: Sequence[Boxes | None], shapes: Sequence[Shape], axis: int) -> Boxes:
    """Tensors of those `shapes` joined along `axis`; None has seen nothing."""
    known = [boxes for boxes in several if boxes is not None]
    axis %= len(shapes[0])
    shape = (*shapes[0][:axis], sum(one[axis] for one in shapes), *shapes[0][axis + 1 :])

    def beside(planes: Sequence[Tensor | None]) -> Tensor:
        common = torch.broadcast_shapes(*((*p.shape[:axis], 1, *p.shape[axis + 1 :]) for p in planes if p is not None))
        _check((*common[:axis], shape[axis], *common[axis + 1 :]))
        parts = []
        for plane, one in zip(planes, shapes, strict=True):
            whole = (*common[:axis], one[axis], *common[axis + 1 :])
            parts.append(torch.full(whole, FAR, device=HERE) if plane is None else plane.expand(whole))
        return _shortened(torch.cat(parts, dim=axis))

    real = tuple(beside([None if boxes is None else boxes.real[at] for boxes in several]) for at in range(4))
    shared = all(boxes.ideal is boxes.real for boxes in known)
    ideal = tuple(beside([None if boxes is None else boxes.ideal[at] for boxes in several]) for at in range(4))
    alone = tuple(_agreed(known, at - len(shape)) for at in range(len(shape)))
    return Boxes(shape, real, real if shared else ideal, alone, _largest(known))  # type: ignore[arg-type]


def _check(shape: Sequence[int]) -> None:
    if torch.Size(shape).numel() > MOST:
        raise TooManyError
