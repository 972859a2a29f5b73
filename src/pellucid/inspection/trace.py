"""The structure of any module, found by running it on blank images and watching what is called."""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass, replace
from math import prod

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from pellucid.architectures.geometry import check_end_point
from pellucid.architectures.main_path import MainPath
from pellucid.architectures.rows import ADDED, EndPoint, LayerRow, Structure, Totals
from pellucid.errors import UserError, counted
from pellucid.inspection.failing import is_of_memory, reason
from pellucid.inspection.reach import Reach
from pellucid.inspection.watch import Call, Unused, Watched, watched
from pellucid.networks.build import network
from pellucid.networks.network import Network
from pellucid.networks.own_network import size_hint
from pellucid.networks.undisturbed import kept_randomness, undisturbed
from pellucid.networks.wrapped import ENDS, opened

USUAL_SIZE = 224
IDLE = ("Identity", "Dropout", "DropPath")  # nothing is computed in evaluation
LAST, UNUSED = "Logits", "unused"  # end points: what comes after the last one, and parameters that nothing takes


def traced(
    net: str | nn.Module,
    *,
    size: int | None = None,
    batch: int = 1,
    classes: int | None = None,
    until: str | None = None,
) -> Structure:
    """Watch `net`, a name of `network` or a module that takes images (N, 3, size, size), on blank images.

    Layers are the modules without parts, in the order in which they are called; what a module computes by itself
    (attention, say) has a row of its own. It is run on one image, which is what multiply-adds and receptive fields are
    of; for a larger `batch` on two and three as well, which shows how shapes grow. `net` is left as it is, and so are
    everybody's random numbers. Raises UserError where it cannot be run.
    """
    with kept_randomness():
        given = network(net, 1000 if classes is None else classes, size=size) if isinstance(net, str) else net
    module: nn.Module = getattr(given, "_orig_mod", given)  # of one that is compiled
    with kept_randomness():
        return _structure(module, net if isinstance(net, str) else _name(module), size=size, batch=batch, until=until)


def _structure(module: nn.Module, name: str, *, size: int | None, batch: int, until: str | None) -> Structure:
    side = size or _made_for(module) or USUAL_SIZE
    if any(is_lazy(tensor) for tensor in module.parameters()):
        module = _shaped(module, name, side)
    alone, several = _runs(module, name, side, batch)
    groups = _grouped(module, alone, _shapes(several, batch))
    names = tuple(groups)
    if until is not None:
        until = check_end_point(name, names, until)
        groups = {end: groups[end] for end in names[: names.index(until) + 1]}
    rows = [row for group in groups.values() for row in group.rows]
    return Structure(
        name=name,
        size=side,
        batch=batch,
        classes=_classes(module, alone.made),
        rows=tuple(rows),
        totals=Totals.of(rows),
        ends=tuple(group.end_point(end) for end, group in groups.items()),
        main_path=_main_path(groups, module.head_names if isinstance(module, Network) else ()),
    )


def _main_path(groups: "dict[str, _Group]", heads: Sequence[str]) -> MainPath | None:
    """To what left the last end point, auxiliary heads aside."""
    ways = [group.way for end, group in groups.items() if group.way is not None and end not in heads]
    return ways[-1] if ways else None


def _name(module: nn.Module) -> str:
    name = getattr(module, "name", None)
    return name if isinstance(name, str) and name else type(module).__name__


def _made_for(module: nn.Module) -> int | None:
    """The pixels per side that it was made for, where it says so in one of the usual ways."""
    record = getattr(module, "pretrained_cfg", None)  # timm's
    record = record if isinstance(record, dict) else {}
    said = module.size if isinstance(module, Network) else (record.get("input_size") or [None])[-1]
    said = getattr(module, "image_size", None) if said is None else said  # torchvision's transformers
    return said if isinstance(said, int) and said > 0 else None


def _classes(module: nn.Module, made: object) -> int | None:
    """How many outputs an image has; None for a module that gives no vector for each."""
    if isinstance(module, Network):
        return module.classes
    return made.shape[1] if isinstance(made, Tensor) and made.ndim == 2 else None


def _runs(module: nn.Module, name: str, side: int, batch: int) -> tuple[Watched, dict[int, Watched]]:
    """What is told of one image; and the runs that show the shapes of `batch`, by how many images they were on."""
    if batch == 1:
        alone = _run(module, name, side, 1)
        return alone, {1: alone}
    several = {count: _run(module, name, side, count) for count in ((2, 3) if batch > 3 else (batch,))}
    try:
        alone = _run(module, name, side, 1)
    except UserError:  # it takes no single one
        two, three = (several.get(count) or _run(module, name, side, count) for count in (2, 3))
        calls = [
            replace(one, multiply_adds=_line(one.multiply_adds, other.multiply_adds, 1))
            for one, other in zip(two.calls, three.calls, strict=True)
        ]
        alone = replace(two, calls=calls)
    for count, run in several.items():
        if [call.path for call in run.calls] != [call.path for call in alone.calls]:
            raise UserError(f"{name} calls other layers for {count} images than for one", hint="--batch 1 shows those")
    return alone, several


def _shaped(module: nn.Module, name: str, side: int) -> nn.Module:
    """A copy whose lazy layers have the shapes that images of `side` pixels give them."""
    copy = deepcopy(module).eval()
    try:
        with kept_randomness(), torch.no_grad():
            copy(torch.zeros(1, 3, side, side))
    except Exception as cause:
        raise UserError(f"{name} cannot be run on images of {side} x {side} pixels: {reason(cause)}") from cause
    return copy


def _run(module: nn.Module, name: str, side: int, count: int) -> Watched:
    tensors = [*module.parameters(), *module.buffers()]
    example = next((tensor for tensor in tensors if tensor.is_floating_point()), torch.zeros(1))
    images = torch.zeros(count, 3, side, side, dtype=example.dtype, device=example.device)
    compiled = "torch._dynamo" in sys.modules  # parts may be: as they are written, then
    stance = torch.compiler.set_stance("force_eager") if compiled else nullcontext()
    try:
        with undisturbed(module), stance:
            return _inside(module, watched(module.eval(), images))
    except Exception as cause:
        said = (f"{counted(count, 'image')} of" if count > 1 else "images of") + f" {side} x {side} pixels"
        made_for = _made_for(module)
        hint = "it is run on colour images, one batch (N, 3, H, W) of numbers and nothing else"
        if is_of_memory(cause):
            hint = "a smaller --size takes less memory"
        elif made_for not in (None, side):
            hint = f"--size {made_for} is what it was made for"
        elif fitting := size_hint(module, side):
            hint = fitting
        raise UserError(f"{name} cannot be run on {said}: {reason(cause)}", hint=hint) from cause


def _inside(module: nn.Module, run: Watched) -> Watched:
    """As it was watched, with paths as they are inside of a network that another one wraps."""
    above = module.inside if isinstance(module, Network) else ""
    return replace(
        run,
        calls=[replace(call, path=call.path.removeprefix(above)) for call in run.calls],
        unused=[replace(part, path=part.path.removeprefix(above)) for part in run.unused],
    )


def _shapes(several: dict[int, Watched], batch: int) -> list[tuple[tuple[int, ...], ...]]:
    """The shapes of all that each call gave back, for `batch` images: every axis grows evenly, if at all."""
    if batch in several:
        return [call.outputs for call in several[batch].calls]
    (few, fewer), (more, most) = several.items()
    assert (few, more) == (2, 3)
    shapes = []
    for one, other in zip(fewer.calls, most.calls, strict=True):
        pairs = zip(one.outputs, other.outputs, strict=True)
        shapes.append(tuple(tuple(_line(a, b, batch) for a, b in zip(*pair, strict=True)) for pair in pairs))
    return shapes  # type: ignore[return-value]


def _line(two: int | None, three: int | None, count: int) -> int | None:
    """What is `two` for two images and `three` for three, for `count` of them."""
    return None if two is None or three is None else two + (three - two) * (count - 2)


@dataclass
class _Group:
    """The rows that lead to an end point, and the shape and sight of what left it last."""

    rows: list[LayerRow]
    output: tuple[int, ...] = ()
    reach: Reach | None = None
    way: MainPath | None = None

    def end_point(self, name: str) -> EndPoint:
        output = self.output or (self.rows[-1].output if self.rows else ())
        field, stride = _sight(self.reach)
        return EndPoint(name, output, field, stride, len(self.rows), Totals.of(self.rows))


def _grouped(module: nn.Module, run: Watched, shapes: Sequence[tuple[tuple[int, ...], ...]]) -> dict[str, _Group]:
    """The rows by end point; what comes after the last belongs to one called Logits."""
    times = Counter(call.path for call in run.calls)  # what is called more than once is no place in the network
    ends = {path: end for path, end in _boundaries(module) if times[path] == 1}
    groups: dict[str, _Group] = {}
    waiting: list[LayerRow] = []
    for at, (call, outputs) in enumerate(zip(run.calls, shapes, strict=True)):
        if row := _row(call, outputs):
            waiting.append(row)
        last = at == len(run.calls) - 1
        if not last and call.path not in ends:
            continue
        end = ends.get(call.path, LAST)
        if waiting:
            group = groups.setdefault(end, _Group([]))
            group.rows += waiting
            waiting = []
        if end in groups:
            group = groups[end]
            group.output, group.reach, group.way = (outputs[0] if outputs else ()), call.reach, call.way
    if run.unused:
        groups[UNUSED] = _Group([_unused_row(one) for one in run.unused])
    return groups


def _sight(reach: Reach | None) -> tuple[tuple[int, int] | None, int | None]:
    """Receptive field and stride, as a row has them."""
    return (None, None) if reach is None else (reach.field, reach.stride)


def _boundaries(root: nn.Module) -> Iterator[tuple[str, str]]:
    """The paths of the modules whose end is an end point, and its name."""
    if isinstance(root, Network):
        ends = root.end_point_names if root.sources else root.end_point_names[: -len(ENDS)]
        yield from ((name, name) for name in ends)
        return
    yield from ((place, place) for place, _ in opened(root))


def _row(call: Call, outputs: Sequence[tuple[int, ...]]) -> LayerRow | None:
    whole = call.whole and call.computed and type(call.module).__name__ not in IDLE
    if not (call.parameters or call.multiply_adds != 0 or (whole and outputs)):
        return _addition(call, outputs) if call.added and not call.whole else None
    normed = "Norm" in type(call.module).__name__
    field, stride = _sight(call.reach)
    return LayerRow(
        name=_shown(call.path) or type(call.module).__name__,
        kind=_kind(call.module),
        output=outputs[0] if outputs else (),
        weight=() if normed else call.weight,
        bias=() if normed else call.bias,
        norm=call.weight if normed else (),
        parameters=call.parameters,
        multiply_adds=call.multiply_adds,
        field=field,
        stride=stride,
        memory=4 * sum(map(prod, outputs)) if call.whole else 0,
    )


def _addition(call: Call, outputs: Sequence[tuple[int, ...]]) -> LayerRow:
    """The end of a residual unit: the sum of its maps, and what it computes after that without a layer."""
    field, stride = _sight(call.reach)
    return LayerRow(
        name="/".join(filter(None, (_shown(call.path), ADDED))),
        kind="addition",
        output=outputs[0] if outputs else (),
        weight=(),
        bias=(),
        norm=(),
        parameters=0,
        multiply_adds=0,
        field=field,
        stride=stride,
        memory=4 * sum(map(prod, outputs)),
    )


def _unused_row(part: Unused) -> LayerRow:
    return LayerRow(
        name=_shown(part.path) or type(part.module).__name__,
        kind=f"{_kind(part.module)}, unused",
        output=(),
        weight=(),
        bias=(),
        norm=(),
        parameters=part.parameters,
        multiply_adds=0,
        field=None,
        stride=None,
        memory=0,
    )


def _shown(path: str) -> str:
    return path.replace(".", "/")


def _kind(module: nn.Module) -> str:
    """In our words where we have one, else the class's name."""
    match module:
        case nn.Conv2d(groups=groups) if groups > 1:
            return "depthwise convolution" if groups == module.in_channels else "grouped convolution"
        case nn.Conv2d():
            return "convolution"
        case nn.Linear():
            return "linear"
        case nn.MaxPool2d():
            return "max pooling"
        case nn.AvgPool2d():
            return "average pooling"
    return type(module).__name__
