"""The sum of conv-BN branches in training mode, as one convolution with a folded kernel.

The branches fold before the convolution (see ``branches``), and no branch's output is ever
computed. Exact up to rounding, including the gradients through the statistics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ghostnet_small.fast.cpu.backends import Way, way_of
from ghostnet_small.fast.cpu.branch_folding import (
    Branches,
    Folded,
    branches_of,
    fold,
    same_training,
    unfold,
)
from ghostnet_small.fast.cpu.kernels import calls
from ghostnet_small.nn.rep_conv import ConvBN, RepConv2d, sum_of_branches

# Without the C kernels, below this many input elements the many small steps for the moments cost
# more than they save: on a CPU core, batch 128, (24, 8, 8) is just faster, smaller inputs are not.
WORTHWHILE = 2**17


def merged_forward(rep: RepConv2d, x: Tensor) -> Tensor:
    """Compute ``sum_of_branches(rep, x)`` as one convolution: ``(N, I, H, W) -> (N, O, H', W')``.

    Running statistics are updated as batch norm does. Cases without a merged form (kernels
    beyond 3x3, stride 2 without the C kernels, any batch norm in evaluation, autocast) and cases
    that it does not make faster (small inputs) are computed branch by branch.
    """
    part = merged_of(rep, x, (x.shape[2], x.shape[3]))
    worthwhile = calls.usable(x) or x.numel() >= WORTHWHILE
    if part is None or not worthwhile or torch.is_autocast_enabled(x.device.type):
        return sum_of_branches(rep, x)
    out: Tensor = MergedConv.apply(x, part, *part.parameters)
    return out


def foldable(branches: Branches, x: Tensor) -> bool:
    """Return whether ``branches`` over images like ``x`` can be folded."""
    return same_training(branches.norms) and x.dtype == branches.norms[0].weight.dtype


@dataclass(frozen=True)
class Merged:
    """A convolution with the folded kernel, computed in the given way.

    It holds the number of windows and the size of the output. A run updates the branches' running
    statistics. A ``Part`` in the memory format that ``way`` takes: images are ``(N, H, W, C)`` by
    their strides.
    """

    branches: Branches
    way: Way
    windows: int
    size: tuple[int, int]

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """Return those of the branches."""
        return self.branches.parameters

    def run(self, x: Tensor, parameters: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """See ``Part``."""
        x = x.permute(0, 3, 1, 2)
        mean, covariance = self.way.moments(x)
        folded = fold(self.branches, tuple(parameters), mean, covariance, self.windows)
        out = self.way.convolve(x, folded.kernel, folded.shift)
        return out.permute(0, 2, 3, 1), [mean, *folded]

    def run_back(
        self,
        grad: Tensor,
        x: Tensor,
        kept: Sequence[Tensor],
        parameters: Sequence[Tensor],
        of_input: bool = True,
    ) -> tuple[Tensor | None, list[Tensor]]:
        """See ``Part``; ``of_input`` asks for the gradient of the input."""
        grad, x = grad.permute(0, 3, 1, 2), x.permute(0, 3, 1, 2)
        mean, folded = kept[0], Folded(*kept[1:])
        grads = self.way.kernel_gradient(grad, x, folded.kernel)
        slopes = unfold(self.branches, tuple(parameters), folded, mean, self.windows, *grads)
        if not of_input:
            return None, slopes.parameters
        of_x = self.way.input_gradient(grad, x, folded.kernel, slopes.first, slopes.second)
        return of_x.permute(0, 2, 3, 1), slopes.parameters


def merged_of(rep: RepConv2d, x: Tensor, size: tuple[int, int]) -> Merged | None:
    """Return the part of ``rep`` for images like ``x`` of ``size``; ``None`` if there is none."""
    first = rep.branches[0]
    assert isinstance(first, ConvBN)
    branches = branches_of(rep)
    way = way_of(first.conv, x) if foldable(branches, x) else None
    high, wide = ((side - 1) // first.conv.stride[0] + 1 for side in size)
    # A single value has no variance; batch norm itself raises the error.
    if way is None or len(x) * high * wide < 2:
        return None
    return Merged(branches, way, len(x) * high * wide, (high, wide))


class MergedConv(torch.autograd.Function):
    """The autograd function of the input, ``Merged`` and its parameters.

    It is one function because its many small steps would cost more in autograd.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, part: Merged, *parameters: Tensor) -> Tensor:
        out, kept = part.run(x.permute(0, 2, 3, 1), parameters)
        ctx.part = part
        ctx.save_for_backward(x, *parameters, *kept)
        return out.permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, *saved = ctx.saved_tensors
        number = len(ctx.part.parameters)
        of_x, found = ctx.part.run_back(
            grad.permute(0, 2, 3, 1),
            x.permute(0, 2, 3, 1),
            saved[number:],
            saved[:number],
            ctx.needs_input_grad[0],
        )
        return None if of_x is None else of_x.permute(0, 3, 1, 2), None, *found
