"""What is trained and what is frozen. Frozen means frozen: weights, batch-norm statistics, and no dropout there."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pellucid.errors import UserError, listed
from pellucid.networks.network import Network, held, units
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


def _trained(network: Network, config: Config) -> set[int]:
    """The ids of the units that `config` trains."""
    if config.mode == "probe":
        return {id(part) for module in network.head_modules() for part in units(module)}
    if config.train_from:
        place = network.divided(config.train_from)
        return {id(part) for part in (*place.within, *place.after)}
    return {id(part) for part in units(network)}


def frozen_at_random(network: Network, config: Config, left_random: Collection[str]) -> tuple[list[str], list[str]]:
    """What of `left_random`, by our names, is frozen for good; and statistics of norms that are kept unmeasured."""
    trained = _trained(network, config)
    still = {id(tensor) for unit in units(network) if id(unit) not in trained for tensor in held(unit)}
    norms = [unit for unit in units(network) if isinstance(unit, _BatchNorm)] if config.learning.norms == "kept" else []
    unmeasured = {id(tensor) for norm in norms for tensor in norm.buffers(recurse=False)}
    ours = dict(network.named_parameters()) | dict(network.named_buffers())
    frozen = [name for name in left_random if id(ours[name]) in still]
    return frozen, [name for name in left_random if id(ours[name]) in unmeasured]


def check_frozen(network: Network, config: Config, left_random: Collection[str]) -> None:
    """UserError where something is frozen for good that the weights left random: it would never learn."""
    frozen, kept = frozen_at_random(network, config, left_random)
    if frozen:
        ours = dict(network.named_parameters()) | dict(network.named_buffers())
        first = _home(network, ours[frozen[0]])
        hint = f"--mode finetune --train-from {first} trains them" if first else "--mode finetune trains all"
    elif kept:
        hint = "--learning.norms learned measures them"
    else:
        return
    raise UserError(
        f"{config.weights} leaves parts of {network.name} random that would be frozen, and never learn",
        listed(frozen or kept, 3),
        hint=hint,
    )


def _home(network: Network, tensor: Tensor) -> str | None:
    """The end point that computes with `tensor`; None where it lies between two."""
    for name in network.end_point_names:
        if any(tensor is one for unit in network.divided(name).within for one in held(unit)):
            return name
    return None


def freeze(network: Network, config: Config) -> Frozen:
    """Take the gradients from everything that `config` does not train."""
    trained = _trained(network, config)
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
