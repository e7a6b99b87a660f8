"""The feature map of a network: by fused kernels where they support it, otherwise by its parts."""

from __future__ import annotations

import functools
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from ghostnet_small.fast.gpu.availability import runs_on
from ghostnet_small.models.ghostnetv3 import GhostNetV3, features_by_parts, is_of_ghosts
from ghostnet_small.nn.rep_conv import ConvBN

# One for each network; not stored on the network, whose copies would share it.
_made: WeakKeyDictionary[nn.Module, object] = WeakKeyDictionary()


@functools.cache
def available(device: torch.device) -> bool:
    """Return whether the kernels run on ``device``; warn once where they should and do not."""

    def trial() -> Tensor:
        from ghostnet_small.fast.gpu import maps

        return maps.pool(torch.ones(4, 2, device=device), maps.Size(1, 2, 2))

    return runs_on(device, trial, "fused")


def fused_features(model: GhostNetV3, x: Tensor) -> Tensor:
    """Compute ``features_by_parts(model, x)`` by fused kernels: ``(N, C, H, W) -> (N, F, h, w)``.

    The kernels support GPUs, training with batch statistics and evaluation without gradients, in
    float32 or, under autocast, in bfloat16. Everything else is computed by the parts.
    """
    dtype = _precision(x)
    if dtype is None or not _serves(model) or not available(x.device):
        return features_by_parts(model, x)
    from ghostnet_small.fast.gpu.ghostnet import Features, FeaturesFunction

    made = _made.get(model)
    if not isinstance(made, Features) or not made.is_of(model):
        made = Features(model.stem, model.blocks, model.last)
        _made[model] = made
    # The precision of each operation is already decided.
    with torch.autocast(x.device.type, enabled=False):
        if model.training:
            out: Tensor = FeaturesFunction.apply(x, dtype, made, *made.parameters)
        else:
            rows, size, _ = made.forward(x, dtype, training=False)
            out = rows.view(*size, -1)
    return out.permute(0, 3, 1, 2)


def _precision(x: Tensor) -> torch.dtype | None:
    """Return the type to compute in; ``None`` where these kernels do not support it."""
    kind = x.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
    return dtype if dtype in (torch.float32, torch.bfloat16) else None


def _serves(model: GhostNetV3) -> bool:
    """Return whether ``model`` suits the kernels: not folded, no mixed modes, no hooks."""
    if (
        not is_of_ghosts(model)
        or not isinstance(model.stem, ConvBN)
        or any(block.drop_path for block in model.blocks)
        or model.grad_checkpointing
        or (torch.is_grad_enabled() and not model.training)
    ):
        return False
    modules = list(model.modules())
    # Code that counts operations or compares feature maps needs the layers to be called.
    if any(module._forward_hooks or module._forward_pre_hooks for module in modules[1:]):
        return False
    norms = [module for module in modules if isinstance(module, nn.BatchNorm2d)]
    return all(
        norm.training == model.training
        and norm.affine
        and norm.track_running_stats
        and norm.momentum == norms[0].momentum is not None
        and norm.eps == norms[0].eps
        and norm.num_features % 2 == 0
        for norm in norms
    )
