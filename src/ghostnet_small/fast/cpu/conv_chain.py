"""Convolutions with batch norms, one after another, computed by the C kernels.

Attention gates, shortcuts, the stem and the last convolution are such chains. Each convolution's
output is stored unnormalised and normalised where it is read, so no batch norm needs a pass over
the images of its own. Exact up to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ghostnet_small.fast.cpu.branch_folding import is_depthwise, is_pointwise, same_training
from ghostnet_small.fast.cpu.fused_parts import apply
from ghostnet_small.fast.cpu.kernels import calls, chains
from ghostnet_small.fast.cpu.kernels.chains import ConvNorm
from ghostnet_small.nn.rep_conv import ConvBN, conv_then_norm


@dataclass(frozen=True)
class Chain:
    """The convolutions in order, and the activation after the last one (see ``chains``)."""

    parts: tuple[ConvNorm, ...]
    parameters: tuple[Tensor, ...]
    activation: int

    def run(self, x: Tensor, parameters: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """See ``Part``."""
        kept: list[Tensor] = []
        state = None
        for number, part in enumerate(self.parts):
            x, state = chains.conv_norm(part, x, state, *parameters[3 * number : 3 * number + 3])
            kept += [x, state]
        assert state is not None
        out = chains.norm_end(x, state, self.activation)
        return out, kept if self.activation == chains.NONE else [*kept, out]

    def run_back(
        self, grad: Tensor, x: Tensor, kept: Sequence[Tensor], parameters: Sequence[Tensor]
    ) -> tuple[Tensor | None, list[Tensor]]:
        """See ``Part``."""
        last = 2 * len(self.parts)
        ys, states = [x, *kept[0:last:2]], [None, *kept[1:last:2]]
        out = None if self.activation == chains.NONE else kept[-1]
        of_y: Tensor | None
        of_y, slopes = chains.norm_end_gradient(grad, ys[-1], out, kept[last - 1], self.activation)
        found: list[Tensor] = []
        for number in range(len(self.parts) - 1, -1, -1):
            assert of_y is not None
            of_norm = [slopes[0], slopes[1]]
            of_y, of_kernel, before = chains.conv_norm_gradient(
                self.parts[number],
                of_y,
                ys[number + 1],
                slopes,
                ys[number],
                states[number],
                parameters[3 * number],
            )
            found = [of_kernel, *of_norm, *found]
            slopes = slopes if before is None else before
        return of_y, found


def chain_of(
    layers: Sequence[nn.Module],
    x: Tensor,
    size: tuple[int, int],
    activation: int = chains.NONE,
) -> Chain | None:
    """Return the chain of ``layers`` for images like ``x`` but of ``size``; ``None`` where the
    kernels cannot compute it. ``x`` must be ``calls.usable``."""
    h, w = size
    parts: list[ConvNorm] = []
    parameters: list[Tensor] = []
    for layer in layers:
        # A folded network has plain convolutions there.
        if not isinstance(layer, ConvBN) or not same_training((layer.bn,)):
            return None
        conv = layer.conv
        size = (conv.kernel_size[0], conv.kernel_size[1])
        depthwise = is_depthwise(conv)
        if depthwise:
            known = size in chains.CHAIN_SIZES
        else:
            known = is_pointwise(conv) or (
                is_of_windows(conv) and not parts and not x.requires_grad
            )
        h, w = (h - 1) // conv.stride[0] + 1, (w - 1) // conv.stride[0] + 1
        # A single value has no variance; batch norm itself raises the error.
        if not known or x.dtype != conv.weight.dtype or len(x) * h * w < 2:
            return None
        parts.append(ConvNorm(layer.bn, size, conv.stride[0], depthwise))
        parameters += [conv.weight, layer.bn.weight, layer.bn.bias]
    return Chain(tuple(parts), tuple(parameters), activation)


def is_of_windows(conv: nn.Conv2d) -> bool:
    """Return whether ``conv`` has one group, odd kernel sides, stride 1 and half-kernel padding."""
    high, wide = conv.kernel_size
    return (
        conv.groups == 1
        and conv.stride == (1, 1)
        and high % 2 == wide % 2 == 1
        and conv.padding == (high // 2, wide // 2)
    )


def chained(layer: ConvBN, x: Tensor, relu: bool) -> Tensor:
    """Compute ``conv_then_norm(layer, x, relu)`` as one function where the C kernels can."""
    if calls.usable(x) and not torch.is_autocast_enabled(x.device.type):
        activation = chains.RELU if relu else chains.NONE
        chain = chain_of((layer,), x, (x.shape[2], x.shape[3]), activation)
        if chain is not None:
            return apply(chain, x)
    return conv_then_norm(layer, x, relu)
