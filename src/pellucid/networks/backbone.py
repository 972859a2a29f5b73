"""Any timm network by name, behind the same interface. Importing timm takes long; only what is asked for pays it."""

from typing import Any

import timm
import torch
from torch import Tensor, nn

from pellucid.architectures.geometry import check_end_point
from pellucid.errors import UserError, nearest
from pellucid.images.preprocessing import INTERPOLATIONS, Preprocessing
from pellucid.networks.build import TIMM, Network

ENDS = ("PreLogits", "Logits", "Predictions")


class TimmNetwork(Network):
    """A timm model; its end points are timm's own feature names, then PreLogits, Logits and Predictions."""

    def __init__(self, name: str, classes: int, *, size: int | None = None, dropout: float | None = None) -> None:
        super().__init__()
        if classes < 1:
            raise UserError(f"{name} needs at least 1 class, not {classes}")
        bare = known_name(name)
        settings: dict[str, Any] = {"num_classes": classes} | ({} if dropout is None else {"drop_rate": dropout})
        self.model = timm.create_model(bare, pretrained=False, **settings)
        self.name, self.classes, self.options = name, classes, {"size": size, "dropout": dropout}
        self.size = self.model.pretrained_cfg["input_size"][-1] if size is None else size
        features: Any = getattr(self.model, "feature_info", None) or []
        found = [item["module"] for item in features] if isinstance(features, list) else features.module_name()
        for module in self.head_modules():
            # timm draws a head of few classes so widely that the loss starts at 4; here all heads start small.
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, 0.01)
                nn.init.zeros_(module.bias)
        # Modules that are named more than once, or not at all, are no vocabulary.
        self.end_point_names = (*dict.fromkeys(place for place in found if place), *ENDS)

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images)

    def end_points(self, images: Tensor, last: str | None = None) -> dict[str, Tensor]:
        if last is not None:
            check_end_point(self.name, self.end_point_names, last)
        found: dict[str, Tensor] = {}
        wanted = {place: self.model.get_submodule(place) for place in self.end_point_names[: -len(ENDS)]}

        def keep(place: str) -> Any:
            def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
                found[place] = output
                if place == last:
                    raise _Reached

            return hook

        hooks = [module.register_forward_hook(keep(place)) for place, module in wanted.items()]
        try:
            features = self.model.forward_features(images)
            found["PreLogits"] = self.model.forward_head(features, pre_logits=True)
            if last != "PreLogits":
                found["Logits"] = self.model.forward_head(features)
            if last is None or last == "Predictions":
                logits = found["Logits"]
                found["Predictions"] = logits.sigmoid() if self.classes == 1 else logits.softmax(dim=1)
        except _Reached:
            pass
        finally:
            for hook in hooks:
                hook.remove()
        return found

    def modules_before(self, end_point: str) -> list[nn.Module]:
        return self._divided(end_point)[0]

    def modules_from(self, end_point: str) -> list[nn.Module]:
        return self._divided(end_point)[1]

    def head_modules(self) -> list[nn.Module]:
        head = self.model.get_classifier()
        parts = list(head) if isinstance(head, tuple) else [head]
        if not all(any(True for _ in part.parameters()) for part in parts):
            raise UserError(f"{self.name} has no classifier to train", hint="choose another network")
        return parts

    def _divided(self, end_point: str) -> tuple[list[nn.Module], list[nn.Module]]:
        """Modules without children before `end_point`, and from it on, in the order in which timm lists them."""
        check_end_point(self.name, self.end_point_names, end_point)
        leaves = [(name, module) for name, module in self.model.named_modules() if _owns(module)]
        if end_point in ENDS:
            head = {id(part) for module in self.head_modules() for part in module.modules()}
            inside = [id(module) in head for _, module in leaves]
        else:
            inside = [name == end_point or name.startswith(end_point + ".") for name, _ in leaves]
        start = inside.index(True)
        return [module for _, module in leaves[:start]], [module for _, module in leaves[start:]]


class _Reached(Exception):
    """The last end point that was asked for has been computed."""


def _owns(module: nn.Module) -> bool:
    """A module that has no children, or that holds parameters of its own."""
    return not any(True for _ in module.children()) or any(True for _ in module.parameters(recurse=False))


def known_name(name: str) -> str:
    """timm's own name for timm/NAME; a UserError with the nearest where timm has none."""
    bare = name.removeprefix(TIMM)
    if timm.is_model(bare):
        return bare
    right = nearest(bare, timm.list_models())
    raise UserError(
        f"timm has no network {bare!r}",
        hint=f"did you mean timm/{right}?" if right else "timm.list_models() lists them",
    )


def preprocessing_of(name: str, *, size: int | None = None) -> Preprocessing:
    """What the network's published weights were measured with, from timm's own record of them."""
    settings = timm.data.resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(known_name(name)).to_dict())
    side = settings["input_size"][-1] if size is None else size
    interpolation = settings["interpolation"]
    return Preprocessing(
        resize=int(side / settings["crop_pct"]),
        interpolation=interpolation if interpolation in INTERPOLATIONS else "bicubic",
        size=side,
        background=(255, 255, 255),
        mean=settings["mean"],
        std=settings["std"],
    )


def published_tensors(name: str) -> dict[str, Tensor]:
    """timm's published weights, through its own download code: cached, and checked by the hub."""
    model = timm.create_model(known_name(name), pretrained=True)
    with torch.no_grad():
        return dict(model.state_dict())
