"""Two implementations on one image: the first end point at which they differ, by how much, and what it looks like.

The other's end points come in as arrays. Where they part, the layer is computed again from the other's own input with
one thing changed at a time (padding, epsilon, a kernel turned, ...): a change that makes them agree names the fault.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pellucid.errors import UserError
from pellucid.networks.network import Network
from pellucid.networks.table_network import SameConv
from pellucid.networks.undisturbed import kept_attributes, undisturbed

TOLERANCE = 1e-4  # of an end point's spread: what float32 leaves after a hundred layers
MOST_TRIES = 500
EPSILONS = (1e-3, 1e-5, 1.001e-5, 2e-5, 1e-6, 1e-8)


@dataclass(frozen=True)
class Compared:
    """One end point. `difference` is the largest, as a share of the other's standard deviation."""

    name: str
    difference: float
    shapes: tuple[tuple[int, ...], tuple[int, ...]]  # ours, the other's

    @property
    def agrees(self) -> bool:
        return self.difference <= TOLERANCE


@dataclass(frozen=True)
class Parity:
    """The end points that both have, in order; where they part first, and what that looks like."""

    compared: tuple[Compared, ...]
    looks_like: tuple[str, ...]

    @property
    def first(self) -> Compared | None:
        """The first end point that differs; None where all agree."""
        return next((one for one in self.compared if not one.agrees), None)


def parity(net: Network, images: Tensor, theirs: Mapping[str, Tensor]) -> Parity:
    """Compare `net` on `images` (N, 3, H, W) with another's end points: maps (N, C, H, W) or (N, H, W, C), vectors.

    `net` is left as it is. Raises UserError where the two have no end point in common.
    """
    with undisturbed(net):
        return _compared(net.eval(), images, theirs)


def _compared(net: Network, images: Tensor, theirs: Mapping[str, Tensor]) -> Parity:
    with torch.no_grad():
        ours = net.end_points(images)
    known = [name for name in net.end_point_names if name in theirs]
    if not known:
        raise UserError(f"{net.name} has none of these end points", hint=f"it has {', '.join(net.end_point_names)}")
    others = {name: _as_ours(theirs[name], ours[name]) for name in known}
    compared = []
    for name in known:
        alike = ours[name].shape == others[name].shape
        shapes = (tuple(ours[name].shape), tuple(others[name].shape))
        compared.append(Compared(name, _difference(ours[name], others[name]) if alike else float("inf"), shapes))
    found = Parity(tuple(compared), ())
    if found.first is None or not net.sources:  # of others it is not known what leads to what
        return found
    return Parity(tuple(compared), tuple(_suspicions(net, found.first.name, images, ours, others)))


def _as_ours(theirs: Tensor, ours: Tensor) -> Tensor:
    """Channels second, and a vector where we have one."""
    theirs = theirs.to(ours.dtype)
    if ours.ndim == 2:
        return theirs.flatten(1)
    channels_last = theirs.ndim == 4 and theirs.shape != ours.shape and theirs.shape[-1] == ours.shape[1]
    return theirs.permute(0, 3, 1, 2) if channels_last else theirs


def _difference(ours: Tensor, theirs: Tensor) -> float:
    spread = float(theirs.std()) if theirs.numel() > 1 else 1.0
    return float((ours - theirs).abs().max()) / max(spread, 1e-12)


def _suspicions(
    net: Network, name: str, images: Tensor, ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]
) -> Iterator[str]:
    """What would make `name` agree, as words; at most the three best, none where nothing tried does."""
    source = net.sources[name]
    if source and source not in theirs:
        between = [end for end in net.end_point_names if end not in theirs]
        yield f"nothing is known of {source} in the other: the fault may lie in {', '.join(between[:4])}"
    entering = theirs.get(source, ours[source]) if source else images
    module, wanted = getattr(net, name), theirs[name]
    if not source and _agrees(module, images.flip(1), wanted):
        yield "the image's channels are in the other order: BGR for RGB"
    if _permuted(ours[name], wanted):
        yield "the channels are the same in another order: are branches joined in another order?"
    if ours[name].shape == wanted.shape and torch.allclose(ours[name].relu(), wanted, atol=1e-5):
        yield "the other puts a ReLU after it, ours does not"
    everywhere = []
    for words, change in CHANGES.items():
        with kept_attributes(module):
            changed = [part for part in list(module.modules()) if change(part)]
            if changed and _agrees(module, entering, wanted):
                everywhere.append(words)
    yield from everywhere or _single(module, entering, wanted)


def _single(module: nn.Module, entering: Tensor, wanted: Tensor) -> Iterator[str]:
    """The change of one part alone that makes `module` agree. Each try is a run: rare parts first, and not for ever."""
    tries = []
    for words, change in CHANGES.items():
        places = []
        for part in list(module.modules()):
            with kept_attributes(part):
                if change(part):
                    places.append(part)
        tries.append((words, change, places))
    each = [
        (words, change, part) for words, change, parts in sorted(tries, key=lambda one: len(one[2])) for part in parts
    ]
    for words, change, part in each[:MOST_TRIES]:
        with kept_attributes(part):
            change(part)
            if _agrees(module, entering, wanted):
                yield words
                return


def _agrees(module: nn.Module, entering: Tensor, wanted: Tensor) -> bool:
    try:
        with torch.no_grad():
            made = module(entering)
    except RuntimeError:  # the change makes maps that do not fit
        return False
    return made.shape == wanted.shape and _difference(made, wanted) <= TOLERANCE


def _permuted(ours: Tensor, theirs: Tensor) -> bool:
    """Whether the channels are the same as a set, though not in order."""
    if ours.ndim != 4 or ours.shape != theirs.shape or _difference(ours, theirs) <= TOLERANCE:
        return False
    one, other = (maps.flatten(2).double().transpose(0, 1).flatten(1) for maps in (ours, theirs))
    nearest = torch.cdist(one, other).min(dim=1).values
    return bool((nearest <= 1e-3 * other.norm(dim=1).max()).all())


def _count_padding(part: nn.Module) -> bool:
    if isinstance(part, nn.AvgPool2d) and part.padding != 0:
        part.count_include_pad = not part.count_include_pad
        return True
    return False


def _epsilon(epsilon: float) -> Callable[[nn.Module], bool]:
    def change(part: nn.Module) -> bool:
        if isinstance(part, nn.BatchNorm2d) and part.eps != epsilon:
            part.eps = epsilon
            return True
        return False

    return change


def _turned(part: nn.Module) -> bool:
    if isinstance(part, nn.Conv2d) and part.kernel_size[0] == part.kernel_size[1] > 1:
        part.weight = nn.Parameter(part.weight.transpose(2, 3).contiguous())
        return True
    return False


def _flipped(part: nn.Module) -> bool:
    if isinstance(part, nn.Conv2d) and max(part.kernel_size) > 1:
        part.weight = nn.Parameter(part.weight.flip(2, 3))
        return True
    return False


def _unscaled(part: nn.Module) -> bool:
    if isinstance(part, nn.BatchNorm2d) and part.weight is not None:
        part.weight = nn.Parameter(torch.ones_like(part.weight))
        return True
    return False


def _unshifted(part: nn.Module) -> bool:
    if isinstance(part, nn.BatchNorm2d | nn.Conv2d | nn.Linear) and part.bias is not None:
        part.bias = nn.Parameter(torch.zeros_like(part.bias))
        return True
    return False


def _fresh_statistics(part: nn.Module) -> bool:
    if isinstance(part, nn.BatchNorm2d):
        assert part.running_mean is not None and part.running_var is not None
        part.running_mean, part.running_var = torch.zeros_like(part.running_mean), torch.ones_like(part.running_var)
        return True
    return False


def _without_relu(part: nn.Module) -> bool:
    if isinstance(part, nn.ReLU):
        part.forward = lambda x: x  # type: ignore[method-assign]
        return True
    if getattr(part, "relu", None) is True:
        part.relu = False  # a residual unit's
        return True
    return False


def _other_pooling(part: nn.Module) -> bool:
    if isinstance(part, nn.AvgPool2d):
        window, stride, pad = part.kernel_size, part.stride, part.padding
        part.forward = lambda x: nn.functional.max_pool2d(x, window, stride, pad)  # type: ignore[method-assign]
        return True
    if isinstance(part, nn.MaxPool2d):
        window, stride, pad = part.kernel_size, part.stride, part.padding
        part.forward = lambda x: nn.functional.avg_pool2d(x, window, stride, pad)  # type: ignore[method-assign]
        return True
    return False


def _shifted_padding(part: nn.Module) -> bool:
    """Uneven for even, or even for uneven."""
    if not isinstance(part, nn.Conv2d | nn.MaxPool2d) or _pair(part.stride)[0] == 1:
        return False
    kernel, pad = _pair(part.kernel_size), _pair(part.padding)
    if isinstance(part, SameConv):
        part.forward = lambda x: nn.functional.conv2d(  # type: ignore[method-assign]
            x, part.weight, part.bias, part.stride, (kernel[0] // 2, kernel[1] // 2), 1, part.groups
        )
        return True
    if not any(pad):
        return False
    before = part.forward
    part.padding = 0
    fill = 0.0 if isinstance(part, nn.Conv2d) else float("-inf")

    def uneven(x: Tensor) -> Tensor:
        (top, left), (low, right) = ((p - (side % 2 == 0) for p, side in zip(pad, x.shape[2:], strict=True)), pad)
        return before(nn.functional.pad(x, (left, right, top, low), value=fill))

    part.forward = uneven  # type: ignore[method-assign]
    return True


def _stride_elsewhere(part: nn.Module) -> bool:
    """In a bottleneck, the stride on the other convolution."""
    first, second = (getattr(getattr(part, name, None), "conv", None) for name in ("conv1", "conv2"))
    if not (isinstance(first, nn.Conv2d) and isinstance(second, nn.Conv2d) and hasattr(part, "conv3")):
        return False
    first.stride, second.stride = second.stride, first.stride
    return True


def _unscaled_sum(part: nn.Module) -> bool:
    if getattr(part, "scale", 1.0) != 1.0:
        part.scale = 1.0
        return True
    return False


def _pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


# What is tried, in the order in which it is told. Each says whether it changed the part.
CHANGES: dict[str, Callable[[nn.Module], bool]] = {
    "an average counts the padding in one and not in the other": _count_padding,
    "padding at stride 2: even in one, uneven (TensorFlow's SAME) in the other": _shifted_padding,
    **{f"the batch norm's epsilon is {epsilon:g} in the other": _epsilon(epsilon) for epsilon in EPSILONS},
    "a kernel is transposed: height and width are exchanged": _turned,
    "a kernel is flipped: convolution in one, correlation in the other": _flipped,
    "the other's batch norm has no scale (gamma), or it was not loaded": _unscaled,
    "the other lacks a shift (beta or bias), or it was not loaded": _unshifted,
    "the other's batch norm has mean 0 and variance 1: its statistics were not loaded": _fresh_statistics,
    "the other has no ReLU where ours has one": _without_relu,
    "a pooling is a maximum in one and an average in the other": _other_pooling,
    "the stride of a bottleneck is on another convolution": _stride_elsewhere,
    "the other does not scale what a block adds": _unscaled_sum,
}
