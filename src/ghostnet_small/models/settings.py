"""Which network, and in what form."""

from __future__ import annotations

from dataclasses import dataclass

from ghostnet_small.nn.forms import RepConvForm


@dataclass(frozen=True)
class ModelSettings:
    """Which network.

    Args:
        name: "ghostnetv3_small" or "ghostnetv3", or a teacher of timm: "resnet18", "resnet34",
            "resnet50", "vgg13_bn", "densenet121", "densenet161", "inception_v3" or
            "efficientnetv2_s".
        width: multiplier of the channels; a teacher has none.
        rep_conv: how the training form is computed, "merged" (one convolution with a folded
            kernel, faster) or "branches" (each on its own); the same function up to rounding.
        pretrained: start a teacher from timm's ImageNet weights, fetched at first use; set
            data.mean and data.std to those of the weights.
        weights: start from trained weights: a run's folder, one of weights, the name of those that
            come with the program, or ``hf-hub:owner/name``. They must be of this network and width,
            and not folded. The classifier starts afresh where the classes are others; where the
            pictures have another number of channels, those of the first convolution are summed and
            shared out.
        upsample: side in pixels that pictures are upsampled to inside a teacher, which then keeps
            its published stem; null: as they are, but 224 for efficientnetv2_s.
    """

    name: str = "ghostnetv3_small"
    width: float = 1.0
    rep_conv: RepConvForm = "merged"
    pretrained: bool = False
    weights: str | None = None
    upsample: int | None = None
