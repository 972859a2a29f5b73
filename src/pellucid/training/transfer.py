"""What is trained and what is frozen. Frozen means frozen: weights, batch-norm statistics, and no dropout there."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pellucid.networks.build import Network, units
from pellucid.training.config import Config


@dataclass(frozen=True)
class Frozen:
    """The modules that keep still while the rest of the network trains; and what does so in the first epochs only."""

    modules: tuple[nn.Module, ...]
    slowly: tuple[tuple[nn.Module, float], ...] = ()  # with the epoch in which each begins to be trained

    def set_training(self, network: nn.Module, *, epoch: int) -> None:
        """Put `network` into training mode, and what is frozen into evaluation mode."""
        network.train()
        for module in self.modules:
            module.training = False  # without its parts: each is judged by itself
        for module, begins in self.slowly:
            for parameter in module.parameters(recurse=False):
                parameter.requires_grad_(epoch >= begins)
            module.training = module.training and epoch >= begins


def freeze(network: Network, config: Config) -> Frozen:
    """Take the gradients from everything that `config` does not train."""
    if config.mode == "probe":
        trained = {id(part) for module in network.head_modules() for part in units(module)}
    elif config.train_from:
        place = network.divided(config.train_from)
        trained = {id(part) for part in (*place.within, *place.after)}
    else:
        trained = {id(part) for part in units(network)}
    for module in units(network):
        if id(module) not in trained:
            for parameter in module.parameters(recurse=False):
                parameter.requires_grad_(False)
    # A container is still when all of its units are: timm's attention asks for its own mode before it drops.
    still = [m for m in network.modules() if not any(id(part) in trained for part in units(m))]
    if config.learning.norms == "kept":
        still += [module for module in network.modules() if isinstance(module, _BatchNorm)]
    if not (epochs := config.learning.unfreeze):
        return Frozen(tuple(still))
    along = depths(network)
    slowly = [(unit, epochs * (1 - along[id(unit)])) for unit in units(network) if id(unit) in trained]
    return Frozen(tuple(still), tuple(slowly))


def last_stage(network: Network, images: Tensor) -> str | None:
    """The end point from which on all maps are as small as the last one, or three quarters down where all are alike.

    `images` (N, 3, S, S), on the device of the network; None where that is nothing or everything before the head.
    """
    network.eval()
    with torch.inference_mode():
        made = network.end_points(images, last="PreLogits")
    names = [name for name in network.end_point_names[: network.end_point_names.index("PreLogits")] if name in made]
    sides = [made[name].shape[2:] if made[name].ndim == 4 else None for name in names]
    first = next((number for number, side in enumerate(sides) if side is not None and side == sides[-1]), 0)
    place = first if sides[-1] is not None and first else 3 * len(names) // 4
    return names[place] if 0 < place < len(names) else None


def depths(network: Network) -> dict[int, float]:
    """How far along each module lies, by id: from 0 at the first end point to 1 at the head (and heads beside it)."""
    names = network.end_point_names[: network.end_point_names.index("Logits") + 1]
    found: dict[int, float] = {}
    for number, name in enumerate(names):
        place = network.divided(name)
        for module in (*place.before, *place.within):
            found.setdefault(id(module), number / max(1, len(names) - 1))
    return {id(unit): found.get(id(unit), 1.0) for unit in units(network)}


def parameter_groups(
    network: Network, *, weight_decay: float, decay_norms: bool, input_rate: float
) -> list[dict[str, Any]]:
    """Trained parameters for the optimiser; biases and norms (one dimension) apart, without decay unless asked.

    `share`: of the rate that each group takes, from `input_rate` at the first end point to 1 at the head, by equal
    factors (discriminative rates: Howard and Ruder 2018, arXiv:1801.06146, section 3.2).
    """
    along = depths(network)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for unit in units(network):
        share = input_rate ** (1 - along[id(unit)])
        for parameter in unit.parameters(recurse=False):
            if parameter.requires_grad:
                decay = weight_decay if parameter.ndim > 1 or decay_norms else 0.0
                groups.setdefault((share, decay), []).append(parameter)
    return [
        {"params": parameters, "weight_decay": decay, "share": share} for (share, decay), parameters in groups.items()
    ]
