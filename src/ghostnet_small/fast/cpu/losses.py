"""The cross-entropy as one call of a C kernel where there are kernels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from ghostnet_small.fast.cpu.kernels.calls import call, double, long, usable_for


def cross_entropy(logits: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
    """Compute ``functional.cross_entropy`` of logits ``(N, K)``, of which PyTorch makes four calls.

    Raises ``IndexError`` where a target is not a class.
    """
    if (
        logits.dim() != 2
        or logits.numel() == 0
        or targets.shape != logits.shape[:1]
        or targets.dtype != torch.int64
        or not (targets.is_cpu and targets.is_contiguous() and usable_for(logits))
        or torch.is_autocast_enabled("cpu")
    ):
        return functional.cross_entropy(logits, targets, label_smoothing=label_smoothing)
    loss: Tensor = _CrossEntropy.apply(logits, targets, label_smoothing)
    return loss


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor, smoothing: float) -> Tensor:
        logits = logits.contiguous()
        loss, gradient = logits.new_empty(()), torch.empty_like(logits)
        n, k = logits.shape
        call(
            "cross_entropy", logits, long(n), k, logits, targets, double(smoothing), loss, gradient
        )
        ctx.save_for_backward(gradient)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * above, None, None
