"""Distillation: losses between a student and its teachers, in logits and in feature maps.

It handles tensors and modules, and is independent of the networks that they come from.
"""

from ghostnet_small.callable_package import make_callable
from ghostnet_small.distill.features import (
    Taps,
    attention_map,
    attention_transfer_loss,
    channels_of,
    hint_loss,
    make_adapter,
)
from ghostnet_small.distill.losses import (
    dist_loss,
    dkd_loss,
    ensemble_logits,
    kd_loss,
    logit_standardized_kd_loss,
    share_above,
    target_entropy,
)

__all__ = [
    "Taps",
    "attention_map",
    "attention_transfer_loss",
    "channels_of",
    "dist_loss",
    "dkd_loss",
    "ensemble_logits",
    "hint_loss",
    "kd_loss",
    "logit_standardized_kd_loss",
    "make_adapter",
    "share_above",
    "target_entropy",
]

make_callable(__name__)
