"""The structure of any module, found by running it once on blank images and watching what is called."""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from pellucid.architectures.geometry import EndPoint, LayerRow, Structure, Totals, check_end_point
from pellucid.errors import UserError
from pellucid.networks.build import Network, network
from pellucid.networks.reach import Reach, Reaches

UNKNOWN = (0, 0)  # of receptive fields, where a module computes something that reach.py does not know
USUAL_SIZE = 224
IDLE = ("Identity", "Dropout", "DropPath")  # nothing is computed in evaluation


def traced(
    net: str | nn.Module,
    *,
    size: int | None = None,
    batch: int = 1,
    classes: int | None = None,
    until: str | None = None,
) -> Structure:
    """Watch `net`, a name of `network` or a module that takes images (N, 3, size, size), on one blank image.

    Layers are the modules without parts, in the order in which they are called; what a module computes by itself
    (attention, say) has a row of its own. Receptive fields are found from the operations, and 0 where one is not
    known. Raises UserError where it cannot run.
    """
    module = network(net, 1000 if classes is None else classes, size=size) if isinstance(net, str) else net
    name = net if isinstance(net, str) else getattr(module, "name", type(module).__name__)
    side: int = size or getattr(module, "size", None) or USUAL_SIZE
    training = module.training
    example = next(iter(module.parameters()), torch.zeros(1))
    images = torch.zeros(1, 3, side, side, dtype=example.dtype, device=example.device)
    watch = _Watch(module, Reaches(images))
    try:
        with torch.no_grad(), watch.attached(), FlopCounterMode(display=False, depth=None) as counter, watch.reaches:
            out = module.eval()(images)
    except Exception as cause:
        raise UserError(
            f"{name} cannot be run on images of {side} x {side} pixels: {str(cause).splitlines()[0]}",
            hint="give --size what it was made for",
        ) from cause
    finally:
        module.train(training)
    groups = watch.grouped(_flops(counter, module))
    names = tuple(groups)
    if until is not None:
        check_end_point(name, names, until)
        groups = {end: groups[end] for end in names[: names.index(until) + 1]}
    scaled = {
        end: [replace(row, output=(batch, *row.output[1:]), memory=batch * row.memory) for row in rows]
        for end, rows in groups.items()
    }
    rows = [row for group in scaled.values() for row in group]
    return Structure(
        name=name,
        size=side,
        batch=batch,
        classes=out.shape[-1] if isinstance(out, Tensor) else 0,
        rows=tuple(rows),
        totals=Totals.of(rows),
        ends=tuple(_end_point(end, watch.last_call(end), group, batch=batch) for end, group in scaled.items()),
    )


@dataclass
class _Call:
    """A module as it was called: where, with which result, and what it owns that was not called before."""

    path: str
    module: nn.Module
    output: tuple[int, ...]
    new: int  # parameters
    reach: Reach | None


@dataclass
class _Watch:
    root: nn.Module
    reaches: Reaches
    calls: list[_Call] = field(default_factory=list)
    ends: list[tuple[str, int]] = field(default_factory=list)  # end points, and how many calls were made by then
    left: dict[str, _Call] = field(default_factory=dict)  # what left each end point
    _known: set[int] = field(default_factory=set)

    def attached(self) -> ExitStack:
        """Hooks on everything inside, for as long as the context lasts."""
        stack = ExitStack()
        boundaries = dict(_boundaries(self.root))
        for path, module in self.root.named_modules():
            handle = module.register_forward_hook(self._hook(path, boundaries.get(path)))
            stack.callback(handle.remove)
        return stack

    def _hook(self, path: str, end: str | None):  # type: ignore[no-untyped-def]  # torch's own hooks are not typed
        def note(module: nn.Module, _given: object, made: object) -> None:
            fresh = [p for p in module.parameters(recurse=False) if id(p) not in self._known]
            self._known.update(id(parameter) for parameter in fresh)
            shape = tuple(made.shape) if isinstance(made, Tensor) else ()
            self.calls.append(_Call(path, module, shape, sum(p.numel() for p in fresh), self.reaches.of(made)))
            if end is not None:
                self.ends.append((end, len(self.calls)))
                self.left[end] = self.calls[-1]

        return note

    def last_call(self, end: str) -> _Call:
        """The call whose result is the end point's; the whole network's for what comes after the last."""
        return self.left.get(end, self.calls[-1])

    def grouped(self, flops: dict[str, int]) -> dict[str, list[LayerRow]]:
        """The rows by end point; what comes after the last belongs to one called Logits."""
        groups: dict[str, list[LayerRow]] = {}
        times = Counter(call.path for call in self.calls)
        begin = 0
        for end, stop in [*self.ends, ("Logits", len(self.calls))]:
            rows = [row for call in self.calls[begin:stop] if (row := _row(call, flops, times[call.path]))]
            begin = stop
            if rows:
                groups.setdefault(end, []).extend(rows)
        return groups


def _end_point(name: str, call: _Call, rows: list[LayerRow], *, batch: int) -> EndPoint:
    field, stride = _sight(call.reach)
    output = (batch, *call.output[1:]) if call.output else rows[-1].output
    return EndPoint(name, output, field, stride, len(rows), Totals.of(rows))


def _sight(reach: Reach | None) -> tuple[tuple[int, int], int]:
    """Receptive field and stride, as a row has them."""
    return (UNKNOWN, 0) if reach is None else (reach.field, reach.stride[0])


def _boundaries(root: nn.Module) -> Iterator[tuple[str, str]]:
    """The paths of the modules whose end is an end point, and its name."""
    inner = getattr(root, "model", None)
    if isinstance(root, Network) and isinstance(inner, nn.Module):
        yield from ((f"model.{name}", name) for name in root.end_point_names[:-3])
        return
    if isinstance(root, Network):
        yield from ((name, name) for name in root.end_point_names)
        return
    for name, child in root.named_children():
        if isinstance(child, nn.ModuleList | nn.ModuleDict | nn.Sequential):
            yield from ((f"{name}.{part}", f"{name}.{part}") for part, _ in child.named_children())
        else:
            yield name, name


def _row(call: _Call, flops: dict[str, int], times: int) -> LayerRow | None:
    module = call.module
    weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
    normed = "Norm" in type(module).__name__
    shape = tuple(weight.shape) if isinstance(weight, Tensor) else ()
    # A module that is called twice computes half of it each time.
    cost = flops.get(call.path, 0) // 2 // times
    whole = not any(True for _ in module.children())
    field, stride = _sight(call.reach)
    if not (call.new or cost or (whole and call.output)) or type(module).__name__ in IDLE:
        return None
    return LayerRow(
        name=call.path.removeprefix("model.").replace(".", "/") or type(module).__name__,
        kind=_kind(module),
        output=call.output,
        weight=() if normed else shape,
        bias=tuple(bias.shape) if isinstance(bias, Tensor) and not normed else (),
        norm=shape if normed else (),
        parameters=call.new,
        multiply_adds=cost,
        field=field,
        stride=stride,
        memory=4 * torch.Size(call.output).numel() if whole and call.output else 0,
    )


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


def _flops(counter: FlopCounterMode, root: nn.Module) -> dict[str, int]:
    """What each module computed itself: all of it less what its parts did, by path."""
    counted = {
        path.partition(".")[2]: sum(operations.values())
        for path, operations in counter.get_flop_counts().items()
        if path.split(".")[0] == type(root).__name__
    }
    own = dict(counted)
    for path, flops in counted.items():
        if path:
            above = path.rpartition(".")[0]
            while above not in own and above:
                above = above.rpartition(".")[0]
            own[above] = own.get(above, 0) - flops
    return own
