"""Receptive fields of any module: equal to what gradients say, or blank; over random graphs of many operations."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

import pellucid as pl

SIZE, CHANNELS = 16, 4


class Does(nn.Module):
    """A function between a layer before, which sees single pixels, and one after, whose row is looked at."""

    def __init__(self, *steps: Callable[[Tensor], Tensor], kernel: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.before = nn.Conv2d(3, CHANNELS, 1)
        self.steps = steps
        self.layers = nn.ModuleList(step for step in steps if isinstance(step, nn.Module))
        with torch.no_grad():
            channels = self._between(torch.zeros(1, 3, SIZE, SIZE)).shape[1]
        self.after = nn.Conv2d(channels, 3, kernel)

    def _between(self, x: Tensor) -> Tensor:
        x = self.before(x)
        for step in self.steps:
            x = step(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.after(self._between(x))
        return made


def seen(net: nn.Module, size: int = SIZE) -> dict[tuple[int, int], tuple[int, int, int, int]]:
    """The box of pixels that each cell of the output depends on, by gradients for a few random images."""
    net = net.double().eval()
    total: Tensor | None = None
    for seed in range(4):  # a maximum lets a gradient through to one place only
        images = torch.randn(1, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        images.requires_grad_()
        cells = net(images)[0].sum(0).flatten()
        each = torch.eye(len(cells), dtype=torch.float64)
        found = torch.autograd.grad(cells, images, each, is_grads_batched=True)[0].abs().sum((1, 2))
        total = found if total is None else total + found
    with torch.no_grad():
        height, width = net(torch.zeros(1, 3, size, size, dtype=torch.float64)).shape[2:]
    assert total is not None
    boxes = {}
    for at, pixels in enumerate(total.view(height * width, size, size) > 0):
        down, across = (pixels.any(axis).nonzero().flatten().tolist() for axis in (1, 0))
        if down:
            boxes[divmod(at, width)] = (down[0], down[-1] + 1, across[0], across[-1] + 1)
    return boxes


def largest(net: nn.Module, size: int = SIZE) -> tuple[int, int]:
    """Pixels down and across that the cells which are furthest from the edges depend on."""
    boxes = seen(net, size).values()
    return max(low - top for top, low, _, _ in boxes), max(right - left for _, _, left, right in boxes)


def said(net: nn.Module, size: int = SIZE) -> tuple[tuple[int, int] | None, int | None]:
    row = pl.structure(net.float(), size=size).rows[-1]
    return row.field, row.stride


def even(x: Tensor) -> Tensor:
    return x[..., : x.shape[2] // 2 * 2, : x.shape[3] // 2 * 2]


def windows(x: Tensor) -> Tensor:
    """Softmax over windows of 2 x 2, as transformers divide a map."""
    x = even(x)
    n, c, h, w = x.shape
    tokens = x.view(n, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 3, 5, 1).reshape(-1, 4, c)
    mixed = (tokens @ tokens.transpose(1, 2)).softmax(-1) @ tokens
    return mixed.view(n, h // 2, w // 2, 2, 2, c).permute(0, 5, 1, 3, 2, 4).reshape(n, c, h, w)


def attention(x: Tensor) -> Tensor:
    tokens = x.flatten(2).transpose(1, 2)[:, None]
    return F.scaled_dot_product_attention(tokens, tokens, tokens)[:, 0].transpose(1, 2).view(x.shape)


def shifted(x: Tensor) -> Tensor:
    """Written into a view."""
    made = torch.zeros_like(x)
    made[..., 1:] = x[..., :-1]
    return made + x


# What one cell of a 3 x 3 convolution after it has seen, worked out by hand; where nothing stands it must be blank.
BY_HAND: dict[str, tuple[Callable[[Tensor], Tensor], tuple[int, int] | None]] = {
    "nothing": (lambda x: x, (3, 3)),
    "every second": (lambda x: x[..., ::2, ::2], (5, 5)),
    "every third row": (lambda x: x[:, :, 1::3], (7, 3)),
    "space to depth": (lambda x: F.pixel_unshuffle(x, 2), (6, 6)),
    "space to depth by views": (
        lambda x: x.view(1, 4, 8, 2, 8, 2).permute(0, 1, 3, 5, 2, 4).reshape(1, 16, 8, 8),
        (6, 6),
    ),
    "dilated pooling": (lambda x: F.max_pool2d(x, 3, 1, 0, 2), (7, 7)),
    "pooling": (lambda x: F.avg_pool2d(x, 2), (6, 6)),
    "turned round": (lambda x: x.flip(2, 3), (3, 3)),
    "padded": (lambda x: F.pad(x, (2, 2, 2, 2)), (3, 3)),
    "cut": (lambda x: F.pad(x, (-2, -2, -2, -2)), (3, 3)),
    "mirrored": (lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"), (3, 3)),
    "joined with a wider one": (lambda x: x[..., 2:-2, 2:-2] + F.avg_pool2d(x, 5, 1), (7, 7)),
    "beside a wider one": (lambda x: torch.cat([x, F.avg_pool2d(x, 5, 1, 2)], 1), (7, 7)),
    "instance norm": (F.instance_norm, (16, 16)),
    "group norm": (lambda x: F.group_norm(x, 2), (16, 16)),
    "norm over places": (lambda x: F.layer_norm(x, x.shape[2:]), (16, 16)),
    "norm over channels": (lambda x: F.layer_norm(x.permute(0, 2, 3, 1), (4,)).permute(0, 3, 1, 2), (3, 3)),
    "softmax over a row": (lambda x: x.softmax(3), (3, 16)),
    "softmax over channels": (lambda x: x.softmax(1), (3, 3)),
    "a gate": (lambda x: x * x.mean((2, 3), keepdim=True).sigmoid(), (16, 16)),
    "a strip": (lambda x: x + x.mean(2, keepdim=True), (16, 3)),
    "attention": (attention, (16, 16)),
    "attention in windows": (windows, (4, 4)),  # a window, and a cell of the one beside it
    "rolled": (lambda x: x.roll(1, 3), None),
    "padded with the other side": (lambda x: F.pad(x, (1, 1, 1, 1), mode="circular"), None),
    "the wrong shape": (lambda x: x.permute(0, 2, 3, 1).reshape(x.shape), None),
    "written into a view": (shifted, None),
    "spectrum": (lambda x: torch.fft.irfft2(torch.fft.rfft2(x)), None),
    "summed up": (lambda x: x.cumsum(3), None),
    "hidden": (lambda x: (x.flatten(2) + torch.eye(256) * -1e9).softmax(2)[..., :256].view(x.shape)
               if x.shape[-1] == 256 else x.masked_fill(torch.arange(16) % 3 == 0, 0.0), None),
    "decided by a value": (lambda x: x * (2.0 if x.mean().item() > 0 else 3.0), None),
}  # fmt: skip


@pytest.mark.parametrize("what", BY_HAND)
def test_fields_are_those_worked_out_by_hand_or_blank(what: str) -> None:
    step, field = BY_HAND[what]
    assert said(Does(step, kernel=3))[0] == field


class Several(nn.Module):
    def __init__(self, one: nn.Module, other: nn.Module, join: str) -> None:
        super().__init__()
        self.one, self.other, self.join = one, other, join

    def forward(self, x: Tensor) -> Tensor:
        one, other = self.one(x), self.other(x)
        height, width = (min(one.shape[axis], other.shape[axis]) for axis in (2, 3))
        one, other = one[..., :height, :width], other[..., :height, :width]
        match self.join:
            case "add":
                return one + other  # type: ignore[no-any-return]
            case "gate":
                return one * other.sigmoid()  # type: ignore[no-any-return]
        return torch.cat([one, other], 1)[:, ::2]


class Step(nn.Module):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, x: Tensor) -> Tensor:
        return STEPS[self.name](x)


STEPS: dict[str, Callable[[Tensor], Tensor]] = {
    name: step
    for name, (step, _) in BY_HAND.items()
    if name not in ("space to depth", "space to depth by views", "beside a wider one", "hidden", "decided by a value")
} | {
    "space to depth, less channels": lambda x: F.pixel_unshuffle(even(x), 2)[:, ::4],
    "depth to space": lambda x: F.pixel_shuffle(x, 2).repeat(1, 4, 1, 1),
    "crop": lambda x: x[..., 1:-2, 2:],
    "other axes": lambda x: x.transpose(2, 3),
    "nearest": lambda x: F.interpolate(x, scale_factor=2.0),
    "between": lambda x: F.interpolate(x, scale_factor=2.0, mode="bilinear"),
    "patches": lambda x: F.unfold(x, 2).view(1, 16, x.shape[2] - 1, x.shape[3] - 1)[:, :4],
    "a view of windows": lambda x: x.unfold(2, 2, 1).mean(-1),
    "three by three": lambda x: F.adaptive_avg_pool2d(x, 3),
    "the whole": lambda x: F.adaptive_avg_pool2d(x, 1),
    "rounded up": lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True),
    "mish": F.mish,
    "half of it": lambda x: F.glu(torch.cat([x, x.flip(1)], 1), 1),
    "chosen rows": lambda x: x[:, :, torch.arange(x.shape[2]).flip(0)],
    "one row more": lambda x: torch.cat([x, x[:, :, :1]], 2),
    "a constant column": lambda x: torch.cat([torch.ones_like(x[..., :1]), x], 3),
    "products": lambda x: torch.einsum("nchw,nchv->nchv", x, x) / 9,
}


@st.composite
def graphs(draw: st.DrawFn, depth: int = 0) -> nn.Module:
    """Some steps in order; some of them two graphs side by side."""
    kinds = ["conv", "conv", "conv", "up", "step", "step", "step", *(["several"] if depth < 2 else [])]
    parts: list[nn.Module] = []
    for kind in draw(st.lists(st.sampled_from(kinds), max_size=3)):
        match kind:
            case "conv":
                kernel = draw(st.sampled_from([1, 2, 3, (1, 3), (3, 1)]))
                stride, pad = draw(st.sampled_from([1, 1, 2])), draw(st.sampled_from([0, 0, 1]))
                groups, dilation = draw(st.sampled_from([1, 4])), draw(st.sampled_from([1, 1, 2]))
                parts.append(nn.Conv2d(4, 4, kernel, stride, pad, dilation, groups))
            case "up":
                parts.append(nn.ConvTranspose2d(4, 4, draw(st.integers(1, 4)), draw(st.integers(1, 2))))
            case "step":
                parts.append(Step(draw(st.sampled_from(sorted(STEPS)))))
            case "several":
                join = draw(st.sampled_from(["add", "gate", "beside"]))
                parts.append(Several(draw(graphs(depth + 1)), draw(graphs(depth + 1)), join))
    return nn.Sequential(*parts)


def check_graph(graph: nn.Module) -> None:
    """Where a field is stated, the cells that the edge does not touch have seen just that; and so with the stride."""
    try:
        torch.manual_seed(1)
        net = Does(graph)
        with torch.no_grad():
            cells = net(torch.zeros(1, 3, SIZE, SIZE)).shape[2:].numel()
    except (RuntimeError, ValueError):  # nothing is left of the map
        return
    if not 0 < cells <= 20 * 20:
        return
    field, stride = said(net)
    if field is None:
        return
    boxes = seen(net)
    assert largest(net) == (min(field[0], SIZE), min(field[1], SIZE))
    inside = {
        cell: box
        for cell, box in boxes.items()
        if all(box[2 * way] > field[way] and box[2 * way + 1] < SIZE - field[way] for way in (0, 1))
    }
    for (row, column), box in inside.items():
        assert (box[1] - box[0], box[3] - box[2]) == field
        for beside in ((row + 1, column), (row, column + 1)):
            if stride and beside in inside:
                assert max(abs(inside[beside][0] - box[0]), abs(inside[beside][2] - box[2])) == stride


@settings(deadline=None, max_examples=12, suppress_health_check=list(HealthCheck))
@given(graphs())
def test_fields_of_random_graphs_are_gradients_or_blank(graph: nn.Module) -> None:
    check_graph(graph)


@pytest.mark.slow
@settings(deadline=None, max_examples=400, suppress_health_check=list(HealthCheck))
@given(graphs())
def test_fields_of_many_random_graphs_are_gradients_or_blank(graph: nn.Module) -> None:
    check_graph(graph)
