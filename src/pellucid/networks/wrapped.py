"""A network that is defined elsewhere, behind the same interface: its end points are modules inside it, by name."""

from collections.abc import Iterator

from torch import Tensor, nn

from pellucid.networks.network import Divided, Network, is_unit, units

ENDS = ("PreLogits", "Logits", "Predictions")


class WrappedNetwork(Network):
    """Holds the other network as `model`; end points are seen by hooks, and PreLogits is what the head is given."""

    model: nn.Module
    inside = "model."

    @property
    def inner(self) -> nn.Module:
        return self.model

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images)

    def end_points(self, images: Tensor, last: str | None = None) -> dict[str, Tensor]:
        """Maps by end point; PreLogits is what the classifier is given."""
        if last is not None:
            last = super().called(last)
        found: dict[str, Tensor] = {}

        def keep(place: str, value: Tensor) -> None:
            found[place] = self.seen(value)
            if place == last:
                raise Reached

        hooks = [
            self.model.get_submodule(place).register_forward_hook(
                lambda _module, _inputs, output, place=place: keep(place, output)
            )
            for place in self.end_point_names[: -len(ENDS)]
        ]
        hooks.append(
            self.head_modules()[0].register_forward_pre_hook(lambda _module, inputs: keep("PreLogits", inputs[0]))
        )
        try:
            logits = self(images)
        except Reached:
            return found
        finally:
            for hook in hooks:
                hook.remove()
        found["Logits"] = logits
        if last != "Logits":
            found["Predictions"] = logits.sigmoid() if self.classes == 1 else logits.softmax(dim=1)
        return found

    def seen(self, value: Tensor) -> Tensor:
        """What is kept of an end point's output."""
        return value

    def body(self) -> list[tuple[str, nn.Module]]:
        """The units besides the head, with their names inside `model`, in the order in which they are divided."""
        head = {id(part) for module in self.head_modules() for part in units(module)}
        return [
            (name, module) for name, module in self.model.named_modules() if is_unit(module) and id(module) not in head
        ]

    def heads(self) -> tuple[nn.Module, ...]:
        """The units of the head."""
        return tuple(part for module in self.head_modules() for part in units(module))

    def divided(self, end_point: str) -> Divided:
        """By the order of `body`; PreLogits lies between the last end point before it and the head."""
        end_point = super().called(end_point)
        *features, _, _, _ = self.end_point_names
        body, heads = self.body(), self.heads()
        place = end_point if end_point in features else features[-1] if features else ""
        first, end = span([name for name, _ in body], place) if place else (0, 0)
        modules = tuple(module for _, module in body)
        match end_point:
            case "PreLogits":
                return Divided(modules[:end], modules[end:], heads)
            case "Logits":
                return Divided(modules, heads, ())
            case "Predictions":
                return Divided((*modules, *heads), (), ())
        return Divided(modules[:first], modules[first:end], (*modules[end:], *heads))


def opened(module: nn.Module, place: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Children by name; containers, which only hold others in a row, are taken apart."""
    for name, child in module._modules.items():  # a child that has two names by both
        if type(child) in (nn.Sequential, nn.ModuleList, nn.ModuleDict):
            yield from opened(child, f"{place}{name}.")
        elif child is not None:
            yield place + name, child


class Reached(Exception):
    """The last end point that was asked for has been computed."""


def span(names: list[str], place: str) -> tuple[int, int]:
    """Where the modules at and inside `place` begin and end in `names`."""
    inside = [index for index, name in enumerate(names) if name == place or name.startswith(f"{place}.")]
    return inside[0], inside[-1] + 1
