"""`parity`: a network of ours and another implementation, on the same image and weights."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from pellucid.errors import UserError
from pellucid.images.decode import open_image
from pellucid.images.preprocessing import prepare
from pellucid.networks.build import TableNetwork, network
from pellucid.networks.originals import end_points_of, last_layer, original, with_statistics
from pellucid.networks.parity import Parity, parity
from pellucid.networks.published import default_preprocessing
from pellucid.networks.weights import load_weights, read_tensors

ENDS, WEIGHTS = "end_points/", "weights/"
CLASSES = 1000


def compare(
    net: str,
    *,
    against: str,
    weights: Path | None = None,
    layout: str = "auto",
    image: Path | None = None,
    size: int | None = None,
    width: float = 1.0,
    conventions: str | None = None,
    seed: int = 0,
) -> Parity:
    """Run `net` and `against` ("torchvision", "timm", or an .npz of arrays) on one image with the same weights.

    An .npz holds `input` (1, H, W, 3) or (1, 3, H, W), `end_points/NAME`, and `weights/NAME` unless `weights` names a
    file. Without `weights`, a library's are random, with random statistics. Raises UserError for what is not there.
    """
    torch.manual_seed(seed)
    if against.endswith(".npz"):
        return _with_arrays(
            net, Path(against), weights=weights, layout=layout, width=width, conventions=conventions or "tensorflow"
        )
    tensors = read_tensors(weights) if weights else None
    classes = CLASSES if tensors is None else _classes(tensors, last_layer(against, net), weights)
    theirs = original(against, net, classes=classes)
    if tensors is None:
        with_statistics(theirs)
    else:
        try:
            theirs.load_state_dict(tensors, strict=False)
        except RuntimeError as cause:
            raise UserError(
                f"{weights} does not fit {against}'s {net}", [str(cause).splitlines()[-1].strip()]
            ) from cause
    ours = _table(net, size=size, width=width, classes=classes, conventions=conventions or "torch")
    load_weights(ours, theirs.state_dict(), layout=against if layout == "auto" else layout)
    images = torch.randn(1, 3, ours.size, ours.size)
    if image is not None:
        prepared = prepare(open_image(image), default_preprocessing(net, size=ours.size))
        images = torch.from_numpy(prepared)[None]
    return parity(ours, images, end_points_of(against, theirs, ours, images))


def _with_arrays(net: str, path: Path, *, weights: Path | None, layout: str, width: float, conventions: str) -> Parity:
    arrays = read_tensors(path)
    if "input" not in arrays or not any(name.startswith(ENDS) for name in arrays):
        raise UserError(f"{path} does not hold `input` and `end_points/NAME`", hint="save what flows by these names")
    images = arrays["input"].float()
    if images.shape[-1] == 3:
        images = images.permute(0, 3, 1, 2)
    ends = {name.removeprefix(ENDS): tensor for name, tensor in arrays.items() if name.startswith(ENDS)}
    classes = ends["Logits"].shape[-1] if "Logits" in ends else 1000
    heads = any(name.startswith("Aux") for name in ends)
    ours = _table(net, size=images.shape[-1], width=width, classes=classes, conventions=conventions, auxiliary=heads)
    held = {name: tensor for name, tensor in arrays.items() if name.startswith(WEIGHTS)}
    if weights is None and not held:
        raise UserError(f"{path} holds no weights", hint="name them with --weights")
    load_weights(ours, weights or held, layout=layout)
    return parity(ours, images, ends)


def _table(name: str, *, size: int | None, width: float, classes: int, conventions: str, **more: bool) -> TableNetwork:
    made = network(name, classes, size=size, width=width, conventions=conventions, **more)
    if not isinstance(made, TableNetwork):
        raise UserError(f"{name} is no network that is defined here", hint="`pellucid models` lists them")
    return made


def _classes(tensors: Mapping[str, Tensor], last: str, weights: Path | None) -> int:
    """How many classes the weights are for, as the library's own last layer says."""
    if f"{last}.weight" not in tensors:
        raise UserError(
            f"{weights} has no {last}.weight", hint="the file must have the library's own names, and be whole"
        )
    return len(tensors[f"{last}.weight"])
