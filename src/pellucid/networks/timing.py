"""How long each layer takes: forward in place, as it computes within the network, and backward by itself."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pellucid.networks.stopwatch import PRODUCT_OPERATIONS, ROWS, seconds_of

BURN_IN = 3


@dataclass(frozen=True)
class LayerTime:
    """Milliseconds a batch: forward in each repeat, backward as a median of its own repeats."""

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
    """Time `layers` of `net`, given as (name, path of the module), on random images."""
    net = net.eval().to(memory_format=torch.channels_last)
    images = torch.randn(batch, 3, size, size).to(memory_format=torch.channels_last)
    modules = dict(net.named_modules())
    stopwatches = {path: _Stopwatch() for _, path in layers if path in modules}
    handles = [handle for path, watch in stopwatches.items() for handle in watch.on(modules[path])]
    whole, peaks = [], []
    matrix = torch.rand(ROWS, ROWS)
    try:
        with torch.inference_mode():
            for repeat in range(-BURN_IN, repeats):
                took = seconds_of(lambda: net(images))
                if repeat >= 0:
                    whole.append(1e3 * took)
                if repeat % 5 == 0:
                    peaks.append(seconds_of(lambda: matrix @ matrix))
    finally:
        for handle in handles:
            handle.remove()
    times = []
    for name, path in layers:
        if path not in stopwatches or not stopwatches[path].seconds:
            continue
        seconds = stopwatches[path].seconds[-repeats:]
        gradients = _backward(modules[path], stopwatches[path].entering, repeats) if backward else None
        times.append(LayerTime(name, tuple(1e3 * one for one in seconds), gradients))
    return Times(tuple(times), percentile(whole, 50), PRODUCT_OPERATIONS / min(peaks), torch.get_num_threads())


class _Stopwatch:
    """Notes what a module's calls take, and what entered the last."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.entering: tuple[Tensor, ...] = ()
        self._began = 0.0

    def on(self, module: nn.Module) -> list[torch.utils.hooks.RemovableHandle]:
        return [module.register_forward_pre_hook(self._begin), module.register_forward_hook(self._end)]

    def _begin(self, _module: nn.Module, given: tuple[Tensor, ...]) -> None:
        self.entering = given
        self._began = time.perf_counter()

    def _end(self, _module: nn.Module, _given: object, _made: object) -> None:
        self.seconds.append(time.perf_counter() - self._began)


def _backward(module: nn.Module, entering: tuple[Tensor, ...], repeats: int) -> float:
    """The milliseconds of the gradients with respect to input and weights, of this module alone; the median."""
    seconds = []
    given = tuple(tensor.clone().requires_grad_() for tensor in entering)
    wanted = [*given, *(parameter for parameter in module.parameters() if parameter.requires_grad)]
    for repeat in range(-1, max(3, repeats // 4)):
        made = module(*(tensor * 1 for tensor in given))  # layers that write in place must not write into a leaf
        loss = made.sum()
        took = seconds_of(lambda: torch.autograd.grad(loss, wanted, allow_unused=True))  # noqa: B023 - used at once
        if repeat >= 0:
            seconds.append(took)
    return 1e3 * percentile(seconds, 50)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` percent of `values` lie."""
    return float(torch.tensor(values, dtype=torch.float64).quantile(share / 100))
