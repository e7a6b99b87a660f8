"""GhostNetV3-Small and the original GhostNetV3, for images of at least 8x8 pixels."""

# Annotations are classes here, not text: torch.fx writes them into the code that it makes.
import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple, TypeGuard

import torch.fx
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from ghostnet_small.models.heads import HEAD_FEATURES
from ghostnet_small.models.network import Network
from ghostnet_small.nn.ghost import GhostBottleneck
from ghostnet_small.nn.rep_conv import ConvBN, with_relu

POOLED = "avg"  # the only global_pool but the empty one
UNGATED_BLOCKS = 2


class Block(NamedTuple):
    """One ghost bottleneck at width 1.0; only its channels are scaled, not kernel and ratio."""

    kernel_size: int
    hidden: int
    out: int
    se_ratio: float
    stride: int


class Architecture(NamedTuple):
    """A network at width 1.0: its blocks, and the channels of stem and last convolution.

    Also the sizes of the groups in which the published code numbers its blocks.
    ``make`` builds a block and takes the arguments of ``GhostBottleneck``.
    """

    blocks: tuple[Block, ...]
    stem: int
    last: int
    groups: tuple[int, ...] = ()
    make: Callable[..., nn.Module] = GhostBottleneck


# Source: arXiv:2509.12380 and the code published with it.
GHOSTNETV3_SMALL = Architecture(
    blocks=(
        Block(3, 16, 16, 0, 1),
        Block(3, 32, 20, 0, 2),
        Block(3, 40, 20, 0, 1),
        Block(3, 48, 32, 0.25, 1),
        Block(3, 64, 32, 0.25, 1),
        Block(3, 80, 48, 0, 2),
        Block(3, 96, 48, 0, 1),
        Block(3, 120, 64, 0.25, 1),
        Block(3, 128, 80, 0.25, 1),
        Block(3, 160, 80, 0.25, 1),
    ),
    stem=16,
    last=160,
    groups=(1, 1, 1, 1, 1, 3, 2),
)

# Source: arXiv:2404.11202, table of the architecture; the stem has stride 1 here (GN-D).
GHOSTNETV3 = Architecture(
    blocks=(
        Block(3, 16, 16, 0, 1),
        Block(3, 48, 24, 0, 2),
        Block(3, 72, 24, 0, 1),
        Block(5, 72, 40, 0.25, 2),
        Block(5, 120, 40, 0.25, 1),
        Block(3, 240, 80, 0, 2),
        Block(3, 200, 80, 0, 1),
        Block(3, 184, 80, 0, 1),
        Block(3, 184, 80, 0, 1),
        Block(3, 480, 112, 0.25, 1),
        Block(3, 672, 112, 0.25, 1),
        Block(5, 672, 160, 0.25, 2),
        Block(5, 960, 160, 0, 1),
        Block(5, 960, 160, 0.25, 1),
        Block(5, 960, 160, 0, 1),
        Block(5, 960, 160, 0.25, 1),
    ),
    stem=16,
    last=960,
    groups=(1, 1, 1, 1, 1, 1, 5, 1, 4),
)
ARCHITECTURES = {"ghostnetv3_small": GHOSTNETV3_SMALL, "ghostnetv3": GHOSTNETV3}


def divisible(value: float) -> int:
    """Return the multiple of 4 nearest to ``value`` (ties up), at least 4 and ``0.9 * value``."""
    rounded = max(4, 4 * int((value + 2) // 4))
    return rounded if rounded >= 0.9 * value else rounded + 4


class GhostNetV3(Network):
    """Ghost bottlenecks between a 3x3 stem and a pooled head: ``(N, C, H, W) -> logits (N, K)``.

    ``width`` scales every channel count except the ``head`` features, 1280 by default. Images may
    have any size from 8x8 up. ``config`` holds what ``create_model`` needs to build the network
    again.

    Source: arXiv:2509.12380.
    """

    def __init__(
        self,
        architecture: Architecture,
        *,
        width: float = 1.0,
        head: int = HEAD_FEATURES,
        num_classes: int = 10,
        in_channels: int = 3,
        config: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.config = config or {}
        self.num_classes = num_classes
        # timm's names for the same values; its tools read them.
        self.in_chans = in_channels
        self.num_features = divisible(architecture.last * width)
        self.head_hidden_size = head
        self.global_pool = POOLED
        self.drop_rate = 0.0
        self.grad_checkpointing = False

        channels = divisible(architecture.stem * width)
        self.stem = ConvBN(in_channels, channels, 3)
        blocks: list[nn.Module] = []
        # The last map of each size, in timm's format.
        self.feature_info: list[dict[str, Any]] = []
        reduction = 1
        for number, block in enumerate(architecture.blocks):
            hidden, out = divisible(block.hidden * width), divisible(block.out * width)
            blocks.append(
                architecture.make(
                    channels,
                    hidden,
                    out,
                    kernel_size=block.kernel_size,
                    stride=block.stride,
                    se_channels=divisible(hidden * block.se_ratio) if block.se_ratio else 0,
                    gated=number >= UNGATED_BLOCKS,
                )
            )
            channels, reduction = out, reduction * block.stride
            if self.feature_info and self.feature_info[-1]["reduction"] == reduction:
                self.feature_info.pop()
            self.feature_info.append(
                {"num_chs": channels, "reduction": reduction, "module": f"blocks.{number}"}
            )
        self.blocks = nn.Sequential(*blocks)
        self.last = ConvBN(channels, self.num_features, 1)
        self.head = nn.Conv2d(self.num_features, head, 1)
        self.classifier: nn.Module = nn.Linear(head, num_classes)
        self.compute: Callable[[GhostNetV3, Tensor], Tensor] = features_by_parts
        self.compute_head: Callable[[GhostNetV3, Tensor, bool], Tensor] = head_by_parts
        self.apply(_initialise)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last feature map: ``(N, C, H, W) -> (N, num_features, h, w)``.

        ``compute`` is the function that computes it: ``features_by_parts`` or an equal function.
        """
        return self.compute(self, x)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Return the logits of a feature map: ``(N, num_features, h, w) -> (N, K)``.

        With ``pre_logits``, return the ``F = head_hidden_size`` features before the classifier.
        Where ``global_pool`` is empty, each place has its own: ``(N, F, h, w)`` or
        ``(N, K, h, w)``. ``compute_head`` is the function that computes it: ``head_by_parts`` or an
        equal function.
        """
        return self.compute_head(self, x, pre_logits)

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | Sequence[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """Return ``forward_features(x)``, and a list of the last feature map of each size.

        ``indices`` selects from ``feature_info``: a number of last maps, or a list of places;
        ``None`` is all. With ``intermediates_only`` only the list is returned. ``norm`` and
        ``stop_early`` have no effect: the blocks end in batch norms, and all are computed.

        Raises ``ValueError`` where ``indices`` or ``output_fmt`` do not fit.

        Source: timm's method of that name.
        """
        if output_fmt != "NCHW":
            raise ValueError(f"output_fmt is {output_fmt!r}; this network has only 'NCHW'")
        there = len(self.feature_info)
        if indices is None:
            indices = there
        picked = range(-indices, 0) if isinstance(indices, int) else indices
        if not picked or not all(-there <= place < there for place in picked):
            raise ValueError(
                f"indices are {indices!r}; there are {there} feature maps: give a number of them, "
                f"or places from 0 to {there - 1}"
            )
        ends = [int(info["module"].removeprefix("blocks.")) for info in self.feature_info]
        maps, out = [], with_relu(self.stem, x)
        for number, block in enumerate(self.blocks):
            out = block(out)
            if number in ends:
                maps.append(out)
        chosen = [maps[place] for place in picked]
        return chosen if intermediates_only else (with_relu(self.last, out), chosen)

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Return patterns of the parameters' names by layer, as timm's layer decay takes them."""
        # 99999 is timm's code for "with the layer before".
        return {"stem": r"^stem", "blocks": [(r"^blocks\.(\d+)", None), (r"^last", (99999,))]}

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Keep the inputs of blocks only, and compute each block again on the way back.

        The outputs, gradients and running statistics are the same; a step takes less memory and
        more time. The fused network of a GPU does not serve it.

        Source: arXiv:1604.06174.
        """
        self.grad_checkpointing = enable

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))

    def get_classifier(self) -> nn.Module:
        """Return the last linear layer."""
        return self.classifier

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Set a fresh linear layer for ``num_classes``; with 0, none: the features are output.

        ``global_pool`` is "avg", or "" for no mean over the places; None leaves it as it is.

        Raises ``ValueError`` where ``global_pool`` is another.
        """
        if global_pool not in (None, "", POOLED):
            raise ValueError(f"global_pool is {global_pool!r}; give 'avg', or '' for a map")
        self.global_pool = self.global_pool if global_pool is None else global_pool
        self.num_classes = num_classes
        self.config = {**self.config, "num_classes": num_classes}
        if num_classes == 0:
            self.classifier = nn.Identity().train(self.training)
            return
        weight = self.head.weight
        self.classifier = nn.Linear(
            self.head_hidden_size, num_classes, device=weight.device, dtype=weight.dtype
        )
        self.classifier.train(self.training)
        _initialise(self.classifier)


def is_of_ghosts(network: nn.Module) -> TypeGuard[GhostNetV3]:
    """Return whether ``network`` is a ``GhostNetV3`` of ghost bottlenecks only.

    The kernels, the rewriting for runtimes and the C generator know no other block.
    """
    return isinstance(network, GhostNetV3) and all(
        isinstance(block, GhostBottleneck) for block in network.blocks
    )


def features_by_parts(model: GhostNetV3, x: Tensor) -> Tensor:
    """Compute the definition of ``forward_features``, the reference for any faster way."""
    x = with_relu(model.stem, x)
    if model.grad_checkpointing and model.training and torch.is_grad_enabled():
        for block in model.blocks:
            again = functools.partial(_once_more, block)
            x = checkpoint(block, x, use_reentrant=False, context_fn=again)
    else:
        x = model.blocks(x)
    return with_relu(model.last, x)


def head_by_parts(model: GhostNetV3, x: Tensor, pre_logits: bool) -> Tensor:
    """Compute the definition of ``forward_head``, the reference for any faster way."""
    if model.global_pool != POOLED:
        places = functional.relu(model.head(x)).permute(0, 2, 3, 1)
        return (places if pre_logits else model.classifier(places)).permute(0, 3, 1, 2)
    # A mean over (2, 3) would return a gradient in the default memory format.
    mean = x.permute(0, 2, 3, 1).flatten(1, 2).mean(1)
    # torch.fx cannot trace a choice by device.
    traced = isinstance(mean, torch.fx.Proxy)
    if not traced and mean.is_cuda and not model.head._forward_hooks:
        # One product; a GPU's convolutions first search for an algorithm.
        head = functional.linear(mean, model.head.weight.flatten(1), model.head.bias)
    else:
        head = model.head(mean[:, :, None, None]).flatten(1)
    features = functional.relu(head)
    if model.drop_rate:
        features = functional.dropout(features, model.drop_rate, model.training)
    return features if pre_logits else model.classifier(features)


Contexts = tuple[AbstractContextManager[None], AbstractContextManager[None]]


def _once_more(block: nn.Module) -> Contexts:
    """Return the contexts of a block's two computations; the second changes no statistics."""
    return nullcontext(), _kept_statistics(block)


@contextmanager
def _kept_statistics(block: nn.Module) -> Iterator[None]:
    norms = [module for module in block.modules() if isinstance(module, nn.BatchNorm2d)]
    kept = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        assert norm.num_batches_tracked is not None
        norm.momentum, norm.num_batches_tracked = 0.0, torch.zeros_like(norm.num_batches_tracked)
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, kept, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count


def _initialise(module: nn.Module) -> None:
    """Set Kaiming-normal weights (fan out, ReLU gain) and zero biases, as in the paper's code."""
    # On the meta device (see ``load``) there is nothing to draw, and drawing would make PyTorch
    # import its compiler, which takes seconds.
    if isinstance(module, nn.Conv2d | nn.Linear) and not module.weight.is_meta:
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
