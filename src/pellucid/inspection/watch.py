"""Watching a module run: which of its parts are called, in order, and what each of them does by itself.

Every operation that torch carries out belongs to the innermost part that is running, whichever layer's weights it
takes: so a layer that is used by hand, twice, or under two parents is counted where and as often as it computes.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import HigherOrderOperator
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from pellucid.architectures.main_path import MainPath
from pellucid.inspection.costs import multiply_adds
from pellucid.inspection.longest import Longest
from pellucid.inspection.reach import Reach, Reaches, place_of

PARAMETRIZED = "parametrizations"  # where torch keeps what makes a weight of others: a part of the layer it is for


@dataclass
class Call:
    """A part of the network as it was called, and what it did itself, without the parts that it called in turn.

    `outputs` are the shapes of all tensors that it gave back, and `output` the first of them. `parameters` are those
    that no call before had; `multiply_adds` None where an operation's are not known.
    """

    path: str
    module: nn.Module
    output: tuple[int, ...] = ()
    outputs: tuple[tuple[int, ...], ...] = ()
    weight: tuple[int, ...] = ()
    bias: tuple[int, ...] = ()
    parameters: int = 0
    multiply_adds: int | None = 0
    reach: Reach | None = None
    way: MainPath | None = None  # to what it gave back, on which the most layers with weights lie
    whole: bool = True  # it called no other part
    computed: bool = False
    added: bool = False  # what it gave back is a sum of maps, as at the end of a residual unit


@dataclass(frozen=True)
class Unused:
    """A part whose parameters nothing took."""

    path: str
    module: nn.Module
    parameters: int


@dataclass
class Watched:
    """All calls in the order in which they ended, what was never used, and what the network gave back."""

    calls: list[Call]
    unused: list[Unused]
    made: object


def watched(net: nn.Module, images: Tensor) -> Watched:
    """Run `net` on `images` as it is, without gradients."""
    watch = _Watch(net, images)
    with torch.inference_mode(False), torch.no_grad(), _open_attention(), watch.attached(), watch:
        made = net(images) if watch.hooked(net) else watch.called(net, images)
    return Watched(watch.calls, watch.settled(), made)


@contextmanager
def _open_attention() -> Iterator[None]:
    """Attention as the operations that it consists of, not as the one that torch has for evaluation."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@dataclass
class _Frame:
    """A call that has not ended, and how often it called each of its own parts."""

    call: Call
    called: Counter[int] = field(default_factory=Counter)


class _Watch(TorchDispatchMode):
    supports_higher_order_operators = True

    def __init__(self, root: nn.Module, images: Tensor) -> None:
        super().__init__()
        self.root = root
        self.calls: list[Call] = []
        self.reaches = Reaches(images, root.parameters())
        self.longest = Longest(images, self.reaches.is_learned)
        self._frames: list[_Frame] = []
        self._owners: dict[int, Call] = {}  # of parameters: the first call of a module that has it
        self._users: dict[int, Call] = {}  # the first call that computed with it
        self._stored: dict[int, list[nn.Parameter]] = {}
        self._paths = {id(part): path for path, part in root.named_modules()}
        self._looking = False  # at a weight, whose making is no part of the run
        for parameter in root.parameters():
            if (place := place_of(parameter)) is not None:
                self._stored.setdefault(place, []).append(parameter)

    def attached(self) -> ExitStack:
        """Hooks on everything inside, for as long as the context lasts."""
        stack = ExitStack()
        for path, part in self.root.named_modules():
            if PARAMETRIZED in path.split(".") or not self.hooked(part):
                continue
            before = part.register_forward_pre_hook(self._begin, prepend=True)
            stack.callback(before.remove)
            after = part.register_forward_hook(self._end, always_call=True)
            stack.callback(after.remove)
        return stack

    def hooked(self, part: nn.Module) -> bool:
        """Whether its calls can be watched: compiled code is what the part around it computes."""
        return not isinstance(part, torch.jit.ScriptModule)

    def called(self, net: nn.Module, images: Tensor) -> object:
        """A network that cannot be watched, as one call."""
        self._begin(net, images)
        made = net(images)
        self._end(net, images, made)
        return made

    def _begin(self, module: nn.Module, _given: object) -> None:
        if self._looking:
            return
        call = Call(self._path(module), module)
        if self._frames:
            above = self._frames[-1]
            above.call.whole = False
            above.called[id(module)] += 1
        self._frames.append(_Frame(call))

    def _end(self, module: nn.Module, given: object, made: object) -> None:
        if self._looking or all(frame.call.module is not module for frame in self._frames):
            return
        while self._frames[-1].call.module is not module:  # what failed within, and was caught
            self._frames.pop()
        call = self._frames.pop().call
        if self._frames and any(True for _ in module.parameters()):
            self._frames[-1].call.added = False  # a layer came after
        tensors = list({id(leaf): leaf for leaf in leaves(made) if isinstance(leaf, Tensor)}.values())
        call.outputs = tuple(tuple(tensor.shape) for tensor in tensors)
        call.output = call.outputs[0] if tensors else ()
        call.added &= len(call.output) == 4
        call.reach = self.reaches.of(tensors[0]) if tensors else None
        call.way = self.longest.of(tensors[0]) if tensors else None
        call.computed |= bool(tensors) and not {id(tensor) for tensor in tensors} <= {
            id(leaf) for leaf in leaves(given)
        }
        call.weight, call.bias = self._shape(module, "weight"), self._shape(module, "bias")
        for parameter in module.parameters(recurse=False):
            self._owners.setdefault(id(parameter), call)
        self.calls.append(call)

    def _path(self, module: nn.Module) -> str:
        """The path by which the running part has the one that it calls; else the first that leads there."""
        if not self._frames:
            return self._paths[id(module)]
        above = self._frames[-1]
        names = [name for name, child in above.call.module._modules.items() if child is module]
        if names:  # the same part under two names: one after the other, as a Sequential calls them
            name = names[min(above.called[id(module)], len(names) - 1)]
        else:
            name = next((name for name, part in above.call.module.named_modules() if part is module), "")
        return ".".join(filter(None, (above.call.path, name))) if name else self._paths[id(module)]

    def _shape(self, module: nn.Module, name: str) -> tuple[int, ...]:
        self._looking = True
        try:
            value = getattr(module, name, None)
        except Exception:  # a property of the module's own
            value = None
        finally:
            self._looking = False
        return tuple(value.shape) if isinstance(value, Tensor) else ()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self._looking:
            return func(*args, **kwargs)
        higher = isinstance(func, HigherOrderOperator)
        if not higher and func._overloadpacket not in flop_registry:
            with self:
                made = func.decompose(*args, **kwargs)
            if made is not NotImplemented:
                return made
        made = func(*args, **kwargs)
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        cost = multiply_adds(func, args, kwargs, made)
        self._note(given, cost)
        if self._frames and (cost != 0 or self._adds_maps(func, given)):
            self._frames[-1].call.added = cost == 0
        self.reaches.note(func, args, kwargs, made)
        self.longest.note(func, given, [leaf for leaf in tree_leaves(made) if isinstance(leaf, Tensor)])
        return made

    def _note(self, given: Sequence[Tensor], cost: int | None) -> None:
        if not self._frames:
            return
        call = self._frames[-1].call
        call.computed = True
        call.multiply_adds = None if cost is None or call.multiply_adds is None else call.multiply_adds + cost
        for tensor in given:
            for parameter in self._stored.get(place_of(tensor) or 0, ()):
                if _overlap(tensor, parameter):
                    self._users.setdefault(id(parameter), call)

    def _adds_maps(self, func: Any, given: Sequence[Tensor]) -> bool:
        """Whether an operation adds two maps of the images, cell by cell."""
        if getattr(getattr(func, "_overloadpacket", func), "__name__", "") not in ("add", "add_"):
            return False
        shapes = {tuple(tensor.shape) for tensor in given if self.longest.of(tensor) is not None and tensor.ndim == 4}
        return len(given) == 2 and len(shapes) == 1 and all(self.longest.of(tensor) is not None for tensor in given)

    def settled(self) -> list[Unused]:
        """Give every parameter to one call, that of the module which has it or else the first that computed with it."""
        unused, given = [], set()
        for path, part in self.root.named_modules():
            left = 0
            for parameter in part.parameters(recurse=False):
                if id(parameter) in given:
                    continue
                given.add(id(parameter))
                call = self._owners.get(id(parameter)) or self._users.get(id(parameter))
                if call is None:
                    left += parameter.numel()
                else:
                    call.parameters += parameter.numel()
            if left:
                unused.append(Unused(path, part, left))
        return unused


def leaves(made: object) -> list[object]:
    """What is in a module's output, however it is wrapped."""
    found = []
    for leaf in tree_leaves(made):
        if is_dataclass(leaf) and not isinstance(leaf, type):
            found += [inner for one in fields(leaf) for inner in leaves(getattr(leaf, one.name))]
        else:
            found.append(leaf)
    return found


def _overlap(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors of one storage have numbers in common, by the span that each takes of it."""
    (a, b), (c, d) = _span(one), _span(other)
    return a < d and c < b


def _span(tensor: Tensor) -> tuple[int, int]:
    begin = tensor.storage_offset() * tensor.element_size()
    reach = sum((side - 1) * step for side, step in zip(tensor.shape, tensor.stride(), strict=True))
    return begin, begin + (reach + 1) * tensor.element_size() if tensor.numel() else begin
