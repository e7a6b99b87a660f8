"""The choice between the two ways to compute the training form of a network."""

from __future__ import annotations

from typing import Literal

from torch import nn

from ghostnet_small.nn.bottleneck import (
    GhostBottleneck,
    SqueezeExcite,
    bottleneck_by_parts,
    squeeze_excite,
)
from ghostnet_small.nn.chain import chained
from ghostnet_small.nn.fused import fused_ghost, fused_squeeze_excite
from ghostnet_small.nn.fused_bottleneck import fused_bottleneck
from ghostnet_small.nn.ghost import GhostModule, ghost_by_parts
from ghostnet_small.nn.merged import merged_forward
from ghostnet_small.nn.rep_conv import ConvBN, RepConv2d, conv_then_norm, sum_of_branches

RepConvForm = Literal["merged", "branches"]


def set_rep_conv(model: nn.Module, form: RepConvForm) -> None:
    """Make every part of ``model`` compute its training form so.

    "branches" is the definition: every branch on its own. "merged" is exactly equal, and faster
    wherever it does not leave a part to the definition.
    """
    merged = form == "merged"
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
