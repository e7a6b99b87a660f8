"""Other small networks for CIFAR-10, to compare speed with: they are never trained here.

Each consists of ``ConvBN`` and is folded for deployment like ours. All take ``(N, 3, 32, 32)`` and
return logits ``(N, 10)``; they are the versions for CIFAR-10 of
https://github.com/chenyaofo/pytorch-cifar-models, whose table gives ``published_top1``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ghostnet_small.errors import InputError, nearest
from ghostnet_small.nn.complexity import Complexity, both_forms
from ghostnet_small.nn.rep_conv import ConvBN, with_relu

PICTURE, CLASSES = (3, 32, 32), 10


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, with a shortcut: the input, or a 1x1 convolution of it where the
    shape changes."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.first = ConvBN(in_channels, out_channels, 3, stride=stride)
        self.second = ConvBN(out_channels, out_channels, 3)
        same = in_channels == out_channels and stride == 1
        self.shortcut = (
            nn.Identity() if same else ConvBN(in_channels, out_channels, 1, stride=stride)
        )

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.second(with_relu(self.first, x)) + self.shortcut(x))


class ResNet20(nn.Module):
    """Three stages of three residual blocks.

    Differs from the paper (arXiv:1512.03385, section 4.2): a shortcut that changes the shape is a
    convolution, not a padding with zeros.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvBN(3, 16, 3)
        blocks = []
        channels = 16
        for out_channels in (16, 32, 64):
            for number in range(3):
                stride = 2 if number == 0 and out_channels > 16 else 1
                blocks.append(ResidualBlock(channels, out_channels, stride))
                channels = out_channels
        self.blocks = nn.Sequential(*blocks)
        self.classifier = nn.Linear(channels, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return _answer(self.blocks(with_relu(self.stem, x)), self.classifier)


class InvertedResidual(nn.Module):
    """A block that expands the channels, filters each of them, and projects them back."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self.expand = ConvBN(in_channels, hidden, 1) if expansion > 1 else None
        self.depthwise = ConvBN(hidden, hidden, 3, stride=stride, groups=hidden)
        self.project = ConvBN(hidden, out_channels, 1)
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        hidden = x if self.expand is None else functional.relu6(self.expand(x))
        out: Tensor = self.project(functional.relu6(self.depthwise(hidden)))
        return x + out if self.residual else out


class MobileNetV2Half(nn.Module):
    """MobileNetV2 x0.5 with three strides fewer than for 224 pixels, so 32x32 ends as 4x4.

    The dropout before its classifier does nothing in evaluation and is left out.
    Source: arXiv:1801.04381, table 2.
    """

    # Expansion, channels at half width, blocks, stride of the first block.
    STAGES = (
        *((1, 8, 1, 1), (6, 16, 2, 1), (6, 16, 3, 2), (6, 32, 4, 2)),
        *((6, 48, 3, 1), (6, 80, 3, 2), (6, 160, 1, 1)),
    )
    FEATURES = 1280

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvBN(3, 16, 3)
        blocks = []
        channels = 16
        for expansion, out_channels, count, stride in self.STAGES:
            for number in range(count):
                step = stride if number == 0 else 1
                blocks.append(InvertedResidual(channels, out_channels, step, expansion))
                channels = out_channels
        self.blocks = nn.Sequential(*blocks)
        self.last = ConvBN(channels, self.FEATURES, 1)
        self.classifier = nn.Linear(self.FEATURES, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        features = self.last(self.blocks(functional.relu6(self.stem(x))))
        return _answer(functional.relu6(features), self.classifier)


class ShuffleBranch(nn.Module):
    """A branch that mixes the channels, filters each of them, and mixes them again."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.enter = ConvBN(in_channels, out_channels, 1)
        self.depthwise = ConvBN(out_channels, out_channels, 3, stride=stride, groups=out_channels)
        self.leave = ConvBN(out_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return with_relu(self.leave, self.depthwise(with_relu(self.enter, x)))


class ShuffleBlock(nn.Module):
    """A block that passes half of the channels unchanged, or, at a stride, all through a second
    branch; then it interleaves the two halves."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        half = out_channels // 2
        self.strided = stride > 1
        self.branch = ShuffleBranch(in_channels if self.strided else half, half, stride)
        if self.strided:
            self.depthwise = ConvBN(in_channels, in_channels, 3, stride=stride, groups=in_channels)
            self.pointwise = ConvBN(in_channels, half, 1)

    def forward(self, x: Tensor) -> Tensor:
        if self.strided:
            beside, through = with_relu(self.pointwise, self.depthwise(x)), x
        else:
            beside, through = x.chunk(2, dim=1)
        both = torch.cat((beside, self.branch(through)), dim=1)
        count, channels, height, width = both.shape
        halves = both.reshape(count, 2, channels // 2, height, width)
        return halves.transpose(1, 2).reshape(count, channels, height, width)


class ShuffleNetV2Half(nn.Module):
    """ShuffleNetV2 x0.5 with a stem of stride 1 and no pool: 32x32 ends as 4x4.

    Source: arXiv:1807.11164, table 5.
    """

    STAGES = ((48, 4), (96, 8), (192, 4))  # channels, blocks
    FEATURES = 1024

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvBN(3, 24, 3)
        blocks = []
        channels = 24
        for out_channels, count in self.STAGES:
            for number in range(count):
                blocks.append(ShuffleBlock(channels, out_channels, 2 if number == 0 else 1))
                channels = out_channels
        self.blocks = nn.Sequential(*blocks)
        self.last = ConvBN(channels, self.FEATURES, 1)
        self.classifier = nn.Linear(self.FEATURES, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return _answer(with_relu(self.last, self.blocks(with_relu(self.stem, x))), self.classifier)


def _answer(features: Tensor, classifier: nn.Linear) -> Tensor:
    logits: Tensor = classifier(functional.adaptive_avg_pool2d(features, 1).flatten(1))
    return logits


@dataclass(frozen=True)
class Peer:
    """A network to compare with, its exact sizes, and its published top-1 (%).

    ``training`` counts batch norms' scales and shifts, ``deployed`` the biases that they fold into.
    """

    title: str
    build: Callable[[], nn.Module]
    training: Complexity
    deployed: Complexity
    published_top1: float


PEERS = {
    "resnet20": Peer(
        title="ResNet-20",
        build=ResNet20,
        training=Complexity(272_474, 40_813_184),
        deployed=Complexity(271_690, 40_813_184),
        published_top1=92.60,
    ),
    "mobilenetv2_x0_5": Peer(
        title="MobileNetV2 x0.5",
        build=MobileNetV2Half,
        training=Complexity(700_490, 27_969_024),
        deployed=Complexity(691_218, 27_969_024),
        published_top1=92.88,
    ),
    "shufflenetv2_x0_5": Peer(
        title="ShuffleNetV2 x0.5",
        build=ShuffleNetV2Half,
        training=Complexity(352_042, 10_902_016),
        deployed=Complexity(348_066, 10_902_016),
        published_top1=90.13,
    ),
}


def chosen_peers(names: Sequence[str]) -> list[str]:
    """Return the known peers in ``names``, each once; only "none" gives an empty list.

    Raises ``InputError`` at an unknown name, with the nearest.
    """
    if list(names) == ["none"]:
        return []
    for name in names:
        if name not in PEERS:
            raise InputError(
                f"peer {name!r} is not known; {nearest(name, PEERS)}, of "
                f"{', '.join(PEERS)}, or none"
            )
    return list(dict.fromkeys(names))


def create_peer(name: str, seed: int = 0) -> nn.Module:
    """Return the peer ``name`` with random weights, in evaluation mode, not folded.

    Its batch norms have the statistics of random images, so that values have the size that they
    have in a trained network.

    Raises ``ValueError`` where its parameters or MACs differ from those of the published network:
    it must not be timed in its place.
    """
    peer = PEERS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = peer.build()
        found = {form: cost["total"] for form, cost in both_forms(network, PICTURE).items()}
        if found != {"training": peer.training, "deployed": peer.deployed}:
            raise ValueError(
                f"{name} has {found}, and {peer.title} has {peer.training} in training and "
                f"{peer.deployed} deployed; repair models/peers.py"
            )
        _settle(network, torch.randn(64, *PICTURE))
    return network.eval()


def _settle(network: nn.Module, pictures: Tensor) -> None:
    """Give the batch norms of ``network`` the statistics of ``pictures``."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        network.train()(pictures)
    for norm in norms:
        norm.momentum = 0.1
