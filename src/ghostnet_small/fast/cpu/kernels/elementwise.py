"""The work between products by the C kernels: activations, means, a matrix turned.

All tensors of a call have one dtype, float32 or float64, and are contiguous.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ghostnet_small.fast.cpu.kernels.calls import call, long


def turned(matrix: Tensor) -> Tensor:
    """Return ``(R, C)`` as a new ``(C, R)``."""
    out = matrix.new_empty(matrix.shape[1], len(matrix))
    call("turned", matrix, *matrix.shape, matrix, out)
    return out


def sigmoid(x: Tensor) -> Tensor:
    """Return ``x``, whose numbers become their sigmoids."""
    call("sigmoid", x, long(x.numel()), x)
    return x


def means_of_pixels(x: Tensor) -> Tensor:
    """Return the mean of each image's pixels: ``(N, H, W, C) -> (N, C)``."""
    n, h, w, c = x.shape
    means = x.new_empty(n, c)
    call("means_of_pixels", x, x, long(n), long(h * w), c, means)
    return means


def means_of_pixels_gradient(grad: Tensor, like: Tensor) -> Tensor:
    """Return the gradient ``(N, H, W, C)`` of ``like`` from that of its means, ``(N, C)``."""
    n, h, w, c = like.shape
    out = torch.empty_like(like)
    call("means_of_pixels_gradient", grad, grad, long(n), long(h * w), c, out)
    return out


def relu_gradient(grad: Tensor, out: Tensor) -> Tensor:
    """Return the gradient before a ReLU, from that of its output ``out``."""
    below = torch.empty_like(grad)
    call("relu_gradient", grad, long(grad.numel()), grad, out, below)
    return below
