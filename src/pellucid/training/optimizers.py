"""How weights are moved: by torch.optim's functions for SGD with momentum and AdamW; what those remember is kept here.

torch's own classes load its compiler when they are made: three seconds of processor time before the first step.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

Group = dict[str, Any]  # "params": those that it holds; "lr", "weight_decay" and others of its own
Slots = dict[str, Tensor]  # what is remembered of a parameter from step to step, by name


class Optimizer(ABC):
    """Groups of parameters with settings of their own, and what is remembered of each parameter.

    Parameters without a gradient stay as they are, and nothing is remembered of them.
    """

    def __init__(self, groups: Iterable[Mapping[str, Any]], *, rate: float, weight_decay: float = 0.0) -> None:
        self.param_groups: list[Group] = [
            {"lr": rate, "weight_decay": weight_decay, **group, "params": list(group["params"])} for group in groups
        ]
        self.state: dict[Tensor, Slots] = {}

    @torch.no_grad()
    def step(self) -> None:
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            if moved := [parameter for parameter in group["params"] if parameter.grad is not None]:
                self._move(group, moved, [parameter.grad for parameter in moved])

    def zero_grad(self) -> None:
        """Forget the gradients, and the memory that they take."""
        for parameter in self.parameters():
            parameter.grad = None

    def slots(self) -> dict[int, Slots]:
        """What is remembered, by each parameter's place among all; for a checkpoint."""
        return {
            place: self.state[parameter] for place, parameter in enumerate(self.parameters()) if parameter in self.state
        }

    def restore(self, slots: Mapping[int, Slots]) -> None:
        """Remember what `slots` gave, each on its parameter's device. Raises ValueError where they are not of these."""
        parameters = list(self.parameters())
        for place, kept in slots.items():
            if place >= len(parameters) or kept.keys() != set(self.remembers):
                raise ValueError(f"it holds {', '.join(kept)} of parameter {place}, which this optimizer has not")
            parameter = parameters[place]
            for name, tensor in kept.items():
                if name != "step" and tensor.shape != parameter.shape:
                    raise ValueError(
                        f"{name} of parameter {place} is {tuple(tensor.shape)}, not {tuple(parameter.shape)}"
                    )
            self.state[parameter] = {
                name: tensor if name == "step" else tensor.to(parameter.device, parameter.dtype)
                for name, tensor in kept.items()
            }

    def parameters(self) -> Iterator[Tensor]:
        return (parameter for group in self.param_groups for parameter in group["params"])

    @property
    @abstractmethod
    def remembers(self) -> tuple[str, ...]:
        """The names of what is kept of each parameter."""

    @abstractmethod
    def _move(self, group: Group, parameters: list[Tensor], gradients: list[Tensor]) -> None: ...


class SGD(Optimizer):
    """Down the gradient, with what is left of earlier steps; weight decay is part of the gradient."""

    def __init__(
        self, groups: Iterable[Mapping[str, Any]], *, rate: float, momentum: float = 0.0, nesterov: bool = False
    ) -> None:
        super().__init__(groups, rate=rate)
        self.momentum, self.nesterov = momentum, nesterov

    @property
    def remembers(self) -> tuple[str, ...]:
        return ("momentum_buffer",) if self.momentum else ()

    def _move(self, group: Group, parameters: list[Tensor], gradients: list[Tensor]) -> None:
        buffers = [self.state.get(parameter, {}).get("momentum_buffer") for parameter in parameters]
        sgd(
            parameters,
            gradients,
            buffers,
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            momentum=self.momentum,
            nesterov=self.nesterov,
            dampening=0.0,
            maximize=False,
            foreach=True,
        )
        if self.momentum:  # a first step's buffer is made by it
            self.state |= {
                parameter: {"momentum_buffer": buffer} for parameter, buffer in zip(parameters, buffers, strict=True)
            }


class AdamW(Optimizer):
    """Steps as long as the gradient is steady (Kingma and Ba 2015); decay is apart (Loshchilov and Hutter 2019)."""

    def __init__(
        self,
        groups: Iterable[Mapping[str, Any]],
        *,
        rate: float,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
    ) -> None:
        super().__init__(groups, rate=rate, weight_decay=0.01)
        self.betas, self.epsilon = betas, epsilon

    @property
    def remembers(self) -> tuple[str, ...]:
        return ("step", "exp_avg", "exp_avg_sq")

    def _move(self, group: Group, parameters: list[Tensor], gradients: list[Tensor]) -> None:
        for parameter in parameters:
            if parameter not in self.state:
                self.state[parameter] = _nothing_yet(parameter)
        kept = [self.state[parameter] for parameter in parameters]
        first, second = self.betas
        adamw(
            parameters,
            gradients,
            [each["exp_avg"] for each in kept],
            [each["exp_avg_sq"] for each in kept],
            [],
            [each["step"] for each in kept],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            beta1=first,
            beta2=second,
            eps=self.epsilon,
            amsgrad=False,
            maximize=False,
            foreach=True,
        )


def _nothing_yet(parameter: Tensor) -> Slots:
    return {
        "step": torch.tensor(0.0),
        "exp_avg": torch.zeros_like(parameter, memory_format=torch.preserve_format),
        "exp_avg_sq": torch.zeros_like(parameter, memory_format=torch.preserve_format),
    }
