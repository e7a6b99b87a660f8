"""The switch between the definition of a network's training form and the faster ways."""

from __future__ import annotations

import torch
from torch import nn

from ghostnet_small.fast.cpu.bottleneck import fused_bottleneck
from ghostnet_small.fast.cpu.conv_chain import chained
from ghostnet_small.fast.cpu.folded import folded_features
from ghostnet_small.fast.cpu.ghost import fused_ghost, fused_squeeze_excite
from ghostnet_small.fast.cpu.head import fused_head
from ghostnet_small.fast.cpu.rep_conv import merged_forward
from ghostnet_small.fast.gpu.feature_map import available, fused_features
from ghostnet_small.models.ghostnetv3 import GhostNetV3, features_by_parts, head_by_parts
from ghostnet_small.models.settings import Compute
from ghostnet_small.nn.fold import reparameterize
from ghostnet_small.nn.ghost import (
    GhostBottleneck,
    GhostModule,
    SqueezeExcite,
    bottleneck_by_parts,
    ghost_by_parts,
    squeeze_excite,
)
from ghostnet_small.nn.rep_conv import ConvBN, RepConv2d, conv_then_norm, sum_of_branches


def use(model: nn.Module, compute: Compute = "merged") -> None:
    """Choose how ``model``, and every block in it, computes its training form.

    "branches" is the definition: each branch is computed separately. "merged" is faster and gives
    the same up to rounding: branches are folded before the convolution, a CPU runs C kernels, a
    GPU runs Triton kernels. A block that the kernels do not support computes its definition.
    """
    merged = compute == "merged"
    for module in model.modules():
        if isinstance(module, RepConv2d):
            module.compute = merged_forward if merged else sum_of_branches
        elif isinstance(module, ConvBN):
            module.compute = chained if merged else conv_then_norm
        elif isinstance(module, GhostModule):
            module.compute = fused_ghost if merged else ghost_by_parts
        elif isinstance(module, SqueezeExcite):
            module.compute = fused_squeeze_excite if merged else squeeze_excite
        elif isinstance(module, GhostBottleneck):
            module.compute = fused_bottleneck if merged else bottleneck_by_parts
        elif isinstance(module, GhostNetV3):
            module.compute = fused_features if merged else features_by_parts
            module.compute_head = fused_head if merged else head_by_parts


def ready_to_answer(model: nn.Module, device: torch.device | None = None) -> nn.Module:
    """Return ``model``, which is in evaluation mode, in its fastest form for inference.

    On a GPU that the kernels support, this is ``model`` itself, otherwise a folded copy. With a
    ``device``, ``model`` is switched to the kernels there; without one, it is not switched.
    """
    place = device or next(model.parameters()).device
    if isinstance(model, GhostNetV3) and available(place):
        if device is not None:
            model.compute = fused_features
        if model.compute is fused_features:
            return model
    folded = reparameterize(model)
    if isinstance(folded, GhostNetV3):
        folded.compute = folded_features
    return folded
