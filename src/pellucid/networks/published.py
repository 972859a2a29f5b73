"""Published ImageNet weights, with the preprocessing they were measured with, as their record says: never guessed."""

import os
from urllib.error import URLError

import torch
from torch import Tensor

from pellucid.errors import UserError
from pellucid.images.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from pellucid.networks.build import TIMM, Network

WHITE = (255, 255, 255)
RESIZE_OVER_CROP = 256 / 224


def default_preprocessing(name: str, *, size: int) -> Preprocessing:
    """What `name` wants when nothing else is said: timm's record, or the field's usual for the networks here."""
    if name.startswith(TIMM):
        from pellucid.networks.backbone import preprocessing_of  # brings timm

        return preprocessing_of(name, size=size)
    return Preprocessing(
        resize=round(size * RESIZE_OVER_CROP),
        interpolation="bilinear",
        size=size,
        background=WHITE,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
    )


def published_weights(net: Network) -> tuple[dict[str, Tensor], Preprocessing]:
    """The published tensors for `net` and their preprocessing; downloaded once, checked by hash, kept in the cache.

    Raises UserError where nobody publishes weights for it, and where they cannot be fetched.
    """
    os.environ.setdefault("HF_HUB_DOWNLOAD_TIMEOUT", "10")
    if net.name.startswith(TIMM):
        from pellucid.networks.backbone import preprocessing_of, published_tensors  # brings timm

        try:
            return published_tensors(net.name, size=net.options["size"]), preprocessing_of(net.name)
        except RuntimeError as cause:
            raise UserError(
                f"timm publishes no weights for {net.name.removeprefix(TIMM)}",
                [str(cause).splitlines()[0]],
                hint="--weights FILE takes a file, --mode scratch starts from random weights",
            ) from cause
        except Exception as cause:  # the hub's client has many errors for one thing
            raise _unreachable(net.name, "the model hub", cause) from cause
    return _torchvision(net)


def _torchvision(net: Network) -> tuple[dict[str, Tensor], Preprocessing]:
    from torchvision.models import get_model_weights  # 16 s, and only for this

    try:
        record = get_model_weights(net.name).DEFAULT
    except ValueError as cause:
        raise UserError(
            f"nobody publishes weights for {net.name}",
            hint="--mode scratch starts from random weights, --weights FILE takes a file",
        ) from cause
    wanted = record.transforms()
    preprocessing = Preprocessing(
        resize=wanted.resize_size[0],
        interpolation=wanted.interpolation.value,
        size=wanted.crop_size[0],
        background=WHITE,
        mean=tuple(wanted.mean),
        std=tuple(wanted.std),
    )
    return fetch(record.url, net.name), preprocessing


def fetch(url: str, name: str) -> dict[str, Tensor]:
    """The tensors at `url`, whose file name ends with the beginning of its sha256; kept in torch's cache."""
    try:
        tensors: dict[str, Tensor] = torch.hub.load_state_dict_from_url(
            url, progress=False, check_hash=True, weights_only=True, map_location="cpu"
        )
    except (URLError, OSError) as cause:
        raise _unreachable(name, url, cause) from cause
    except RuntimeError as cause:
        raise UserError(
            f"the weights of {name} arrived damaged", [str(cause)], hint="try again, or --weights FILE"
        ) from cause
    return tensors


def _unreachable(name: str, where: str, cause: Exception) -> UserError:
    cache = torch.hub.get_dir()
    return UserError(
        f"the published weights of {name} cannot be fetched",
        [f"from {where}: {str(cause).splitlines()[0] if str(cause) else type(cause).__name__}", f"cache: {cache}"],
        hint="--weights FILE takes a file that you have, --mode scratch starts from random weights",
    )
