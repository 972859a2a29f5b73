"""What every network here can do, whoever defined it, and what it is taken apart into."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from pellucid.architectures.geometry import check_end_point
from pellucid.architectures.layers import Architecture
from pellucid.errors import UserError


@dataclass(frozen=True)
class Divided:
    """A network's units (see `units`) before an end point, of it, and after it, in order."""

    before: tuple[nn.Module, ...]
    within: tuple[nn.Module, ...]
    after: tuple[nn.Module, ...]


def units(module: nn.Module) -> tuple[nn.Module, ...]:
    """Every module inside that has no parts, or that owns tensors besides its parts: taken without its parts.

    A container such as a vision transformer owns a class token, and its blocks are units of their own.
    """
    return tuple(part for part in module.modules() if is_unit(part))


def is_unit(module: nn.Module) -> bool:
    return not any(True for _ in module.children()) or any(True for _ in held(module))


def held(module: nn.Module) -> Iterator[Tensor]:
    """The parameters and buffers that `module` owns itself."""
    yield from module.parameters(recurse=False)
    yield from module.buffers(recurse=False)


class Network(nn.Module, ABC):
    """What every network here can do, whoever defined it.

    `name` and `options` rebuild it: network(name, classes, **options). `end_point_names` are in the order in which
    they are computed and end with PreLogits, Logits, Predictions.
    """

    name: str
    options: dict[str, Any]
    classes: int
    size: int
    end_point_names: tuple[str, ...]
    head_names: tuple[str, ...] = ()
    as_it_comes = False  # somebody made it, and its weights may be of use
    table: Architecture | None = None  # that it was built from; others' networks have none
    sources: Mapping[str, str] = {}
    inside: str = ""  # before the names of its modules and tensors, where it wraps another network

    @property
    def family(self) -> str:
        """Of its table, as catalog.py has families; "" without one."""
        return self.table.family if self.table else ""

    @property
    def inner(self) -> nn.Module:
        """The module whose code computes: itself, or the network that it wraps."""
        return self

    def forward(self, images: Tensor) -> Tensor:
        """float32 (N, 3, H, W) to logits (N, classes)."""
        return self.end_points(images, last="Logits")["Logits"]

    def with_heads(self, images: Tensor) -> tuple[Tensor, ...]:
        """The logits, and those of each auxiliary head: what training minimises a loss of."""
        if not self.head_names:
            return (self(images),)
        found = self.end_points(images, last="Logits")
        return found["Logits"], *(found[name] for name in self.head_names)

    @abstractmethod
    def end_points(self, images: Tensor, last: str | None = None) -> dict[str, Tensor]:
        """Maps by end point in order, up to and with `last` (default: all); what comes after is not computed."""

    def called(self, end_point: str) -> str:
        """The end point that is meant by a name: itself, or the only one that begins so. UserError for none."""
        return check_end_point(self.name, self.end_point_names, end_point)

    @abstractmethod
    def divided(self, end_point: str) -> Divided:
        """The network's modules before `end_point`, of it, and after it: what is frozen, or stays random, by name."""

    @abstractmethod
    def head_modules(self) -> list[nn.Module]:
        """The last linear layer: new where the classes are, and all that a probe trains."""


def check_vectors(network: Network) -> None:
    """UserError for logits that are maps: a loss, and everything that is said of a model, is of (N, classes)."""
    if network.options.get("spatial_squeeze") is False:
        raise UserError(
            f"options.spatial_squeeze false leaves the logits of {network.name} as maps (N, classes, 1, 1)",
            hint="leave it out, here: the weights are the same; structure and network() can show such logits",
        )
