"""How long each layer takes: forward in place, as it computes within the network, and backward by itself."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from pellucid.errors import UserError, counted
from pellucid.inspection.failing import is_of_memory, reason
from pellucid.inspection.stopwatch import PRODUCT_OPERATIONS, ROWS, seconds_of
from pellucid.networks.undisturbed import undisturbed

BURN_IN = 3


@dataclass(frozen=True)
class LayerTime:
    """Milliseconds per batch: forward in each repeat, backward as a median of its own repeats; None where unknown."""

    name: str
    forward: tuple[float, ...]
    backward: float | None


@dataclass(frozen=True)
class Times:
    """`peak`: floating-point operations a second of a matrix product in the same run; `whole`: the network's ms."""

    layers: tuple[LayerTime, ...]
    whole: float
    peak: float
    threads: int

    def median(self, name: str) -> float:
        """The forward milliseconds of the layer `name`; 0 for one that computes nothing."""
        return sum(percentile(layer.forward, 50) for layer in self.layers if layer.name == name)


def layer_times(
    net: nn.Module,
    layers: Sequence[tuple[str, str]],
    *,
    size: int,
    batch: int,
    repeats: int = 20,
    backward: bool = False,
) -> Times:
    """Time `layers` of `net`, given as (name, path of the module), on random images.

    A layer that stands there more than once, under one name or several, is timed each time that it is called, in order.
    Raises UserError where `net` cannot be run on such images.
    """
    parts = [(name, _part(net, path)) for name, path in layers]
    stopwatches = {id(part): _Stopwatch() for _, part in parts if part is not None}
    whole, peaks = [], []
    with undisturbed(net):
        net = net.eval().to(memory_format=torch.channels_last)
        images = torch.randn(batch, 3, size, size).to(memory_format=torch.channels_last)
        matrix = torch.rand(ROWS, ROWS)
        for part in {id(part): part for _, part in parts if part is not None}.values():
            stopwatches[id(part)].on(part)
        try:
            with torch.inference_mode():
                for repeat in range(-BURN_IN, repeats):
                    took = seconds_of(lambda: net(images))
                    if repeat >= 0:
                        whole.append(1e3 * took)
                    if repeat % 5 == 0:
                        peaks.append(seconds_of(lambda: matrix @ matrix))
        except Exception as cause:
            said = f"{counted(batch, 'image')} of {size} x {size} pixels cannot be computed: {reason(cause)}"
            raise UserError(said, hint="a smaller --batch takes less memory" if is_of_memory(cause) else "") from cause
        finally:
            for watch in stopwatches.values():
                watch.off()
        times, met = [], Counter[int]()
        for name, part in parts:
            if part is None or not stopwatches[id(part)].seconds:
                continue
            watch, at = stopwatches[id(part)], met[id(part)]
            met[id(part)] += 1
            calls = len(watch.seconds) // (BURN_IN + repeats)  # in each repeat
            seconds = watch.seconds[min(at, calls - 1) :: calls][BURN_IN:]
            gradients = _backward(part, watch, repeats) if backward else None
            times.append(LayerTime(name, tuple(1e3 * one for one in seconds), gradients))
    return Times(tuple(times), percentile(whole, 50), PRODUCT_OPERATIONS / min(peaks), torch.get_num_threads())


def _part(net: nn.Module, path: str) -> nn.Module | None:
    try:
        return net.get_submodule(path)
    except AttributeError:
        return None


class _Stopwatch:
    """Notes what a module's calls take, and what entered the last."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.entering: tuple[Any, ...] = ()
        self.named: dict[str, Any] = {}
        self._began = 0.0
        self._handles: list[torch.utils.hooks.RemovableHandle] = []

    def on(self, module: nn.Module) -> None:
        self._handles.append(module.register_forward_pre_hook(self._begin, with_kwargs=True))
        self._handles.append(module.register_forward_hook(self._end))

    def off(self) -> None:
        for handle in self._handles:
            handle.remove()

    def _begin(self, _module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        self.entering, self.named = given, named
        self._began = time.perf_counter()

    def _end(self, _module: nn.Module, _given: object, _made: object) -> None:
        self.seconds.append(time.perf_counter() - self._began)


def _backward(module: nn.Module, watch: _Stopwatch, repeats: int) -> float | None:
    """The milliseconds of the gradients with respect to inputs and weights, of this module alone; the median.

    None for a module whose output no gradient comes from.
    """
    seconds: list[float] = []
    leaves, form = tree_flatten((watch.entering, watch.named))
    given = [leaf.clone() if isinstance(leaf, Tensor) else leaf for leaf in leaves]
    wanted = [leaf.requires_grad_() for leaf in given if isinstance(leaf, Tensor) and leaf.is_floating_point()]
    wanted += [parameter for parameter in module.parameters() if parameter.requires_grad]
    for repeat in range(-1, max(3, repeats // 4)):
        # Layers that write in place must not write into a leaf.
        entering, named = tree_unflatten([one * 1 if isinstance(one, Tensor) else one for one in given], form)
        made = [leaf for leaf in tree_leaves(module(*entering, **named)) if isinstance(leaf, Tensor)]
        sums = [leaf.sum() for leaf in made if leaf.requires_grad]
        if not sums or not wanted:
            return None
        loss = torch.stack(sums).sum()
        took = seconds_of(lambda: torch.autograd.grad(loss, wanted, allow_unused=True))  # noqa: B023 - used at once
        if repeat >= 0:
            seconds.append(took)
    return 1e3 * percentile(seconds, 50)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` percent of `values` lie."""
    return float(torch.tensor(values, dtype=torch.float64).quantile(share / 100))
