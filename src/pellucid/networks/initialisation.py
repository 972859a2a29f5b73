"""How the weights of a network that is defined here begin, before anything is learned."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pellucid.errors import UserError


def check_initialisation(name: str, head: str | None) -> None:
    """Raises UserError where nobody knows how that is; without `head` the last layer begins as the others do."""
    if name not in INITIALISATIONS:
        raise UserError(f"there is no initialisation {name!r}", hint=f"there are {', '.join(INITIALISATIONS)}")
    if head not in (None, *HEADS_OWN):
        raise UserError(
            f"there is no head_initialisation {head!r}",
            hint=f"there are {', '.join(HEADS_OWN)}; without it the last layer begins as initialisation has it",
        )


def _he(net: nn.Module) -> None:
    """He's normal, fan-out, for convolutions (arXiv:1502.01852); norms one and zero; linear layers N(0, 0.01)."""
    for module in net.modules():
        match module:
            case nn.Conv2d():
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            case nn.BatchNorm2d():
                if module.weight is not None:
                    nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)
            case nn.Linear():
                nn.init.normal_(module.weight, 0, 0.01)
                nn.init.zeros_(module.bias)


def _tf_slim(net: nn.Module) -> None:
    """TF-Slim's argument scope: normal cut at two deviations of 0.1, in auxiliary heads 0.01 and at last 0.001."""
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            head = name.startswith("AuxLogits")
            spread = 0.001 if head and isinstance(module, nn.Linear) else 0.01 if head and "2a" in name else 0.1
            _cut_normal(module.weight, spread)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()


@torch.no_grad()
def _cut_normal(weight: Tensor, spread: float) -> None:
    """Normal values of that deviation, those beyond two of it drawn again: torch's own draws all of them again."""
    values = weight.normal_(0, spread).view(-1)
    far = (values.abs() > 2 * spread).nonzero().squeeze(1)
    while len(far):
        values[far] = drawn = torch.randn(len(far), device=values.device) * spread
        far = far[drawn.abs() > 2 * spread]


def _as_made(net: nn.Module) -> None:
    """As torch makes each layer: uniform within 1 / sqrt(inputs), biases too; norms one and zero."""


def _uniform(layer: nn.Linear) -> None:
    """Weights uniform within 1 / sqrt(inputs), biases zero, as the Paddle tutorial's last layer begins."""
    bound = layer.in_features**-0.5
    nn.init.uniform_(layer.weight, -bound, bound)
    nn.init.zeros_(layer.bias)


INITIALISATIONS = {"he": _he, "tf-slim": _tf_slim, "torch": _as_made}
# Beginnings of the last layer alone.
HEADS_OWN: dict[str, Callable[[nn.Linear], None]] = {"uniform": _uniform, "torch": nn.Linear.reset_parameters}
