"""A folded network of ghost modules as other operators that compute the same and take less time.

Equal up to rounding for images of one size; which form is fastest depends on the runtime.
docs/deployment.md has the measurements.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ghostnet_small.deploy.layouts import (
    Layout,
    dense,
    depthwise,
    ghost_layout,
    padded,
    passing_first,
    placed,
)
from ghostnet_small.models.ghostnetv3 import GhostNetV3, is_of_ghosts
from ghostnet_small.nn.fold import plain_conv
from ghostnet_small.nn.ghost import (
    AttentionGate,
    GhostBottleneck,
    GhostModule,
    SqueezeExcite,
    is_halved,
)

Size = tuple[int, int]


@dataclass(frozen=True)
class Style:
    """The form that suits a runtime.

    ``multiple``: of channels, in every tensor. ``one_filter``: the gate's two filters as one of
    5x5 and a constant map. ``stretch``: the weights of squeeze-and-excitation are stretched to
    the image's size, for a runtime that multiplies only equal shapes in its own layout.
    ``to_one_pixel``: means over the image are given by the size of the answer, not of the
    window. ``clamp``: the hard sigmoid is a clamp to 0 .. 1, its scale and shift in the convolution
    before it.
    """

    multiple: int = 1
    one_filter: bool = False
    stretch: bool = False
    to_one_pixel: bool = False
    clamp: bool = False


def rewrite(network: nn.Module, size: Size, form: Style) -> nn.Module:
    """Return the folded ``network`` rewritten for images of ``size`` pixels (height, width).

    ``network`` stays as it is. One without ghost modules is returned itself.
    """
    if not is_of_ghosts(network):
        return network
    with torch.no_grad():
        return RewrittenNetwork(network, size, form).eval()


class RewrittenNetwork(nn.Module):
    """``(N, C, H, W) -> logits (N, K)``, for one H and W."""

    def __init__(self, network: GhostNetV3, size: Size, form: Style) -> None:
        super().__init__()
        stem, last, head = network.stem, network.last, network.head
        assert isinstance(stem, nn.Conv2d) and isinstance(last, nn.Conv2d)
        layout = ghost_layout(stem.out_channels, form.multiple)
        self.stem = dense(stem, padded(stem.in_channels, 1), layout)
        self.blocks = nn.Sequential()
        for block in network.blocks:
            assert isinstance(block, GhostBottleneck)
            rewritten = RewrittenBottleneck(block, layout, size, form)
            self.blocks.append(rewritten)
            layout, size = rewritten.layout, rewritten.out_size
        features = padded(last.out_channels, form.multiple)
        self.last = dense(last, layout, features)
        self.means = _Means(size, form)
        self.head = dense(head, features, padded(head.out_channels, 1))
        self.classifier = _as_convolution(network.classifier)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(functional.relu(self.stem(x)))
        x = self.means(functional.relu(self.last(x)))
        logits: Tensor = self.classifier(functional.relu(self.head(x))).flatten(1)
        return logits


class RewrittenBottleneck(nn.Module):
    """A bottleneck from channels as in ``source`` to those of ``layout``, at ``out_size``."""

    def __init__(self, block: GhostBottleneck, source: Layout, size: Size, form: Style) -> None:
        super().__init__()
        self.ghost1 = RewrittenGhost(block.ghost1, source, size, form)
        hidden = self.ghost1.layout
        self.downsample: nn.Module = nn.Identity()
        self.out_size = size
        if isinstance(block.downsample, nn.Conv2d):
            self.downsample = depthwise(block.downsample, hidden)
            stride = block.downsample.stride
            self.out_size = (-(-size[0] // stride[0]), -(-size[1] // stride[1]))
        self.se: nn.Module = nn.Identity()
        if isinstance(block.se, SqueezeExcite):
            self.se = RewrittenExcite(block.se, hidden, self.out_size, form)
        self.ghost2 = RewrittenGhost(block.ghost2, hidden, self.out_size, form)
        self.layout = self.ghost2.layout
        self.shortcut: nn.Module = nn.Identity()
        if isinstance(block.shortcut, nn.Sequential):
            filters, mixes = block.shortcut
            assert isinstance(filters, nn.Conv2d) and isinstance(mixes, nn.Conv2d)
            self.shortcut = nn.Sequential(
                depthwise(filters, source), dense(mixes, source, self.layout)
            )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.ghost2(self.se(self.downsample(self.ghost1(x)))) + self.shortcut(x)
        return out


class RewrittenGhost(nn.Module):
    """A ghost module. Where its two halves would leave many places empty, no concatenation joins
    them: the 1x1 convolution gives both, and the depth-wise one leaves the first as it is."""

    def __init__(self, ghost: GhostModule, source: Layout, size: Size, form: Style) -> None:
        super().__init__()
        primary, cheap = ghost.primary, ghost.cheap
        assert isinstance(primary, nn.Conv2d) and isinstance(cheap, nn.Conv2d)
        self.layout = ghost_layout(ghost.out_channels, form.multiple)
        self.act = ghost.act
        half = primary.out_channels
        self.joins = self.layout != padded(ghost.out_channels, form.multiple) or (
            half % form.multiple == 0
        )
        if self.joins:
            first = padded(half, form.multiple)
            second = tuple(c - half if c >= half else c for c in self.layout[len(first) :])
            self.primary, self.cheap = dense(primary, source, first), depthwise(cheap, second)
        else:
            twice = tuple(c - half if c >= half else c for c in self.layout)
            self.primary = dense(primary, source, twice)
            self.cheap = depthwise(passing_first(cheap), self.layout)
        self.gate = (
            None
            if ghost.gate is None
            else RewrittenGate(ghost.gate, source, self.layout, size, form)
        )

    def forward(self, x: Tensor) -> Tensor:
        a = self.act(self.primary(x))
        b = self.act(self.cheap(a))
        out = torch.cat((a, b), dim=1) if self.joins else b
        return out if self.gate is None else out * self.gate(x)


class RewrittenGate(nn.Module):
    """A gate, stretched to the size of what it is multiplied with."""

    def __init__(
        self, gate: AttentionGate, source: Layout, target: Layout, size: Size, form: Style
    ) -> None:
        super().__init__()
        project, across, down = gate.layers
        assert isinstance(project, nn.Conv2d)
        assert isinstance(across, nn.Conv2d) and isinstance(down, nn.Conv2d)
        self.size = size
        self.halves = is_halved(*size)
        inner = (size[0] // 2, size[1] // 2) if self.halves else size
        self.project = dense(project, source, target)
        self.filters: nn.Module = nn.Sequential(depthwise(across, target), depthwise(down, target))
        if form.one_filter:
            self.filters = FilterWithMap(across, down, target, inner)

    def forward(self, x: Tensor) -> Tensor:
        if self.halves:
            x = functional.avg_pool2d(x, 2)
        gate = torch.sigmoid(self.filters(self.project(x)))
        return _stretched(gate, self.size) if self.halves else gate


class FilterWithMap(nn.Module):
    """Two depth-wise filters, one across and one down, as one, and a constant added.

    Zero padding holds no bias of the first, so what its bias adds behind the second depends on
    the row: a constant map for one height.
    """

    def __init__(self, across: nn.Conv2d, down: nn.Conv2d, layout: Layout, size: Size) -> None:
        super().__init__()
        assert across.bias is not None
        kernel = (down.weight.double() * across.weight.double()).to(down.weight)
        channels = down.out_channels
        both = nn.Conv2d(
            channels,
            channels,
            (kernel.shape[2], kernel.shape[3]),
            padding=(kernel.shape[2] // 2, kernel.shape[3] // 2),
            groups=channels,
            dtype=kernel.dtype,
        )
        self.filter = depthwise(plain_conv(both, kernel, torch.zeros(channels)), layout)
        # Its bias is in the map.
        self.filter.bias = None
        rows = down(across.bias[None, :, None, None].expand(-1, -1, size[0], 1))
        self.register_buffer("map", placed(rows, layout, 1))

    def forward(self, x: Tensor) -> Tensor:
        assert isinstance(self.map, Tensor)
        filtered: Tensor = self.filter(x)
        return filtered + self.map


class RewrittenExcite(nn.Module):
    """Squeeze-and-excitation of channels that lie as in ``layout``, at ``size``."""

    def __init__(self, se: SqueezeExcite, layout: Layout, size: Size, form: Style) -> None:
        super().__init__()
        reduced = padded(se.reduce.out_channels, form.multiple)
        self.reduce = dense(se.reduce, layout, reduced)
        self.expand = dense(se.expand, reduced, layout)
        self.means = _Means(size, form)
        self.size = size
        self.stretch, self.clamp = form.stretch, form.clamp
        if form.clamp:
            assert self.expand.bias is not None
            # relu6(x + 3) / 6.
            self.expand.weight.copy_(self.expand.weight.double() / 6)
            self.expand.bias.copy_((self.expand.bias.double() + 3) / 6)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.expand(functional.relu(self.reduce(self.means(x))))
        if self.clamp:
            # Not Tensor.clamp, which ExecuTorch does not join with the convolution before it.
            weight = functional.hardtanh(weight, 0.0, 1.0)
        else:
            weight = functional.hardsigmoid(weight)
        return x * (_stretched(weight, self.size) if self.stretch else weight)


class _Means(nn.Module):
    """The mean of each channel: ``(N, C, *size) -> (N, C, 1, 1)``."""

    def __init__(self, size: Size, form: Style) -> None:
        super().__init__()
        self.size, self.to_one_pixel = size, form.to_one_pixel

    def forward(self, x: Tensor) -> Tensor:
        if self.to_one_pixel:
            return functional.adaptive_avg_pool2d(x, 1)
        # ONNX Runtime has a pooling in its own layout, and no mean.
        return functional.avg_pool2d(x, self.size)


def _stretched(x: Tensor, size: Size) -> Tensor:
    """Return ``x`` stretched to the nearest pixels: ``(N, C, h, w) -> (N, C, *size)``."""
    times = (size[0] // x.shape[2], size[1] // x.shape[3])
    if times == (1, 1) and tuple(x.shape[2:]) == size:
        return x
    if (x.shape[2] * times[0], x.shape[3] * times[1]) == size:
        # Runtimes do it in their own layout if the factor is an integer.
        return functional.interpolate(
            x, scale_factor=(float(times[0]), float(times[1])), mode="nearest"
        )
    return functional.interpolate(x, size=size, mode="nearest")


def _as_convolution(classifier: nn.Module) -> nn.Module:
    """Return a linear layer as a 1x1 convolution, which stays in the layout of those before it."""
    if not isinstance(classifier, nn.Linear):
        return classifier
    conv = nn.Conv2d(
        classifier.in_features, classifier.out_features, 1, dtype=classifier.weight.dtype
    )
    return plain_conv(conv, classifier.weight[:, :, None, None], classifier.bias)
