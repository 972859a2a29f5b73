"""What is trained and what is frozen. Frozen means frozen: weights, batch-norm statistics, and no dropout there."""

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

from pellucid.networks.build import Network
from pellucid.training.config import Config


@dataclass(frozen=True)
class Frozen:
    """The modules that keep still while the rest of the network trains."""

    modules: tuple[nn.Module, ...]

    def set_training(self, network: nn.Module) -> None:
        """Put `network` into training mode, and what is frozen into evaluation mode."""
        network.train()
        for module in self.modules:
            module.eval()


def freeze(network: Network, config: Config) -> Frozen:
    """Take the gradients from everything that `config` does not train."""
    if config.mode == "probe":
        modules = _all_but(network, network.head_modules())
    elif config.train_from:
        modules = tuple(network.modules_before(config.train_from))
    else:
        modules = ()
    for module in modules:
        module.requires_grad_(False)
    return Frozen(modules)


def _all_but(network: nn.Module, kept: Iterable[nn.Module]) -> tuple[nn.Module, ...]:
    """The largest modules that hold nothing of `kept`."""
    inside = {id(module) for root in kept for module in root.modules()}

    def pick(module: nn.Module) -> Iterable[nn.Module]:
        if id(module) in inside:
            return
        if not any(id(part) in inside for part in module.modules()):
            yield module
            return
        for child in module.children():
            yield from pick(child)

    return tuple(pick(network))


def parameter_groups(network: nn.Module, *, weight_decay: float, decay_norms: bool) -> list[dict[str, object]]:
    """Trained parameters for the optimiser; biases and norms (one dimension) apart, without decay unless asked."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    plain = [parameter for parameter in trained if parameter.ndim > 1 or decay_norms]
    exempt = [parameter for parameter in trained if not (parameter.ndim > 1 or decay_norms)]
    groups = ((plain, weight_decay), (exempt, 0.0))
    return [{"params": parameters, "weight_decay": decay} for parameters, decay in groups if parameters]
