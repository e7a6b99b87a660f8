"""The sum of conv-BN branches in training mode, as one convolution with a folded kernel.

The branches fold before the convolution (see ``branches``), and no branch's output is ever
computed. Exact up to rounding, gradients through the statistics included.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ghostnet_small.native import kernels
from ghostnet_small.nn.branches import Branches, Folded, branches_of, fold, same_training, unfold
from ghostnet_small.nn.rep_conv import ConvBN, RepConv2d, sum_of_branches
from ghostnet_small.nn.ways import Way, way_of

# Without the C kernels, below this many input elements the moments' many small steps cost more
# than they save: on a CPU core, batch 128, (24, 8, 8) just pays and smaller inputs do not.
WORTHWHILE = 2**17


def merged_forward(rep: RepConv2d, x: Tensor) -> Tensor:
    """``sum_of_branches(rep, x)`` by way of one convolution: ``(N, I, H, W) -> (N, O, H', W')``.

    Running statistics are updated as batch norm does. What has no merged form here (kernels
    beyond 3x3, stride 2 without the C kernels, any batch norm in evaluation, autocast), or gains
    nothing by it (small inputs), is computed branch by branch.
    """
    first = rep.branches[0]
    assert isinstance(first, ConvBN)
    branches = branches_of(rep)
    way = way_of(first.conv, x) if mergeable(branches, x) else None
    # Of a single value batch norm, too, knows no variance, and says so.
    if way is None or way.windows(x) < 2:
        return sum_of_branches(rep, x)
    out: Tensor = MergedConv.apply(x, way, branches, *branches.parameters)
    return out


def mergeable(branches: Branches, x: Tensor) -> bool:
    """Whether ``branches`` over ``x`` can be folded, and gain by it."""
    return (
        same_training(branches.norms)
        and x.numel() >= (2 * x.shape[1] if kernels.usable(x) else WORTHWHILE)
        and x.dtype == branches.norms[0].weight.dtype
        and not torch.is_autocast_enabled(x.device.type)
    )


class MergedConv(torch.autograd.Function):
    """Convolution with the folded kernel; the branches' running statistics move on.

    Takes the input, the way to compute it, the branches and their parameters. Written out as one
    function because its many small steps would cost more in autograd.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, way: Way, branches: Branches, *parameters: Tensor) -> Tensor:
        mean, covariance = way.moments(x)
        ctx.count = way.windows(x)
        folded = fold(branches, parameters, mean, covariance, ctx.count)
        ctx.way, ctx.branches = way, branches
        ctx.save_for_backward(x, mean, *folded, *parameters)
        return way.convolve(x, folded.kernel, folded.shift)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, mean, *saved = ctx.saved_tensors
        folded, parameters = Folded(*saved[:5]), tuple(saved[5:])
        grads = ctx.way.kernel_gradient(grad, x, folded.kernel)
        slopes = unfold(ctx.branches, parameters, folded, mean, ctx.count, *grads)
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = ctx.way.input_gradient(grad, x, folded.kernel, slopes.first, slopes.second)
        return grad_x, None, None, *slopes.parameters
