"""How deep a network is: its layers with weights on the longest way from image to logits, as papers count them."""

from dataclasses import dataclass
from typing import Self

from pellucid.architectures.layers import Branches, Chain, Conv, Layer, Linear, Residual, Separable


@dataclass(frozen=True)
class MainPath:
    """The layers with weights on the longest way through: 49 convolutions and 1 linear of a ResNet-50.

    A projection beside a unit is shorter than the unit, and so is never on it; nor is an auxiliary head.
    """

    convolutions: int = 0
    linear: int = 0

    @property
    def layers(self) -> int:
        return self.convolutions + self.linear

    def then(self, other: Self) -> "MainPath":
        """One after the other."""
        return MainPath(self.convolutions + other.convolutions, self.linear + other.linear)


def longest(*ways: MainPath) -> MainPath:
    """The way with the most layers, the first of several."""
    return max(ways, key=lambda way: way.layers, default=MainPath())


def through(layer: Layer) -> MainPath:
    """The longest way through `layer`."""
    match layer:
        case Conv():
            return MainPath(convolutions=1)
        case Separable():
            return MainPath(convolutions=2)
        case Linear():
            return MainPath(linear=1)
        case Branches(paths=paths):
            return longest(*(through(path) for _, path in paths))
        case Chain(steps=steps):
            return _in_turn(steps)
        case Residual(steps=steps, shortcut=shortcut):
            return longest(_in_turn(steps), MainPath() if shortcut is None else through(shortcut))
    return MainPath()


def _in_turn(steps: tuple[tuple[str, Layer], ...]) -> MainPath:
    whole = MainPath()
    for _, step in steps:
        whole = whole.then(through(step))
    return whole
