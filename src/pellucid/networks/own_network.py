"""One's own module behind the interface of every network: looked at once, refused in plain words where it does not fit.

End points are its modules by name, in the order in which they compute; what it is, and what a file says it was, is
compared by content (networks/own.py).
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from traceback import walk_tb
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from pellucid.architectures.layers import Architecture
from pellucid.architectures.options import check_options
from pellucid.architectures.written import to_text
from pellucid.errors import UserError, listed
from pellucid.networks.network import Divided, Network, is_unit
from pellucid.networks.own import Own, all_named, made, named, theirs, unnamed
from pellucid.networks.own_code import changes, contents, unreadable, whole
from pellucid.networks.table_network import written_network
from pellucid.networks.wrapped import ENDS, Reached, WrappedNetwork, opened

USUAL_SIZE = 224  # where neither the user nor the module says one
TRIED_SIZES = (28, 32, 48, 64, 96, 112, 128, 160, 192, 224, 256, 288, 299, 320, 384, 448, 512)
IDLE = (nn.Identity, nn.Dropout, nn.Dropout2d)  # nothing is computed in evaluation
LOOKED_AT = 2  # images, so that the first axis can be told from others
ALIKE = 1e-4  # of the largest logit: what the order in memory may change


def own_network(
    name: str, classes: int, *, size: int | None = None, code: dict[str, Any] | None = None, **options: Any
) -> Network:
    """The network that somebody named as `name`; or, where a file says which `code` it was, the named one that is it.

    Raises UserError where it has not been named, or is another than the file's.
    """
    if code is None:
        return _of(named(name), classes, size=size, options=options)
    refused: list[UserError] = []
    for own in sorted(all_named(), key=lambda one: one.where != name):  # as named, the last first
        try:
            net = _of(own, classes, size=size, options=options)
            found: dict[str, Any] = net.options["code"] if isinstance(net, OwnNetwork) else {"sha256": "", "parts": {}}
            why = changes(code["parts"], found["parts"])
            if found["sha256"] == code["sha256"]:
                net.name = name
                return net
        except UserError as cause:
            why = [cause.problem, *cause.details]
        hint = "name it as it was (a run folder keeps a copy of its file), or train again"
        refused.append(UserError(f"{own.where} is not the {name} that was trained", listed(why, 4), hint=hint))
    raise refused[0] if refused else unnamed(name)


def _of(own: Own, classes: int, *, size: int | None, options: dict[str, Any]) -> Network:
    """What was named, for so many classes: a table built, a module copied, or made by its class or function."""
    given = own.content()
    if not isinstance(given, Architecture):
        given = bare(own, classes, size=size, options=options)
    if isinstance(given, Architecture):
        rest = options if given is own.given else {}
        check_options(given.name, rest)
        return written_network(to_text(given), classes, size=size, **rest)
    module = _copied(given, own.where) if given is own.given else given
    if isinstance(module, Network):
        return _as_it_is(module, classes, size=size)
    return OwnNetwork(module, own.where, classes, size=size or _said_size(module), options=options)


def bare(own: Own, classes: int, *, size: int | None, options: dict[str, Any]) -> nn.Module | Architecture:
    """The module or table that was named, made for so many classes unless it is one: not copied, and not looked at."""
    given = own.content()
    if isinstance(given, nn.Module | Architecture):
        if options:
            raise UserError(f"{own.where} is there already: {', '.join(options)} cannot be set any more")
        return given
    thing = made(own, classes, size=size or _said_size(given), options=options)
    if not isinstance(thing, nn.Module | Architecture):
        raise UserError(
            f"{own.where} gives {_kind(thing)}, and no network", hint="let it return an nn.Module, or a table"
        )
    return thing


def _copied(module: nn.Module, where: str) -> nn.Module:
    try:
        return deepcopy(module)
    except Exception as cause:
        raise theirs(
            f"{where} cannot be copied", cause, hint="give the class, or a function of the number of classes"
        ) from cause


def _said_size(module: Any) -> int:
    said = getattr(module, "size", None)
    return said if isinstance(said, int) and said > 0 else USUAL_SIZE


def _as_it_is(net: Network, classes: int, *, size: int | None) -> Network:
    """A network of ours that somebody made, with the weights that it has."""
    if net.classes != classes or size not in (None, net.size):
        raise UserError(
            f"this {net.name} is for {net.classes} outputs and {net.size} pixels, and {classes} outputs"
            f" and {size or net.size} pixels are wanted",
            hint=f"network({net.name!r}, {classes}, size={size or net.size})",
        )
    net.as_it_comes = True
    return net


class OwnNetwork(WrappedNetwork):
    """A module that is no one's but the user's. Its end points are its modules that are called once and give a tensor,
    containers taken apart; any other module's name says where to train from as well.
    """

    def __init__(self, module: nn.Module, where: str, classes: int, *, size: int, options: dict[str, Any]) -> None:
        super().__init__()
        self.name, self.classes, self.size, self.as_it_comes = where, classes, size, True
        self.model = module.to("cpu", torch.float32)
        images = torch.randn(LOOKED_AT, 3, size, size, generator=torch.Generator().manual_seed(0))
        seen, logits = self._looked_at(images)
        self._head = _head(where, self.model, seen)
        _check_logits(where, logits, seen.vectors.get(self._head), classes, self._head, self.model)
        self._check_training(images)
        self._order = _order(self.model, seen)
        self.end_point_names = (*_end_points(self.model, seen, self._head), *ENDS)
        # What a later layer writes over in place is no longer what left an end point.
        self._in_place = any(getattr(part, "inplace", False) for part in self.model.modules())
        self._check_layout(images, logits)
        parts = contents(self.model)
        self.options = options | {"size": size, "code": {"path": where, "sha256": whole(parts), "parts": parts}}

    @property
    def unreadable(self) -> list[str]:
        """The classes whose source cannot be found."""
        return unreadable(self.options["code"]["parts"])

    def forward(self, images: Tensor) -> Tensor:
        with _told(self.name, self.model, images), _AnyView():
            logits: Tensor = self.model(images)
            return logits

    def seen(self, value: Tensor) -> Tensor:
        return value.clone() if self._in_place else value

    def head_modules(self) -> list[nn.Module]:
        return [self.model.get_submodule(self._head)]

    def body(self) -> list[tuple[str, nn.Module]]:
        """In the order in which they are first called."""
        return [(name, self.model.get_submodule(name)) for name in self._order if name != self._head]

    def called(self, end_point: str) -> str:
        """Any module that computes may be meant, by its whole name."""
        inside = any(_within(name, end_point) for name in (*self._order, self._head))
        return end_point if inside else super().called(end_point)

    def divided(self, end_point: str) -> Divided:
        """By an end point's name, or that of any module: a container, a layer inside a block."""
        if end_point in self.end_point_names:
            return super().divided(end_point)
        body, heads = self.body(), self.heads()
        inside = [at for at, (name, _) in enumerate(body) if _within(name, end_point)]
        if _within(self._head, end_point):
            first, end, trained = (inside[0] if inside else len(body)), len(body), heads
        elif inside:
            first, end, trained = inside[0], inside[-1] + 1, ()
        else:
            return super().divided(end_point)  # by its beginning, or it is refused
        modules = tuple(module for _, module in body)
        after = () if trained else (*modules[end:], *heads)
        return Divided(modules[:first], (*modules[first:end], *trained), after)

    def _looked_at(self, images: Tensor) -> "tuple[_Seen, Any]":
        """What is called, and what comes out, for a few random images in evaluation mode."""
        seen = _Seen()
        handles = [handle for name, part in self.model.named_modules() for handle in seen.on(name, part)]
        try:
            with torch.no_grad(), _told(self.name, self.model, images, tried=True):
                return seen, self.model.eval()(images)
        finally:
            for handle in handles:
                handle.remove()

    def _check_training(self, images: Tensor) -> None:
        """Refuse what fails, or gives something else, in training mode."""
        copy = _copied(self.model, self.name).train()
        with torch.no_grad(), torch.random.fork_rng(devices=[]), _told(self.name, copy, images, tried=True):
            given = copy(images)
        if not isinstance(given, Tensor):
            raise UserError(
                f"in training, {self.name} gives {_kind(given)}, and no tensor of logits",
                hint="let forward return the logits alone, also where self.training is set",
            )
        state = self.model.state_dict()
        if odd := [name for name, value in state.items() if not isinstance(value, Tensor)]:
            raise UserError(f"{odd[0]} of {self.name} is no tensor, and a model file holds nothing else")
        if not any(parameter.requires_grad for parameter in self.model.parameters()):
            raise UserError(
                f"no weight of {self.name} can be trained: all have requires_grad False",
                hint="leave freezing to mode and train_from",
            )

    def _check_layout(self, images: Tensor, logits: Tensor) -> None:
        """Refuse what computes something else where channels come last in memory, which is quicker."""
        copy = _copied(self.model, self.name).to(memory_format=torch.channels_last)
        with torch.no_grad(), _told(self.name, copy, images), _AnyView():
            given = copy(images.to(memory_format=torch.channels_last))
        if not torch.allclose(given, logits, rtol=0, atol=ALIKE * max(1.0, float(logits.abs().max()))):
            raise UserError(
                f"{self.name} computes by the order of its numbers in memory, or at random in evaluation mode",
                hint="write reshape and permute in place of as_strided, and draw at random only in training",
            )


@dataclass
class _Seen:
    """What was called: when first, when last left, how often, and which shape came out."""

    begun: dict[str, int] = field(default_factory=dict)
    left: dict[str, int] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)  # of single tensors
    vectors: dict[str, Tensor] = field(default_factory=dict)  # what linear layers made
    _time: int = 0

    def on(self, name: str, module: nn.Module) -> list[torch.utils.hooks.RemovableHandle]:
        def begin(_module: nn.Module, _given: object) -> None:
            self._time += 1
            self.begun.setdefault(name, self._time)
            self.calls[name] += 1

        def leave(module: nn.Module, _given: object, made: object) -> None:
            self._time += 1
            self.left[name] = self._time
            if isinstance(made, Tensor):
                self.shapes[name] = tuple(made.shape)
                if isinstance(module, nn.Linear):
                    self.vectors[name] = made

        return [module.register_forward_pre_hook(begin), module.register_forward_hook(leave)]


def _head(where: str, model: nn.Module, seen: _Seen) -> str:
    """The name of the last linear layer; UserError where what computes last is none."""
    weighed = [
        name
        for name, part in model.named_modules()
        if name in seen.begun and any(True for _ in part.parameters(recurse=False))
    ]
    hint = "end it with torch.nn.Linear(features, classes): it is what a probe learns"
    if not weighed:
        raise UserError(f"{where} calls no layer that has weights of its own", hint=hint)
    last = max(weighed, key=seen.begun.__getitem__)
    layer = model.get_submodule(last)
    if not isinstance(layer, nn.Linear):
        found = f"{last} ({type(layer).__name__})" if last else "the module itself"
        raise UserError(f"{where} has no linear layer at its end: what has weights there is {found}", hint=hint)
    if seen.calls[last] > 1 or not isinstance(layer.weight, nn.Parameter):
        how = "called more than once" if seen.calls[last] > 1 else "parametrised"
        raise UserError(f"the last linear layer of {where}, {last}, is {how}", hint=hint)
    return last


def _check_logits(where: str, logits: Any, made: Tensor | None, classes: int, head: str, model: nn.Module) -> None:
    """Refuse what is no tensor of logits (N, classes), just as the last linear layer made them."""
    if not isinstance(logits, Tensor):
        raise UserError(
            f"{where} gives {_kind(logits)}, and no tensor of logits",
            hint="let forward return the logits alone, (images, classes)",
        )
    assert made is not None
    outputs = tuple(made.shape[1:])
    if made.ndim != 2 or made.shape[0] != LOOKED_AT:
        raise UserError(
            f"the last linear layer of {where}, {head}, gives {_shape(made)} for {LOOKED_AT} images: no row an image",
            hint="average what enters it, or flatten it with x.flatten(1)",
        )
    if logits.shape != made.shape or not torch.equal(logits, made):
        after = _named_change(made, logits)
        raise UserError(
            f"{where} does not end with its last linear layer, {head}: {after} comes after it",
            hint="return what it gives: the loss has a softmax of its own, and predictions have theirs",
        )
    if outputs != (classes,):
        layer = model.get_submodule(head)
        wanted = f"{classes} classes" if classes > 1 else "one logit"
        raise UserError(
            f"{where} has {outputs[0]} outputs, for {wanted}",
            hint=f"{head} = torch.nn.Linear({layer.in_features}, {classes}); a class or function can take `classes`",
        )


def _named_change(made: Tensor, logits: Tensor) -> str:
    """What leads from one to the other, where it is one of the usual."""
    if made.shape == logits.shape:
        usual = {"softmax": made.softmax(1), "log_softmax": made.log_softmax(1), "sigmoid": made.sigmoid()}
        usual |= {"ReLU": made.relu(), "tanh": made.tanh()}
        for name, values in usual.items():
            if torch.allclose(values, logits, atol=1e-6):
                return name
        return "something"
    return f"something that makes {_shape(logits)} of {_shape(made)}"


def _end_points(model: nn.Module, seen: _Seen, head: str) -> list[str]:
    """Modules that are called once and give a tensor with one row per image, before the head, in order."""
    found = [
        name
        for name, part in opened(model)
        if seen.calls[name] == 1
        and len(seen.shapes.get(name, ())) > 1
        and seen.shapes[name][0] == LOOKED_AT
        and seen.left[name] < seen.begun[head]
        and not isinstance(part, IDLE)
    ]
    return sorted(found, key=seen.left.__getitem__)


def _order(model: nn.Module, seen: _Seen) -> tuple[str, ...]:
    """All units by name in the order of their first call; one that is never called itself lies after its neighbour."""
    when, last = {}, 0
    for name, part in model.named_modules():
        if is_unit(part):
            last = when[name] = seen.begun.get(name, last)
    return tuple(sorted(when, key=when.__getitem__))


def _within(name: str, place: str) -> bool:
    return name == place or name.startswith(f"{place}.")


class _AnyView(TorchFunctionMode):
    """`view` works on numbers in any order in memory, as `reshape` does: here channels may come last."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.view and not (len(args) > 1 and isinstance(args[1], torch.dtype)) and not kwargs:
            return args[0].reshape(*args[1:])
        if func is Tensor.view_as:
            return args[0].reshape(args[1].shape)
        return func(*args, **(kwargs or {}))


@contextmanager
def _told(where: str, model: nn.Module, images: Tensor, *, tried: bool = False) -> Iterator[None]:
    """An error in somebody's own code, in plain words: where, which layer, what to do. `tried`: it may be the size."""
    try:
        yield
    except (Reached, UserError, torch.OutOfMemoryError):
        raise
    except Exception as cause:
        side = images.shape[-1]
        place = _place(model, cause)
        at = f" at {place}" if place else ""
        hint = ""
        if tried:
            hint = size_hint(model, side)
        if "BFloat16" in str(cause) or "dtype" in str(cause):
            hint = hint or "--machine.precision float32, where it knows no other numbers"
        hint = hint or f"it is given float32 ({images.shape[0]}, 3, {side}, {side}), and nothing else"
        raise theirs(f"{where} fails{at} on images of {side} x {side} pixels", cause, hint=hint) from cause


def _place(model: nn.Module, cause: BaseException) -> str:
    """The innermost module that the error went through."""
    names = {id(part): name for name, part in model.named_modules()}
    found = ""
    for frame, _ in walk_tb(cause.__traceback__):
        found = names.get(id(frame.f_locals.get("self")), "") or found
    return found


def size_hint(model: nn.Module, side: int) -> str:
    """The nearest size of images that it takes, where it fails on those of `side` pixels; "" where there is none."""
    works = [size for size in TRIED_SIZES if size != side and _runs(model, size)]
    nearest = sorted(works, key=lambda size: abs(size - side))[:1]
    return f"it takes images of {nearest[0]}: --size {nearest[0]}" if nearest else ""


def _runs(model: nn.Module, size: int) -> bool:
    """Whether it takes images of that size, tried without computing anything."""
    try:
        copy = deepcopy(model).to("meta")
        with torch.no_grad():
            copy(torch.zeros(LOOKED_AT, 3, size, size, device="meta"))
    except Exception:
        return False
    return True


def _kind(value: Any) -> str:
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    if value is None:
        return "nothing (None)"
    return f"a {type(value).__name__}"


def _shape(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))
