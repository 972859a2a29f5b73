"""Any timm network by name, behind the same interface. Importing timm takes long; only what is asked for pays it."""

from collections import Counter
from typing import Any

import huggingface_hub
import timm
import torch
from huggingface_hub import constants as hub_settings
from timm.data import ImageNetInfo, infer_imagenet_subset
from torch import Tensor, nn

from pellucid.architectures.options import TIMM
from pellucid.errors import UserError, nearest
from pellucid.images.preprocessing import INTERPOLATIONS, Preprocessing
from pellucid.networks.wrapped import ENDS, WrappedNetwork
from pellucid.weights.fetching import connections_end, unreachable

CACHED = "model.safetensors"  # what timm keeps for a network on the hub
HUB_TIMEOUT = 10.0  # seconds


class TimmNetwork(WrappedNetwork):
    """A timm model; its end points are timm's own feature names, then PreLogits, Logits and Predictions."""

    def __init__(self, name: str, classes: int, *, size: int | None = None, dropout: float | None = None) -> None:
        super().__init__()
        if classes < 1:
            raise UserError(f"{name} needs at least 1 class, not {classes}")
        bare = known_name(name)
        settings = {"num_classes": classes} | _sized(bare, size) | ({} if dropout is None else {"drop_rate": dropout})
        try:
            self.model = timm.create_model(bare, pretrained=False, **settings)
        except (
            AssertionError,
            TypeError,
            ValueError,
            RuntimeError,
            ArithmeticError,
            LookupError,
            MemoryError,
        ) as cause:
            raise UserError(
                f"timm cannot build {bare} with {settings}", [str(cause) or type(cause).__name__]
            ) from cause
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

    def head_modules(self) -> list[nn.Module]:
        head = self.model.get_classifier()
        parts = list(head) if isinstance(head, tuple) else [head]
        if not all(any(True for _ in part.parameters()) for part in parts):
            raise UserError(f"{self.name} has no classifier to train", hint="choose another network")
        return parts


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
    record = timm.get_pretrained_cfg(known_name(name))
    settings = timm.data.resolve_data_config(pretrained_cfg=record.to_dict())
    _, height, width = settings["input_size"]
    if height != width or settings["crop_mode"] not in ("center", "squash"):
        raise UserError(
            f"{name} wants images of {height} x {width} with crop mode {settings['crop_mode']!r}",
            ["here images are square, cut from the centre or squashed"],
            hint="choose another network",
        )
    side = width if size is None else size
    resized = int(side / settings["crop_pct"])
    interpolation = settings["interpolation"]
    return Preprocessing(
        resize=resized if settings["crop_mode"] == "center" else (resized, resized),
        interpolation=interpolation if interpolation in INTERPOLATIONS else "bicubic",
        size=side,
        background=(255, 255, 255),
        mean=settings["mean"],
        std=settings["std"],
    )


def classes_of(name: str) -> tuple[str, ...]:
    """What the logits of the network's published weights mean, by timm's record; () where it does not say.

    The words of WordNet; where two classes have the same words, with WordNet's number of each.
    """
    record = timm.get_pretrained_cfg(known_name(name))
    if record.label_names:
        return tuple(record.label_names)
    subset = infer_imagenet_subset(record.to_dict())
    if subset is None:
        return ()
    labels = ImageNetInfo(subset)
    words = labels.label_descriptions()
    twice = {word for word, count in Counter(words).items() if count > 1}
    numbered = zip(words, labels.label_names(), strict=True)
    return tuple(f"{word} ({number})" if word in twice else word for word, number in numbered)


def published_tensors(name: str, *, size: int | None = None) -> dict[str, Tensor]:
    """timm's published weights, through its own download code; what the hub's cache holds is not asked for again.

    At another `size`, timm adapts what is bound to the number of cells (a transformer's places). Raises UserError
    where timm publishes none, and where they cannot be fetched.
    """
    bare = known_name(name)
    record = timm.get_pretrained_cfg(bare)
    if not record.has_weights:
        raise UserError(
            f"timm publishes no weights for {bare}",
            hint="--weights FILE takes a file, --mode scratch starts from random weights",
        )
    file = record.hf_hub_filename or CACHED
    cached = huggingface_hub.try_to_load_from_cache(record.hf_hub_id, file) if record.hf_hub_id else None
    overlay = {"file": cached} if isinstance(cached, str) else {}
    try:
        if record.hf_hub_id and not overlay:
            # Asked once by ourselves: the hub's client tries for 47 s before it says that there is no network.
            huggingface_hub.get_session().head(hub_settings.ENDPOINT, timeout=HUB_TIMEOUT)
        with connections_end(HUB_TIMEOUT):
            model = timm.create_model(bare, pretrained=True, pretrained_cfg_overlay=overlay, **_sized(bare, size))
    except Exception as cause:  # the hub's clients have many errors for one thing
        raise unreachable(
            name, record.hf_hub_id or record.url, cause, huggingface_hub.constants.HF_HUB_CACHE
        ) from cause
    with torch.no_grad():
        return dict(model.state_dict())


def _sized(bare: str, size: int | None) -> dict[str, Any]:
    """How timm is told of another size: only networks that are built for one want to know."""
    return {} if size is None or not timm.get_pretrained_cfg(bare).fixed_input_size else {"img_size": size}
