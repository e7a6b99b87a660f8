"""The re-parameterisable convolution: conv-BN branches in training, one convolution after."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional

from ghostnet_small.nn.fold import (
    Reparameterizable,
    affine_of_bn,
    centre_in,
    fold_conv_bn,
    identity_kernel,
    plain_conv,
)

BRANCHES = 3


class ConvBN(Reparameterizable):
    """A convolution without bias, and the batch norm after it: ``(N, I, H, W) -> (N, O, H', W')``.

    ``padding`` defaults to half the kernel. ``compute`` is the function that computes it:
    ``conv_then_norm`` or an exactly equal function.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        *,
        stride: int = 1,
        padding: int | None = None,
        groups: int = 1,
    ) -> None:
        super().__init__()
        high, wide = (kernel_size,) * 2 if isinstance(kernel_size, int) else kernel_size
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            (high, wide),
            stride,
            (high // 2, wide // 2) if padding is None else padding,
            groups=groups,
            bias=False,
        )
        self.bn = nn.BatchNorm2d(out_channels)
        self.compute: Callable[[ConvBN, Tensor, bool], Tensor] = conv_then_norm

    def forward(self, x: Tensor, relu: bool = False) -> Tensor:
        """Return the output; with ``relu``, its ReLU."""
        return self.compute(self, x, relu)

    def fuse(self) -> nn.Conv2d:
        return plain_conv(self.conv, *fold_conv_bn(self.conv, self.bn))


def conv_then_norm(layer: ConvBN, x: Tensor, relu: bool) -> Tensor:
    """Compute the definition of a ``ConvBN``, the reference for any faster way to compute it."""
    out: Tensor = layer.bn(layer.conv(x))
    return functional.relu(out) if relu else out


def with_relu(layer: nn.Module, x: Tensor) -> Tensor:
    """Return the ReLU of a ``ConvBN``, or of the convolution that it folds into."""
    if isinstance(layer, ConvBN):
        out: Tensor = layer(x, relu=True)
        return out
    return functional.relu(layer(x))


class RepConv2d(Reparameterizable):
    """A convolution with parallel branches in training: ``(N, I, H, W) -> (N, O, H', W')``.

    The sum of three conv-BN branches of the full kernel; of a 1x1 conv-BN branch (``scale``)
    where the kernel is larger than 1; and of a batch norm of the input itself (``skip``)
    where input and output have one shape. The class and ``fuse`` define the meaning of the
    parameters. ``compute``, an attribute of each instance, computes the sum:
    ``sum_of_branches`` or an exactly equal function.

    Source: arXiv:2404.11202, section 3.1; arXiv:2206.04040, section 3.3.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        groups: int = 1,
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            ConvBN(in_channels, out_channels, kernel_size, stride=stride, groups=groups)
            for _ in range(BRANCHES)
        )
        self.scale = (
            ConvBN(in_channels, out_channels, 1, stride=stride, padding=0, groups=groups)
            if kernel_size > 1
            else None
        )
        self.skip = (
            nn.BatchNorm2d(in_channels) if in_channels == out_channels and stride == 1 else None
        )
        self.compute: Callable[[RepConv2d, Tensor], Tensor] = sum_of_branches

    def forward(self, x: Tensor) -> Tensor:
        return self.compute(self, x)

    def fuse(self) -> nn.Conv2d:
        first = self.branches[0]
        assert isinstance(first, ConvBN)
        like = first.conv
        size = (like.kernel_size[0], like.kernel_size[1])
        kernel, bias = fold_conv_bn(like, first.bn)
        for branch in self.branches[1:]:
            assert isinstance(branch, ConvBN)
            more_kernel, more_bias = fold_conv_bn(branch.conv, branch.bn)
            kernel, bias = kernel + more_kernel, bias + more_bias
        if self.scale is not None:
            scale_kernel, scale_bias = fold_conv_bn(self.scale.conv, self.scale.bn)
            kernel, bias = kernel + centre_in(scale_kernel, size), bias + scale_bias
        if self.skip is not None:
            scale, shift = affine_of_bn(self.skip)
            identity = identity_kernel(like.in_channels, like.groups, size).to(kernel.device)
            kernel, bias = kernel + identity * scale[:, None, None, None], bias + shift
        return plain_conv(like, kernel, bias)


def sum_of_branches(rep: RepConv2d, x: Tensor) -> Tensor:
    """Compute the definition of a re-parameterisable convolution: the sum of all branches.

    It is the reference that any faster way to compute the same sum is tested against.
    """
    out: Tensor = rep.branches[0](x)
    for branch in rep.branches[1:]:
        out = out + branch(x)
    if rep.scale is not None:
        out = out + rep.scale(x)
    if rep.skip is not None:
        out = out + rep.skip(x)
    return out
