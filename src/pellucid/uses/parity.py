"""`parity`: a network of ours and another implementation, on the same image and weights."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from pellucid.architectures.catalog import architecture
from pellucid.architectures.numbers import check_numbers
from pellucid.errors import UserError, counted
from pellucid.images.decode import open_image
from pellucid.images.preprocessing import prepare
from pellucid.inspection.originals import check_library, original
from pellucid.inspection.parity import Parity, parity
from pellucid.names import is_own
from pellucid.networks.build import network
from pellucid.networks.loading import load_weights, names_elsewhere
from pellucid.networks.network import Network
from pellucid.networks.own import remember
from pellucid.networks.published import default_preprocessing
from pellucid.networks.undisturbed import kept_randomness, undisturbed
from pellucid.uses.structure import structure
from pellucid.weights.files import read_tensors

ENDS, WEIGHTS = "end_points/", "weights/"
CLASSES = 1000
LIBRARIES = ("torchvision", "timm", "keras", "paddle")
WHERE_ALL_END = ("PreLogits", "Logits", "Predictions")
CONVENTIONS = {"keras": "tensorflow"}  # where they are not torch's


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
    seed: int | None = None,
) -> Parity:
    """Run `net` and `against` (torchvision, timm, keras, paddle, or an .npz) on one image with the same weights.

    `net` and `against` may be one's own (FILE.py:NAME), and an own network's other any network by name: both then have
    the same random weights, tensor by tensor in their order, and are compared where they end; two modules also wherever
    an end point of the one has the name and shape of one of the other.

    An .npz holds `input` (1, H, W, 3) or (1, 3, H, W), `end_points/NAME`, and `weights/NAME` unless `weights` names a
    file, and decides the size. Without `weights`, a library's are random, with random statistics, from `seed` (0).
    Everybody's random numbers are afterwards as before. Raises UserError for what is not there, and for settings that
    would change nothing.
    """
    check_numbers(size=size, seed=seed)
    with kept_randomness():
        if against.endswith(".npz"):
            idle = [name for name, value in (("image", image), ("size", size), ("seed", seed)) if value is not None]
            if idle:
                raise UserError(f"{idle[0]}: {against} holds the input", hint=f"leave --{idle[0]} out")
            return _with_arrays(
                net, Path(against), weights=weights, layout=layout, width=width, conventions=conventions or "tensorflow"
            )
        if is_own(net) or is_own(against):
            given = {"weights": weights, "image": image, "conventions": conventions}
            if idle := [name for name, value in given.items() if value is not None]:
                raise UserError(f"{idle[0]}: of one's own networks both have random weights, and see noise")
            return _with_own(net, against, size=size, seed=seed or 0)
        return _with_library(
            net,
            against,
            weights=weights,
            layout=layout,
            image=image,
            size=size,
            width=width,
            conventions=conventions or CONVENTIONS.get(against, "torch"),
            seed=seed or 0,
        )


def _with_own(net: str, against: str, *, size: int | None, seed: int) -> Parity:
    """Two networks of which one is somebody's own, with the same weights in the order of their tensors."""
    if against in LIBRARIES:
        raise UserError(f"no other library has {net}", hint="--against a network by name, FILE.py:NAME, or an .npz")
    torch.manual_seed(seed)
    classes = structure(net, size=size).classes or CLASSES
    ours = network(remember(net), classes, size=size)
    theirs = network(remember(against), classes, size=ours.size).eval()
    for name, tensor in theirs.named_buffers():
        if name.endswith("running_mean"):
            tensor.normal_(0, 0.1)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 2)
    _give(ours, theirs, net, against)
    images = torch.randn(1, 3, ours.size, ours.size)
    with torch.no_grad(), undisturbed(ours):
        here, found = ours.eval().end_points(images), theirs.end_points(images)
    modules = ours.table is None and theirs.table is None  # a table's end points are after a ReLU, a module's before it
    alike = [name for name in found if modules and name in here and here[name].shape == found[name].shape]
    return parity(ours, images, {name: found[name] for name in (*alike, *WHERE_ALL_END)})


def _give(ours: Network, theirs: Network, net: str, against: str) -> None:
    """Let `ours` have the tensors of `theirs`; UserError where theirs are others."""
    one, other = (
        {name: tensor for name, tensor in each.state_dict().items() if not name.endswith("num_batches_tracked")}
        for each in (ours, theirs)
    )
    for (name, tensor), (beside, given) in zip(one.items(), other.items(), strict=False):
        if tensor.shape != given.shape:
            shapes = ("x".join(map(str, each.shape)) for each in (tensor, given))
            details = [f"{place} is {shape}" for place, shape in zip((name, beside), shapes, strict=True)]
            raise UserError(f"{net} and {against} have other tensors in their order", details)
    if len(one) != len(other):
        raise UserError(f"{net} has {counted(len(one), 'tensor')}, and {against} {len(other)}")
    with torch.no_grad():
        for tensor, given in zip(one.values(), other.values(), strict=True):
            tensor.copy_(given)


def _with_library(
    net: str,
    against: str,
    *,
    weights: Path | None,
    layout: str,
    image: Path | None,
    size: int | None,
    width: float,
    conventions: str,
    seed: int,
) -> Parity:
    torch.manual_seed(seed)
    check_library(against)
    tensors = read_tensors(weights) if weights else None
    table = architecture(net)
    likeness = _table(net, size=size, width=width, conventions=conventions, auxiliary=bool(table.heads))
    partners = names_elsewhere(likeness, against)
    classes = CLASSES if tensors is None else _classes(tensors, partners["Logits.bias"], weights)
    theirs = original(against, net, size=likeness.size, classes=classes)
    if weights is None or tensors is None:
        theirs.randomise(seed)
        tensors = dict(theirs.tensors())
    else:
        theirs.load(weights, tensors)
    heads = {name: partners[name] in tensors for name in partners if name.startswith("Aux") and name.endswith(".bias")}
    auxiliary = bool(heads) and all(heads.values())
    ours = _table(net, size=size, width=width, classes=classes, conventions=conventions, auxiliary=auxiliary)
    load_weights(ours, tensors, layout=against if layout == "auto" else layout)
    images = torch.randn(1, 3, ours.size, ours.size)
    if image is not None:
        prepared = prepare(open_image(image), default_preprocessing(net, size=ours.size), name=str(image))
        images = torch.from_numpy(prepared)[None]
    return parity(ours, images, theirs.end_points(ours, images))


def _with_arrays(net: str, path: Path, *, weights: Path | None, layout: str, width: float, conventions: str) -> Parity:
    arrays = read_tensors(path)
    if "input" not in arrays or not any(name.startswith(ENDS) for name in arrays):
        raise UserError(f"{path} does not hold `input` and `end_points/NAME`", hint="save what flows by these names")
    images = arrays["input"].float()
    if images.ndim == 4 and images.shape[-1] == 3:
        images = images.permute(0, 3, 1, 2)
    if images.ndim != 4 or images.shape[1] != 3 or images.shape[2] != images.shape[3] or not images.numel():
        shape = "x".join(map(str, arrays["input"].shape))
        raise UserError(f"{path}: `input` is {shape}, and no square colour images", hint="save it as (1, H, H, 3)")
    ends = {name.removeprefix(ENDS): tensor for name, tensor in arrays.items() if name.startswith(ENDS)}
    classes = ends["Logits"].shape[-1] if "Logits" in ends and ends["Logits"].ndim else CLASSES
    heads = any(name.startswith("Aux") for name in ends)
    ours = _table(net, size=images.shape[-1], width=width, classes=classes, conventions=conventions, auxiliary=heads)
    held = {name: tensor for name, tensor in arrays.items() if name.startswith(WEIGHTS)}
    if weights is None and not held:
        raise UserError(f"{path} holds no weights", hint="name them with --weights")
    load_weights(ours, weights or held, layout=layout)
    return parity(ours, images, ends)


def _table(
    name: str, *, size: int | None, width: float, conventions: str, classes: int = CLASSES, auxiliary: bool = False
) -> Network:
    made = network(remember(name), classes, size=size, width=width, conventions=conventions, auxiliary=auxiliary)
    if made.table is None:
        raise UserError(f"{name} is no network that is defined here", hint="`pellucid models` lists them")
    return made


def _classes(tensors: Mapping[str, Tensor], bias: str, weights: Path | None) -> int:
    """How many classes the weights are for, as the library's own last layer says."""
    if bias not in tensors:
        raise UserError(f"{weights} has no {bias}", hint="the file must have the library's own names, and be whole")
    return len(tensors[bias])
