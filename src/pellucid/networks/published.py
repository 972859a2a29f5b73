"""Published weights and files of them, with the preprocessing that their record says: never guessed."""

from collections.abc import Collection
from dataclasses import dataclass

from torch import Tensor

from pellucid.architectures.catalog import architecture
from pellucid.architectures.options import TIMM
from pellucid.architectures.written import TABLE
from pellucid.errors import UserError
from pellucid.images.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from pellucid.names import is_own
from pellucid.networks.network import Network
from pellucid.weights.fetching import fetch
from pellucid.weights.sources.inputs import HALF, WANTED
from pellucid.weights.sources.table import ELSEWHERE

WHITE = (255, 255, 255)
RESIZE_OVER_CROP = 256 / 224
# Ported from TensorFlow, where an Inception sees -1 to 1; with these weights torchvision turns what its record asks for
# back into that.
PORTED = ("inception_v1", "inception_v3")


def default_preprocessing(name: str, *, size: int) -> Preprocessing:
    """What `name` wants when nothing else is said: timm's record, or the field's usual for the networks here."""
    if name.startswith(TIMM):
        from pellucid.networks.timm_network import preprocessing_of  # brings timm

        return preprocessing_of(name, size=size)
    return Preprocessing(
        resize=round(size * RESIZE_OVER_CROP),
        interpolation="bilinear",
        size=size,
        background=WHITE,
        mean=HALF if name.startswith("inception") and not nobodys(name) else IMAGENET_MEAN,
        std=HALF if name.startswith("inception") and not nobodys(name) else IMAGENET_STD,
    )


def preprocessing_for(net: Network, layout: str, said: Collection[str] = ()) -> tuple[Preprocessing, str]:
    """What weights of `layout` in `net` want to see, and who says so: the record of that source and network.

    Raises UserError where there is none, unless `said` names what somebody says: mean and std at the least.
    """
    wanted = default_preprocessing(net.name, size=net.size)
    if net.name.startswith(TIMM):
        return wanted, "timm's record of the network"
    if layout == "pellucid" or net.table is None:
        return wanted, f"what {net.name} is trained on here, unless told otherwise"
    record = WANTED.get((layout, net.family))
    if record:
        seen = {"channels": record.channels, "mean": record.mean, "std": record.std}
        return wanted.model_copy(update=seen), record.origin
    if {"mean", "std"} <= set(said):
        return wanted, "what was asked for"
    raise UserError(
        f"nobody says how images must reach {net.name} with weights of {layout}",
        hint="say it: --input.mean 0.485 0.456 0.406 --input.std 0.229 0.224 0.225 --input.channels RGB, or what it is",
    )


@dataclass(frozen=True)
class Published:
    """What published weights were measured with, and what their logits mean, in order; () where nobody says."""

    preprocessing: Preprocessing
    classes: tuple[str, ...]


def is_published(name: str) -> bool:
    """Whether somebody publishes weights for `name`, as far as is known without asking timm."""
    return name.startswith(TIMM) or (not nobodys(name) and bool(architecture(name).published))


def nobodys(name: str) -> bool:
    """Whether it is somebody's own network or table, which nobody else knows."""
    return is_own(name) or name.startswith(TABLE)


def published_record(name: str) -> Published:
    """The record of the published weights of `name`, without fetching them.

    Raises UserError where nobody publishes weights for it.
    """
    source = _at_timm(name)
    if source:
        from pellucid.networks.timm_network import classes_of, preprocessing_of  # brings timm

        return Published(preprocessing_of(source), classes_of(source))
    return _torchvision(name)[1]


def published_weights(net: Network) -> tuple[dict[str, Tensor], Published]:
    """The published tensors for `net` and their record; downloaded once, checked by hash, kept in the cache.

    Raises UserError where nobody publishes weights for it, and where they cannot be fetched.
    """
    source = _at_timm(net.name)
    if source:
        from pellucid.networks.timm_network import published_tensors  # brings timm

        return published_tensors(source, size=net.options.get("size")), published_record(net.name)
    url, record = _torchvision(net.name)
    return fetch(url, net.name), record


def _at_timm(name: str) -> str:
    """The name at timm, where weights come from there; "" for others."""
    if name.startswith(TIMM):
        return name
    if nobodys(name):
        raise UserError(
            f"nobody publishes weights for {name}",
            hint="--weights FILE takes a file, --weights own those that your code gives it",
        )
    return f"{TIMM}{name}" if architecture(name).published == ("timm",) else ""


def _torchvision(name: str) -> tuple[str, Published]:
    from torchvision.models import get_model_weights  # 16 s, and only for this

    try:
        record = get_model_weights(ELSEWHERE.get(("torchvision", name), name)).DEFAULT
    except ValueError as cause:
        raise UserError(
            f"nobody publishes weights for {name}",
            hint="--weights FILE takes a file; `pellucid train --mode scratch` starts from random weights",
        ) from cause
    wanted = record.transforms()
    ported = name in PORTED
    preprocessing = Preprocessing(
        resize=wanted.resize_size[0],
        interpolation=wanted.interpolation.value,
        size=wanted.crop_size[0],
        background=WHITE,
        mean=HALF if ported else tuple(wanted.mean),
        std=HALF if ported else tuple(wanted.std),
    )
    return record.url, Published(preprocessing, tuple(record.meta["categories"]))
