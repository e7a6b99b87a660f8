"""Ways to compute a convolution, the moments of its input, and the gradients of both.

Each way takes images ``(N, C, H, W)``, a kernel ``(G, Q, T)`` and a shift ``(G, Q)`` as in
``branch_folding``. PyTorch's operations work everywhere; the C kernels are faster.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from ghostnet_small.fast.cpu.branch_folding import is_depthwise, is_pointwise
from ghostnet_small.fast.cpu.fused_parts import pixels_of
from ghostnet_small.fast.cpu.kernels import calls, convolutions
from ghostnet_small.fast.cpu.kernels.elementwise import turned
from ghostnet_small.fast.cpu.moments import (
    KERNEL,
    add_channel_slope,
    add_window_slope,
    channel_moments,
    window_moments,
)


class Way(Protocol):
    """A way to compute one convolution without bias in training."""

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean ``(G, T)`` and biased covariance ``(G, T, T)`` of the kernels' inputs."""

    def convolve(self, x: Tensor, kernel: Tensor, shift: Tensor) -> Tensor:
        """Return the output ``(N, O, H', W')``."""

    def kernel_gradient(self, grad: Tensor, x: Tensor, kernel: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients of kernel and shift, from the output's."""

    def input_gradient(
        self, grad: Tensor, x: Tensor, kernel: Tensor, first: Tensor, second: Tensor
    ) -> Tensor:
        """Return the gradient of ``x``, through the convolution and the moments (``Slopes``)."""


def way_of(conv: nn.Conv2d, x: Tensor) -> Way | None:
    """Return the fastest way for ``conv`` over ``x``; ``None`` where there is none."""
    if is_pointwise(conv):
        return KernelPointwise() if calls.usable(x) else TorchPointwise()
    if not is_depthwise(conv):
        return None
    size = (conv.kernel_size[0], conv.kernel_size[1])
    if size in convolutions.SIZES and calls.usable(x):
        return KernelDepthwise(size, conv.stride[0])
    served = size == (KERNEL, KERNEL) and conv.stride[0] == 1
    return TorchDepthwise() if served else None


def rows_of(x: Tensor) -> Tensor:
    """Return ``(N, C, H, W)`` in channels_last memory as rows ``(N * H * W, C)``."""
    return pixels_of(x).view(-1, x.shape[1])


class KernelPointwise:
    """A 1x1 convolution by the C kernels."""

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, covariance = convolutions.channel_moments(rows_of(x))
        return mean[None], covariance[None]

    def convolve(self, x: Tensor, kernel: Tensor, shift: Tensor) -> Tensor:
        weight = turned(kernel[0])
        out = convolutions.pointwise_images(pixels_of(x), weight, shift[0], relu=False)
        return out.permute(0, 3, 1, 2)

    def kernel_gradient(self, grad: Tensor, x: Tensor, kernel: Tensor) -> tuple[Tensor, Tensor]:
        products, sums = convolutions.pointwise_gradient(rows_of(grad), rows_of(x))
        return products[None], sums[None]

    def input_gradient(
        self, grad: Tensor, x: Tensor, kernel: Tensor, first: Tensor, second: Tensor
    ) -> Tensor:
        rows = rows_of(x)
        out = torch.empty_like(rows)
        convolutions.pointwise(rows_of(grad), kernel[0], first[0], out, second=(rows, second[0]))
        return out.view(pixels_of(x).shape).permute(0, 3, 1, 2)


class KernelDepthwise:
    """A depth-wise convolution of any stride by the C kernels."""

    def __init__(self, size: calls.Size, stride: int) -> None:
        self.geometry = (size, stride)

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return convolutions.window_moments(pixels_of(x), *self.geometry)

    def convolve(self, x: Tensor, kernel: Tensor, shift: Tensor) -> Tensor:
        out = convolutions.depthwise_images(
            pixels_of(x), *self.geometry, kernel[:, 0], shift[:, 0], relu=False
        )
        return out.permute(0, 3, 1, 2)

    def kernel_gradient(self, grad: Tensor, x: Tensor, kernel: Tensor) -> tuple[Tensor, Tensor]:
        grads = convolutions.depthwise_gradient(pixels_of(grad), pixels_of(x), *self.geometry)
        return grads[0][:, None], grads[1][:, None]

    def input_gradient(
        self, grad: Tensor, x: Tensor, kernel: Tensor, first: Tensor, second: Tensor
    ) -> Tensor:
        pixels, above = pixels_of(x), pixels_of(grad)
        out = convolutions.depthwise_input_gradient(
            above,
            pixels,
            *self.geometry,
            kernel[:, 0],
            first,
            second,
            torch.empty_like(pixels),
        )
        return out.permute(0, 3, 1, 2)


class TorchPointwise:
    """A 1x1 convolution by PyTorch's operations."""

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return channel_moments(x)

    def convolve(self, x: Tensor, kernel: Tensor, shift: Tensor) -> Tensor:
        return functional.conv2d(x, kernel[0, :, :, None, None], shift[0])

    def kernel_gradient(self, grad: Tensor, x: Tensor, kernel: Tensor) -> tuple[Tensor, Tensor]:
        weight = kernel[0, :, :, None, None]
        _, of_kernel, of_shift = _backward(grad, x, weight, [False, True, True], 1)
        return of_kernel.view_as(kernel), of_shift[None]

    def input_gradient(
        self, grad: Tensor, x: Tensor, kernel: Tensor, first: Tensor, second: Tensor
    ) -> Tensor:
        weight = kernel[0, :, :, None, None]
        out, _, _ = _backward(grad, x, weight, [True, False, False], 1)
        return add_channel_slope(out, x, first, second)


class TorchDepthwise:
    """A depth-wise 3x3 convolution of stride 1 by PyTorch's operations."""

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return window_moments(x)

    def convolve(self, x: Tensor, kernel: Tensor, shift: Tensor) -> Tensor:
        weight = kernel.view(-1, 1, KERNEL, KERNEL)
        return functional.conv2d(x, weight, shift[:, 0], padding=1, groups=len(weight))

    def kernel_gradient(self, grad: Tensor, x: Tensor, kernel: Tensor) -> tuple[Tensor, Tensor]:
        weight = kernel.view(-1, 1, KERNEL, KERNEL)
        wanted = [False, True, True]
        _, of_kernel, of_shift = _backward(grad, x, weight, wanted, len(weight))
        return of_kernel.view_as(kernel), of_shift[:, None]

    def input_gradient(
        self, grad: Tensor, x: Tensor, kernel: Tensor, first: Tensor, second: Tensor
    ) -> Tensor:
        weight = kernel.view(-1, 1, KERNEL, KERNEL)
        wanted = [True, False, False]
        out, _, _ = _backward(grad, x, weight, wanted, len(weight))
        return add_window_slope(out, x, first, second)


def _backward(
    grad: Tensor, x: Tensor, weight: Tensor, wanted: list[bool], groups: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of input, kernel and bias of a convolution with half-kernel padding."""
    padding = [weight.shape[-1] // 2] * 2
    geometry = ([1, 1], padding, [1, 1], False, [0, 0], groups)
    result: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        grad, x, weight, [len(weight)], *geometry, wanted
    )
    return result
