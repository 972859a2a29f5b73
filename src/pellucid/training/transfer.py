"""What is trained and what is frozen. Frozen means frozen: weights, batch-norm statistics, and no dropout there."""

from dataclasses import dataclass

from torch import nn

from pellucid.networks.build import Network, units
from pellucid.training.config import Config


@dataclass(frozen=True)
class Frozen:
    """The modules that keep still while the rest of the network trains."""

    modules: tuple[nn.Module, ...]

    def set_training(self, network: nn.Module) -> None:
        """Put `network` into training mode, and what is frozen into evaluation mode."""
        network.train()
        for module in self.modules:
            module.training = False  # without its parts: each is judged by itself


def freeze(network: Network, config: Config) -> Frozen:
    """Take the gradients from everything that `config` does not train."""
    if config.mode == "probe":
        trained = {id(part) for module in network.head_modules() for part in units(module)}
    elif config.train_from:
        place = network.divided(config.train_from)
        trained = {id(part) for part in (*place.within, *place.after)}
    else:
        return Frozen(())
    for module in units(network):
        if id(module) not in trained:
            for parameter in module.parameters(recurse=False):
                parameter.requires_grad_(False)
    # A container is still when all of its units are: timm's attention asks for its own mode before it drops.
    return Frozen(tuple(m for m in network.modules() if not any(id(part) in trained for part in units(m))))


def parameter_groups(network: nn.Module, *, weight_decay: float, decay_norms: bool) -> list[dict[str, object]]:
    """Trained parameters for the optimiser; biases and norms (one dimension) apart, without decay unless asked."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    plain = [parameter for parameter in trained if parameter.ndim > 1 or decay_norms]
    exempt = [parameter for parameter in trained if not (parameter.ndim > 1 or decay_norms)]
    groups = ((plain, weight_decay), (exempt, 0.0))
    return [{"params": parameters, "weight_decay": decay} for parameters, decay in groups if parameters]
