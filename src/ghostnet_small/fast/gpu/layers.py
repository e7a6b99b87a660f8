"""Convolutions with the batch norms after them, summed over branches, forward and backward.

A layer keeps no state of a step: ``forward`` returns what ``backward`` needs. The results are those
of ``sum_of_branches`` and ``conv_then_norm``, up to rounding.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ghostnet_small.fast.gpu import depthwise_kernels
from ghostnet_small.fast.gpu.maps import Map, Size, grid, tile, whole
from ghostnet_small.fast.gpu.norms import Norms, Step, branches_of
from ghostnet_small.fast.gpu.packed import Packed
from ghostnet_small.nn.rep_conv import ConvBN, RepConv2d

# Programs that sum the gradients of depth-wise kernels.
SUMMING = 768


class Kept(NamedTuple):
    """The tensors of ``forward`` that a layer's ``backward`` needs."""

    x: Map
    y: Tensor
    out: Map | None
    norms: Tensor


class Pointwise:
    """A dense 1x1 convolution, or any dense convolution of ``patches``."""

    def __init__(
        self,
        part: RepConv2d | ConvBN,
        packed: Packed,
        running: Packed,
        *,
        relu: bool = False,
        of_patches: bool = False,
    ) -> None:
        branches = branches_of(part)
        like = branches.full[0].conv
        self.kernels = [branch.conv.weight for branch in branches.full]
        self.shape = (len(self.kernels) * like.out_channels, like.in_channels)
        self.columns = like.out_channels
        # In patches the order of taps differs from that of the parameters.
        self.weights = None if of_patches else packed.add(self.kernels)
        self.norms = Norms(branches, relu, packed, running)

    def _matrix(self, step: Step, columns: int) -> Tensor:
        if self.weights is not None:
            return step.low[self.weights].view(self.shape)
        rows = torch.cat([kernel.permute(0, 2, 3, 1).flatten(1) for kernel in self.kernels])
        padding = (0, columns - rows.shape[1])
        return nn.functional.pad(rows.to(step.low.dtype), padding)

    def forward(
        self,
        step: Step,
        x: Map,
        *,
        out: Map | None = None,
        more: Map | None = None,
        sum: Map | None = None,
    ) -> Kept:
        """Fill ``out`` and ``sum`` as ``Norms`` does."""
        y = torch.mm(x.rows, self._matrix(step, x.columns).t())
        kept = self.norms.forward(step, whole(y), x, out=out, more=more, sum=sum)
        return Kept(x, y, out, kept)

    def backward(
        self, step: Step, kept: Kept, grad: Map, *, more: Map | None = None, of_input: bool = True
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the gradient of the input plus ``more``, and those of unpacked kernels."""
        assert step.gradients is not None
        dy = torch.empty_like(kept.y)
        dx = None
        if self.norms.has_x:
            dx = whole(kept.y.new_empty(len(kept.y), kept.x.columns))
        self.norms.backward(
            step,
            kept.norms,
            grad,
            kept.out,
            whole(kept.y),
            kept.x,
            dy=whole(dy),
            dx=dx,
            more=more if dx is not None else None,
        )
        found = _product(dy.t(), kept.x.rows, step.parameters.dtype)
        if self.weights is not None:
            step.gradients[self.weights].view(self.shape).copy_(found)
        if not of_input:
            return dy, self._unpatched(found)
        matrix = self._matrix(step, kept.x.columns)
        added = dx or more
        if added is None:
            return torch.mm(dy, matrix), []
        return torch.addmm(added.rows, dy, matrix), []

    def _unpatched(self, found: Tensor) -> list[Tensor]:
        grads = []
        for kernel, rows in zip(self.kernels, found.split(self.columns), strict=True):
            out, channels, high, wide = kernel.shape
            of_taps = rows[:, : channels * high * wide]
            grad = of_taps.reshape(out, high, wide, channels).permute(0, 3, 1, 2)
            # In the parameter's memory format, as autograd and the optimiser want it.
            grads.append(torch.empty_like(kernel).copy_(grad))
        return grads


def _product(a: Tensor, b: Tensor, dtype: torch.dtype) -> Tensor:
    """Return ``a @ b`` in ``dtype``: sums over many rows must not be rounded to few digits."""
    if a.dtype == dtype:
        return torch.mm(a, b)
    if a.is_cuda:
        found: Tensor = torch.ops.aten.mm.dtype(a, b, dtype)
        return found
    return torch.mm(a.to(dtype), b.to(dtype))


class Depthwise:
    """A depth-wise convolution, padded by half its kernel."""

    def __init__(
        self, part: RepConv2d | ConvBN, packed: Packed, running: Packed, *, relu: bool = False
    ) -> None:
        branches = branches_of(part)
        like = branches.full[0].conv
        high, wide = like.kernel_size[0], like.kernel_size[1]
        self.channels, self.stride = like.out_channels, like.stride[0]
        self.geometry = {"HIGH": high, "WIDE": wide, "STRIDE": self.stride}
        self.weights = packed.add([branch.conv.weight for branch in branches.full])
        self.norms = Norms(branches, relu, packed, running)
        self.full, self.has_x = self.norms.full, self.norms.has_x
        # With a stride, the pixels under the windows' centres are not all pixels of the input.
        self.picks = int(self.has_x and self.stride > 1)

    def out_size(self, size: Size) -> Size:
        """Return the size of the output for an input of ``size``."""
        n, height, width = size
        return Size(n, (height - 1) // self.stride + 1, (width - 1) // self.stride + 1)

    def forward(
        self,
        step: Step,
        x: Map,
        size: Size,
        *,
        out: Map | None = None,
        more: Map | None = None,
        sum: Map | None = None,
    ) -> Kept:
        """Fill ``out`` and ``sum`` as ``Norms`` does, from images of ``size``."""
        after = self.out_size(size)
        columns = (self.full + self.picks) * self.channels
        y = x.base.new_empty(after.pixels, columns)
        depthwise_kernels.convolve[grid(after.pixels, self.channels)](
            x.base,
            step.parameters[self.weights],
            y,
            *size,
            *after[1:],
            self.channels // 2,
            *x.at,
            columns // 2,
            FULL=self.full,
            CENTRE=self.picks,
            **self.geometry,
            **tile(self.channels),
        )
        kept = self.norms.forward(step, whole(y), self._middles(x, y), out=out, more=more, sum=sum)
        return Kept(x, y, out, kept)

    def backward(
        self, step: Step, kept: Kept, size: Size, grad: Map, *, more: Map | None = None
    ) -> Tensor:
        """Return the gradient of the input plus ``more``."""
        assert step.gradients is not None
        after, channels = self.out_size(size), self.channels
        columns = (self.full + self.has_x) * channels
        dy = kept.y.new_empty(after.pixels, columns)
        self.norms.backward(
            step,
            kept.norms,
            grad,
            kept.out,
            whole(kept.y),
            self._middles(kept.x, kept.y),
            dy=whole(dy),
            dx=Map(dy, self.full * channels, channels) if self.has_x else None,
        )
        weights = step.parameters[self.weights]
        blocks = -(-channels // 8)
        programs = min(-(-after.pixels // 32), max(1, SUMMING // blocks))
        sums = weights.new_empty(programs, weights.numel())
        sizes = (*size, *after[1:], channels // 2)
        depthwise_kernels.weight_sums[(programs * blocks,)](
            kept.x.base,
            dy,
            sums,
            *sizes,
            *kept.x.at,
            columns // 2,
            FULL=self.full,
            **self.geometry,
            ROWS=32,
            COLUMNS=8,
        )
        depthwise_kernels.add_programs[(-(-weights.numel() // 16),)](
            sums, step.gradients[self.weights], programs, weights.numel(), LANES=128, COLUMNS=16
        )
        dx = kept.y.new_empty(size.pixels, channels)
        depthwise_kernels.input_slopes[grid(size.pixels, channels)](
            dy,
            weights,
            dx,
            (more or whole(dx)).base,
            *sizes,
            columns // 2,
            channels // 2,
            *(more or whole(dx)).at,
            FULL=self.full,
            CENTRE=self.has_x,
            HAS_MORE=int(more is not None),
            **self.geometry,
            **tile(channels),
        )
        return dx

    def _middles(self, x: Map, y: Tensor) -> Map:
        return Map(y, self.full * self.channels, self.channels) if self.picks else x
