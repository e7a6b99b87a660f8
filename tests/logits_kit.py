"""Logits to distil from and to, and the losses that take them alike."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ghostnet_small.distill import dist_loss, dkd_loss, kd_loss, logit_standardized_kd_loss

Loss = Callable[[Tensor, Tensor, float], Tensor]

STUDENT = torch.tensor(
    [[2.0, 0.5, -1.0, 0.0], [0.0, 3.0, 0.5, -2.0], [-1.0, 0.2, 0.1, 1.5]], dtype=torch.float64
)
TEACHER = torch.tensor(
    [[4.0, 1.0, -2.0, 0.5], [0.5, 2.0, 1.5, -1.0], [-3.0, -0.5, 2.5, 1.0]], dtype=torch.float64
)
TARGETS = torch.tensor([0, 1, 2])


def decoupled(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """``dkd_loss`` as one of the others: the labels go round."""
    targets = torch.arange(len(student)) % max(student.shape[1], 1)
    return dkd_loss(student, teacher, targets, temperature)


LOSSES: dict[str, Loss] = {
    "kd": kd_loss,
    "dkd": decoupled,
    "dist": dist_loss,
    "logit_standardized": logit_standardized_kd_loss,
}
every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


def random_logits(count: int = 12, classes: int = 5, seed: int = 3) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    student, teacher = 3 * torch.randn(2, count, classes, generator=random, dtype=torch.float64)
    return student, teacher


def gradient(loss: Loss, student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    student = student.clone().requires_grad_()
    loss(student, teacher, temperature).backward()
    assert student.grad is not None
    return student.grad
