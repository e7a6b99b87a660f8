"""The choice between the two ways to compute the training form of a network."""

from __future__ import annotations

from typing import Literal

from torch import nn

from ghostnet_small.nn.bottleneck import SqueezeExcite, squeeze_excite
from ghostnet_small.nn.fused import fused_ghost, fused_squeeze_excite
from ghostnet_small.nn.ghost import GhostModule, ghost_by_parts
from ghostnet_small.nn.merged import merged_forward
from ghostnet_small.nn.rep_conv import RepConv2d, sum_of_branches

RepConvForm = Literal["merged", "branches"]


def set_rep_conv(model: nn.Module, form: RepConvForm) -> None:
    """Make every part of ``model`` compute its training form so.

    "branches" is the definition: every branch on its own. "merged" is exactly equal, and faster
    wherever it does not leave a part to the definition. A convolution with a single branch stays
    as it is in both: its moments cost more than its one batch norm.
    """
    merged = form == "merged"
    for module in model.modules():
        if isinstance(module, RepConv2d):
            module.compute = merged_forward if merged else sum_of_branches
        elif isinstance(module, GhostModule):
            module.compute = fused_ghost if merged else ghost_by_parts
        elif isinstance(module, SqueezeExcite):
            module.compute = fused_squeeze_excite if merged else squeeze_excite
