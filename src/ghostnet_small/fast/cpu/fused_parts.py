"""Parts of a network that the C kernels compute as one function; parts may consist of others.

A part describes a module for one input: the kernels that compute it, and its parameters. Parts do
not use autograd; ``apply`` runs any of them as one autograd function.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class Part(Protocol):
    """A function from contiguous images ``(N, H, W, C)`` to contiguous images.

    It is made for one run, and may keep values of it other than tensors.
    """

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """Return the parameters in the order in which ``run`` and ``run_back`` take them."""

    def run(self, x: Tensor, parameters: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Return the output, and what ``run_back`` needs beside the input."""

    def run_back(
        self, grad: Tensor, x: Tensor, kept: Sequence[Tensor], parameters: Sequence[Tensor]
    ) -> tuple[Tensor | None, list[Tensor]]:
        """Return the gradients of the input (``None`` where it has none) and of the parameters."""


def apply(part: Part, x: Tensor) -> Tensor:
    """Apply ``part`` to ``x``: ``(N, C, H, W) -> (N, C', H', W')``."""
    out: Tensor = _Run.apply(x, part, *part.parameters)
    return out


class _Run(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, part: Part, *parameters: Tensor) -> Tensor:
        pixels = pixels_of(x)
        out, kept = part.run(pixels, parameters)
        ctx.part = part
        ctx.save_for_backward(pixels, *parameters, *kept)
        return out.permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        part = ctx.part
        x, *saved = ctx.saved_tensors
        number = len(part.parameters)
        of_x, found = part.run_back(pixels_of(grad), x, saved[number:], saved[:number])
        return None if of_x is None else of_x.permute(0, 3, 1, 2), None, *found


def pixels_of(x: Tensor) -> Tensor:
    """Return ``(N, C, H, W)`` as contiguous ``(N, H, W, C)``, copied only where necessary."""
    pixels = x.permute(0, 2, 3, 1).contiguous()
    # Where a side is 1, PyTorch may call memory contiguous although its stride there is unusual.
    _, h, w, c = pixels.shape
    return pixels.as_strided(pixels.shape, (h * w * c, w * c, c, 1))


def matching(found: Tensor, parameter: Tensor) -> Tensor:
    """Return a gradient ``(O, I)`` in the shape and memory format of a 1x1 convolution's weight."""
    return found.as_strided(parameter.shape, parameter.stride())
