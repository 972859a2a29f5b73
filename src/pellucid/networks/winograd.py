"""A convolution of 3 by 3 with a quarter of its multiplications: Winograd's minimal filtering F(4 x 4, 3 x 3).

Lavin and Gray 2015, arXiv:1509.09308, section 4. A tile of 6 x 6 pixels becomes the values of a polynomial at 36
points; there a convolution is one product a point, 36 for 16 pixels of output where the sum over the kernel takes 144.
Along each side the points are 0, 1, -1, 2, -2 and infinity. Those at a and -a share their even and odd parts, so a
transform is a few sums (`SUMS`, `ENDS`) and then even + odd, even - odd (`_mirror`); its transpose is the same in the
other order, which is the way back from the points, and the gradients.

A processor with fast fused products in a lower precision, or a GPU, has better ways; `winograd` is for the rest.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

TILE, POINTS = 4, 6  # pixels of output along a side, and points
# Where it is quicker, on 2 cores with AVX2: a tile is read and written some 60 times, which few channels do not repay.
LEAST_TILES = 64
LEAST_CHANNELS, LEAST_CHANNELS_LEARNING = 96, 40
AT_ONCE = 2**22  # numbers at the points of as many images as are computed at once; more takes longer to fetch
MOST = 2**25  # numbers at the points of one image: a larger one would take too much memory
MIRRORED = ((1, 2), (3, 4))  # points a and -a; before `_mirror`, the even part and the odd
# From six pixels to the points.
SUMS = (
    (4, 0, -5, 0, 1, 0),
    (0, 0, -4, 0, 1, 0),
    (0, -4, 0, 1, 0, 0),
    (0, 0, -1, 0, 1, 0),
    (0, -2, 0, 2, 0, 0),
    (0, 4, 0, -5, 0, 1),
)
# From four gradients of the output to the points; the transpose leads from the points to four pixels of output.
ENDS = ((1, 0, 0, 0), (1, 0, 1, 0), (0, 1, 0, 1), (1, 0, 4, 0), (0, 2, 0, 8), (0, 0, 0, 1))
# From the three weights along a side to the points.
KERNEL = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)


def _combine(rows: Sequence[Sequence[float]], given: Sequence[Tensor], made: Sequence[Tensor]) -> None:
    """made[i] = sum of rows[i][j] given[j]."""
    for row, out in zip(rows, made, strict=True):
        # first one that needs no product
        (first, start), *others = sorted(
            ((factor, one) for factor, one in zip(row, given, strict=True) if factor), key=lambda term: term[0] != 1
        )
        if first == 1 and others:
            (factor, one), *others = others
            torch.add(start, one, alpha=factor, out=out)
        else:
            torch.mul(start, first, out=out)
        for factor, one in others:
            out.add_(one, alpha=factor)


def _mirror(points: Sequence[Tensor]) -> None:
    """Even and odd parts to their sum and difference, in place; this is its own transpose."""
    for one, other in MIRRORED:
        points[one].add_(points[other])
        torch.sub(points[one], points[other], alpha=2, out=points[other])


def _transposed(rows: Sequence[Sequence[float]]) -> list[tuple[float, ...]]:
    return list(zip(*rows, strict=True))


def _lines(pixels: Tensor, side: int, tiles: int) -> list[Tensor]:
    """Of pixels (..., side, ...), for each of the six in a tile those of all tiles."""
    return [pixels.narrow(side, j, TILE * (tiles - 1) + 1).unfold(side, 1, TILE).squeeze(-1) for j in range(POINTS)]


def _to_points(pixels: Tensor) -> Tensor:
    """Padded pixels (N, 4 h + 2, 4 w + 2, C) at the points (6, 6, N, h, w, C)."""
    n, height, width, channels = pixels.shape
    h, w = height // TILE, width // TILE
    half = pixels.new_empty(POINTS, n, height, w, channels)
    _combine(SUMS, _lines(pixels, 2, w), half)
    _mirror(half)
    made = pixels.new_empty(POINTS, POINTS, n, h, w, channels)
    _combine(SUMS, _lines(half, 2, h), made)
    _mirror(made)
    return made


def _to_points_gradient(points: Tensor) -> Tensor:
    """The transpose of `_to_points`; `points` are overwritten."""
    *_, n, h, w, channels = points.shape
    _mirror(points)
    half = points.new_zeros(POINTS, n, TILE * h + 2, w, channels)
    _spread(points, half, 2, h)
    _mirror(half)
    pixels = points.new_zeros(n, TILE * h + 2, TILE * w + 2, channels)
    _spread(half, pixels, 2, w)
    return pixels


def _spread(given: Tensor, pixels: Tensor, side: int, tiles: int) -> None:
    lines = _lines(pixels, side, tiles)
    rows = _transposed(SUMS)
    _combine(rows[:TILE], given, lines[:TILE])
    for row, line in zip(rows[TILE:], lines[TILE:], strict=True):  # which the next tile has too
        for factor, one in zip(row, given, strict=True):
            if factor:
                line.add_(one, alpha=factor)


def _from_points(points: Tensor, pixels: Tensor) -> None:
    """Points (6, 6, N, h, w, K), which are overwritten, to pixels (N, 4 h, 4 w, K)."""
    *_, n, h, w, channels = points.shape
    rows = _transposed(ENDS)
    _mirror(points)
    half = points.new_empty(POINTS, n, h, TILE, w, channels)
    _combine(rows, points, [half[:, :, :, j] for j in range(TILE)])
    _mirror(half)
    tiled = pixels.view(n, h, TILE, w, TILE, channels)
    _combine(rows, half, [tiled[:, :, :, :, j] for j in range(TILE)])


def _from_points_gradient(pixels: Tensor) -> Tensor:
    """The transpose of `_from_points`."""
    n, height, width, channels = pixels.shape
    h, w = height // TILE, width // TILE
    pixels = pixels.view(n, h, TILE, w, TILE, channels)
    half = pixels.new_empty(POINTS, n, h, TILE, w, channels)
    _combine(ENDS, [pixels[:, :, :, :, j] for j in range(TILE)], half)
    _mirror(half)
    made = pixels.new_empty(POINTS, POINTS, n, h, w, channels)
    _combine(ENDS, [half[:, :, :, j] for j in range(TILE)], made)
    _mirror(made)
    return made


def _kernels(weight: Tensor) -> Tensor:
    """Weights (K, C, 3, 3) at the points: (36, C, K)."""
    out, channels = weight.shape[:2]
    taps = weight.permute(0, 2, 3, 1).reshape(out, 9, channels)  # as they lie in memory, channels last
    return torch.matmul(_both(weight), taps).permute(1, 2, 0)


def _kernels_gradient(points: Tensor) -> Tensor:
    """The transpose of `_kernels`."""
    _, channels, out = points.shape
    taps = torch.matmul(_both(points).T, points.permute(2, 0, 1))
    return taps.view(out, 3, 3, channels).permute(0, 3, 1, 2)


def _both(like: Tensor) -> Tensor:
    """(36, 9): the weights to the points, along both sides at once."""
    to_points = like.new_tensor(KERNEL)
    return torch.kron(to_points, to_points)


@dataclass(frozen=True)
class _Tiling:
    """How images (N, C, H, W) are cut into h by w tiles, some images at a time."""

    shape: torch.Size
    padding: int

    @property
    def out(self) -> tuple[int, int]:
        """The height and the width of what is computed."""
        return self.shape[2] + 2 * self.padding - 2, self.shape[3] + 2 * self.padding - 2

    @property
    def tiles(self) -> tuple[int, int]:
        height, width = self.out
        return -(-height // TILE), -(-width // TILE)

    def parts(self) -> Iterator[slice]:
        n, channels, *_ = self.shape
        h, w = self.tiles
        some = max(1, AT_ONCE // max(1, POINTS**2 * h * w * channels))
        return (slice(start, start + some) for start in range(0, n, some))

    def padded(self, images: Tensor) -> Tensor:
        """(N, 4 h + 2, 4 w + 2, C)"""
        (h, w), p = self.tiles, self.padding
        right, below = TILE * w + 2 - self.shape[3] - p, TILE * h + 2 - self.shape[2] - p
        return functional.pad(images.permute(0, 2, 3, 1), (0, 0, p, right, p, below))

    def unpadded(self, pixels: Tensor) -> Tensor:
        """Back to (N, C, H, W)."""
        _, _, height, width = self.shape
        return pixels[:, self.padding :, self.padding :][:, :height, :width].permute(0, 3, 1, 2)


def _convolved(images: Tensor, kernels: Tensor, padding: int) -> Tensor:
    """Images (N, C, H, W) with kernels (36, C, K) to (N, H', W', K)."""
    tiling = _Tiling(images.shape, padding)
    (h, w), (height, width), out = tiling.tiles, tiling.out, kernels.shape[2]
    made = images.new_empty(len(images), TILE * h, TILE * w, out)
    for part in tiling.parts():
        points = _to_points(tiling.padded(images[part]))
        product = torch.bmm(points.view(POINTS**2, -1, images.shape[1]), kernels)
        _from_points(product.view(*points.shape[:-1], out), made[part])
    return made if made.shape[1:3] == (height, width) else made[:, :height, :width].contiguous()


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, padding: int) -> Tensor:
        kernels = _kernels(weight)
        ctx.save_for_backward(images, kernels)
        ctx.padding = padding
        return _convolved(images, kernels, padding)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        images, kernels = ctx.saved_tensors
        tiling = _Tiling(images.shape, ctx.padding)
        (h, w), (height, width) = tiling.tiles, tiling.out
        missing = (0, 0, 0, TILE * w - width, 0, TILE * h - height)
        of_images = torch.empty_like(images) if ctx.needs_input_grad[0] else None
        of_kernels = torch.zeros_like(kernels) if ctx.needs_input_grad[1] else None
        for part in tiling.parts():
            given = functional.pad(gradient[part], missing).contiguous()
            product = _from_points_gradient(given)
            flat = product.view(POINTS**2, -1, gradient.shape[3])
            if of_kernels is not None:
                points = _to_points(tiling.padded(images[part])).view(POINTS**2, -1, images.shape[1])
                of_kernels.baddbmm_(points.transpose(1, 2), flat)
            if of_images is not None:
                back = torch.bmm(flat, kernels.transpose(1, 2)).view(*product.shape[:-1], images.shape[1])
                of_images[part] = tiling.unpadded(_to_points_gradient(back))
        return of_images, None if of_kernels is None else _kernels_gradient(of_kernels), None


class Winograd(nn.Conv2d):
    """A convolution of 3 by 3 and stride 1 that is computed at the points where that is quicker.

    Other convolutions become this by `winograd`; nothing else makes one.
    """

    fixed: bool
    kept: Tensor | None  # `fixed` weights at the points, once they were needed

    def forward(self, images: Tensor) -> Tensor:
        if not self._pays(images):
            return super().forward(images)
        padding = int(self.padding[0])
        if self._learns(images):
            made: Tensor = _Convolution.apply(images, self.weight, padding)
        else:
            made = _convolved(images, self._kernels(), padding)
        made = made.permute(0, 3, 1, 2)
        return made if self.bias is None else made + self.bias[:, None, None]

    def _learns(self, images: Tensor) -> bool:
        return torch.is_grad_enabled() and (images.requires_grad or self.weight.requires_grad)

    def _pays(self, images: Tensor) -> bool:
        """Whether it can be computed so, and is quicker then, as measured on processors with AVX2."""
        if images.device.type != "cpu" or images.dtype not in (torch.float32, torch.float64):
            return False
        if torch.is_autocast_enabled("cpu") or images.ndim != 4 or images.shape[1] != self.in_channels:
            return False
        h, w = _Tiling(images.shape, int(self.padding[0])).tiles
        least = LEAST_CHANNELS_LEARNING if self._learns(images) else LEAST_CHANNELS
        # The transforms take time by the sum of both channels, and save it by their product.
        repaid = 2 * self.in_channels * self.out_channels / (self.in_channels + self.out_channels) >= least
        most = POINTS**2 * h * w * max(self.in_channels, self.out_channels)
        return repaid and len(images) * h * w >= LEAST_TILES and most <= MOST

    def _kernels(self) -> Tensor:
        if not self.fixed:
            return _kernels(self.weight)
        if self.kept is None:
            self.kept = _kernels(self.weight)
        return self.kept


def winograd(net: nn.Module, *, fixed: bool) -> None:
    """Let `net` compute its convolutions of 3 by 3 and stride 1 in this way where it pays; its weights stay its own.

    `fixed` weights will not change any more: four times their memory is taken once a batch is large enough.
    """
    for module in net.modules():
        if type(module) in (nn.Conv2d, Winograd) and _suits(module):
            module.__class__ = Winograd  # as torch's own lazy modules become what they are: names and hooks stay
            module.fixed = fixed
            module.register_buffer("kept", None, persistent=False)


def _suits(conv: nn.Conv2d) -> bool:
    return (
        conv.kernel_size == (3, 3)
        and conv.stride == conv.dilation == (1, 1)
        and conv.padding in ((0, 0), (1, 1))
        and conv.groups == 1
        and conv.padding_mode == "zeros"
    )
