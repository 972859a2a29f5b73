"""Whether a network can be trained as it is asked for, found out by a step without content, before anything is made."""

from copy import deepcopy

import torch
from torch import Tensor, nn

from pellucid.errors import UserError, listed
from pellucid.images.manifest import Split
from pellucid.networks.network import Network, check_vectors
from pellucid.training.config import Config
from pellucid.training.probe_at import probed_names
from pellucid.training.transfer import freeze


def check_network(network: Network, config: Config) -> None:
    """Raises UserError for end points that are not there, weights that are no numbers, sizes and batches too small."""
    check_vectors(network)
    if config.train_from:
        network.divided(config.train_from)
    if config.probe_at:
        probed_names(network, config.probe_at)
    _check_weights(network, config)
    _check_step(network, config)


def check_measured(config: Config, parts: Split) -> None:
    """Raises UserError for what is to be decided by validation images where there are none."""
    if parts.part("validation"):
        return
    asked = {"learning.patience": config.learning.patience, "probe_at": config.probe_at}
    asked["learning.best_by"] = "learning.best_by" in config.asked
    if wrong := [name for name, value in asked.items() if value]:
        raise UserError(
            f"{' and '.join(wrong)} would be decided by validation images, and there are none",
            hint=f"--validation 0.2 keeps some; or leave {' and '.join(wrong)} out",
        )


def _check_weights(network: Network, config: Config) -> None:
    if config.weights in ("none", "imagenet"):  # ours, or by hash
        return
    bad = [name for name, tensor in network.state_dict().items() if not _finite(tensor)]
    if bad:
        raise UserError(
            f"{network.name} with weights from {config.weights} has values that are no numbers",
            listed(bad, 3),
            hint="other weights; training that diverged leaves such ones",
        )


def _finite(tensor: Tensor) -> bool:
    # A sum is no number where one of its parts is none, and takes a tenth of the time of looking at each; it may also
    # have grown too large.
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor.sum()) or torch.isfinite(tensor).all())


def _check_step(network: Network, config: Config) -> None:
    """Tables are measured when they are built. A batch of one image is there only where all are: one that would be
    left over at an epoch's end sits it out.
    """
    batch = min(2, config.learning.batch)
    if network.table and batch > 1:
        return
    cause = _fault(network, config, images=batch, training=True)
    if cause is None:
        return
    size = network.size
    if _fault(network, config, images=batch, training=False) is None and batch == 1:
        raise UserError(
            f"{network.name} cannot learn from one image at a time at {size} pixels",
            [f"a batch norm would see a single value of each channel: {cause}"],
            hint="--batch 2 or more, or a larger --size",
        )
    raise UserError(
        f"{network.name} cannot be trained on images of {size} pixels",
        [cause],
        hint="another --model" if config.input.size is None else "a larger --size, or none: its own is then taken",
    )


def _fault(network: Network, config: Config, *, images: int, training: bool) -> str | None:
    """What goes wrong in a forward pass, in torch's words; None where nothing does."""
    for place in ("meta", "cpu"):  # what makes tensors of its own may mind only that there is no content
        copy = _copied(network, place)
        if training:
            freeze(copy, config).set_training(copy, epoch=config.learning.epochs)
        else:
            copy.eval()
        try:
            with torch.no_grad():
                copy.with_heads(torch.zeros(images, 3, network.size, network.size, device=place))
        except Exception as cause:
            said = (str(cause) or type(cause).__name__).splitlines()[0]
        else:
            return None
    return said


def _copied(network: Network, place: str) -> Network:
    """A copy, on "meta" without the content of its weights."""
    if place != "meta":
        return deepcopy(network)
    memo: dict[int, Tensor] = {}
    for tensor in (*network.parameters(), *network.buffers()):
        empty = torch.empty_like(tensor, device="meta")
        memo[id(tensor)] = nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty
    return deepcopy(network, memo)
