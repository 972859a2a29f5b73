"""Published ImageNet weights, with the preprocessing they were measured with, as their record says: never guessed."""

from torch import Tensor

from pellucid.architectures.catalog import architecture
from pellucid.errors import UserError
from pellucid.images.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from pellucid.networks.build import TIMM, Network, TableNetwork
from pellucid.networks.fetching import fetch
from pellucid.networks.sources.table import ELSEWHERE

WHITE = (255, 255, 255)
RESIZE_OVER_CROP = 256 / 224
# Ported from TensorFlow, where an Inception sees -1 to 1; with these weights torchvision turns what its record asks for
# back into that.
PORTED = ("inception_v1", "inception_v3")
HALF = (0.5, 0.5, 0.5)


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
        mean=HALF if name.startswith("inception") else IMAGENET_MEAN,
        std=HALF if name.startswith("inception") else IMAGENET_STD,
    )


def published_weights(net: Network) -> tuple[dict[str, Tensor], Preprocessing]:
    """The published tensors for `net` and their preprocessing; downloaded once, checked by hash, kept in the cache.

    Raises UserError where nobody publishes weights for it, and where they cannot be fetched.
    """
    if net.name.startswith(TIMM):
        from pellucid.networks.backbone import preprocessing_of, published_tensors  # brings timm

        return published_tensors(net.name, size=net.options["size"]), preprocessing_of(net.name)
    if isinstance(net, TableNetwork) and architecture(net.name).published == ("timm",):
        from pellucid.networks.backbone import preprocessing_of, published_tensors

        return published_tensors(f"{TIMM}{net.name}", size=None), preprocessing_of(f"{TIMM}{net.name}")
    return _torchvision(net)


def _torchvision(net: Network) -> tuple[dict[str, Tensor], Preprocessing]:
    from torchvision.models import get_model_weights  # 16 s, and only for this

    try:
        record = get_model_weights(ELSEWHERE.get(("torchvision", net.name), net.name)).DEFAULT
    except ValueError as cause:
        raise UserError(
            f"nobody publishes weights for {net.name}",
            hint="--mode scratch starts from random weights, --weights FILE takes a file",
        ) from cause
    wanted = record.transforms()
    ported = net.name in PORTED
    preprocessing = Preprocessing(
        resize=wanted.resize_size[0],
        interpolation=wanted.interpolation.value,
        size=wanted.crop_size[0],
        background=WHITE,
        mean=HALF if ported else tuple(wanted.mean),
        std=HALF if ported else tuple(wanted.std),
    )
    return fetch(record.url, net.name), preprocessing
