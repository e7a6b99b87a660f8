"""Settings of the network."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from ghostnet_small.errors import InputError
from ghostnet_small.fields import LATER, PLACE
from ghostnet_small.models.heads import HEAD_FEATURES

Interpolation = Literal["bilinear", "bicubic"]
Compute = Literal["merged", "branches"]


@dataclass(frozen=True)
class ModelSettings:
    """The network, and the weights that it starts from.

    Args:
        name: "ghostnetv3_small" or "ghostnetv3"; a teacher of the paper's comparison: "resnet18",
            "resnet34", "resnet50", "vgg13_bn", "densenet121", "densenet161", "inception_v3" or
            "efficientnetv2_s"; or "timm/NAME" or "timm/NAME.TAG", any classifier that timm has.
        width: multiplier of the channels; a teacher has none.
        head: features of the layer before the classifier, 8 to 4096; ``width`` does not scale them.
            1280 is the paper's, and most of a narrow network's weights are there.
        rep_conv: how the training form is computed, "merged" (faster: branches folded before the
            convolution on a CPU, fused kernels on a GPU) or "branches" (each on its own); the same
            function up to rounding.
        pretrained: start a network of timm from pretrained weights: true for those that timm has
            under its TAG, fetched at first use, or a file of them (.safetensors, or a state dict
            that torch.save wrote). Where data.mean and data.std are null, they are those of the
            weights.
        weights: start from trained weights: a run's folder, one of weights, the name of those that
            come with the program, or ``hf-hub:owner/name``. They must be of this network and
            width, with this head or a larger one, of which the first features are kept, and not
            folded. The classifier starts afresh where the classes are others; where the images
            have another number of channels, those of the first convolution are summed and shared
            out.
        upsample: side in pixels that images are upsampled to inside a network of timm, which then
            keeps its published stem; null: as they are where a stem for tiny images is known
            (resnet18, resnet34, resnet50, vgg13_bn, densenet121, densenet161, inception_v3), else
            224, or the side that the network is built for.
        interpolation: of upsampling, "bilinear" or "bicubic".
        dropout: share of the features before the classifier of a network of timm that a step
            leaves out.
        drop_path: likewise, of the residual blocks, growing from 0 at the first to this at the last
            (stochastic depth, arXiv:1603.09382).
    """

    name: str = "ghostnetv3_small"
    width: float = 1.0
    rep_conv: Compute = "merged"
    pretrained: bool | str = field(default=False, metadata=LATER)
    weights: str | None = field(default=None, metadata=PLACE)
    upsample: int | None = field(default=None, metadata=LATER)
    interpolation: Interpolation = field(default="bilinear", metadata=LATER)
    dropout: float = field(default=0.0, metadata=LATER)
    drop_path: float = field(default=0.0, metadata=LATER)
    head: int = field(default=HEAD_FEATURES, metadata=LATER)

    def __post_init__(self) -> None:
        """Raises ``InputError`` for a value outside its range."""
        for name in ("dropout", "drop_path"):
            value = getattr(self, name)
            if not (math.isfinite(value) and 0 <= value < 1):
                raise InputError(f"{name} {value!r} is not allowed; give 0 up to below 1")
