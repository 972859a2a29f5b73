"""Batch norms' running statistics, corrected for their start: of images from the first batch on (decisions/0018)."""

from collections.abc import Iterable
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def fresh_norms(network: nn.Module) -> tuple[str, ...]:
    """The names of batch norms whose statistics are still where they start: mean 0, variance 1, of no image."""
    return tuple(
        name
        for name, module in network.named_modules()
        if isinstance(module, _BatchNorm) and module.momentum and _at_start(module)
    )


class Statistics:
    """The running statistics of the norms of `network` that are called `fresh`.

    They are those of the first batch after it, and keep min(d, (1 + t) / (10 + t)) of themselves at batch t, where d is
    what the norm keeps in the end: the mean of the last tenth of all batches, about, until that is longer than its own
    memory. Nothing is left of the 0 and 1 that they started from.
    Statistics that came with weights are of images, and go on from there.
    """

    def __init__(self, network: nn.Module, fresh: Iterable[str]) -> None:
        norms = [network.get_submodule(name) for name in fresh]
        self._own = {norm: float(norm.momentum) for norm in norms if isinstance(norm, _BatchNorm) and norm.momentum}
        self._seen: dict[_BatchNorm, int] = {}
        self._hooks = [norm.register_forward_pre_hook(self._before) for norm in self._own]

    def _before(self, norm: nn.Module, _: Any) -> None:
        """Which batch it is the norm's own count says at the beginning, or where a resumed run goes on."""
        if isinstance(norm, _BatchNorm) and norm.training:
            if norm not in self._seen:
                self._seen[norm] = int(norm.num_batches_tracked)
            self._seen[norm] += 1
            norm.momentum = momentum_at(self._own[norm], self._seen[norm])

    def leave(self) -> None:
        """Give the norms their own momentum back."""
        for hook in self._hooks:
            hook.remove()
        for norm, own in self._own.items():
            norm.momentum = own


def momentum_at(own: float, batch: int) -> float:
    """How much of batch number `batch` (from 1) gets into statistics of a norm whose momentum is `own`.

    As TensorFlow's ExponentialMovingAverage has it where it is told the number of updates, but for the first.
    """
    return 1.0 if batch == 1 else max(own, 9 / (10 + batch))


def _at_start(norm: _BatchNorm) -> bool:
    mean, variance = norm.running_mean, norm.running_var
    return mean is not None and variance is not None and not mean.any() and bool((variance == 1).all())
