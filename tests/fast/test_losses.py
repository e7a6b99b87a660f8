"""The cross-entropy by a kernel is PyTorch's."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from ghostnet_small.fast.cpu.losses import cross_entropy


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("classes", [2, 10, 101])
@pytest.mark.parametrize("scale", [1.0, 500.0])
def test_loss_and_gradient_are_pytorchs(classes: int, smoothing: float, scale: float) -> None:
    logits = (scale * torch.randn(7, classes, dtype=torch.float64)).requires_grad_()
    targets = torch.randint(classes, (7,))
    found = []
    for loss in (
        cross_entropy(logits, targets, smoothing),
        functional.cross_entropy(logits, targets, label_smoothing=smoothing),
    ):
        (gradient,) = torch.autograd.grad(3 * loss, logits)
        found += [loss.detach(), gradient]
    torch.testing.assert_close(found[0], found[2], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found[1], found[3], rtol=1e-9, atol=1e-12)


@pytest.mark.usefixtures("kernels")
def test_it_is_no_number_where_a_logit_is_none() -> None:
    logits = torch.zeros(2, 3)
    logits[1, 2] = torch.nan
    assert cross_entropy(logits, torch.tensor([0, 1]), 0.0).isnan()


@pytest.mark.parametrize("target", [-1, 3])
def test_a_target_that_is_no_class(target: int) -> None:
    with pytest.raises(IndexError, match="out of"):
        cross_entropy(torch.zeros(2, 3), torch.tensor([0, target]), 0.0)


def test_others_are_pytorchs() -> None:
    """A map of logits, and integers of another type, as in it."""
    logits, targets = torch.randn(2, 3, 4, 4), torch.zeros(2, 4, 4, dtype=torch.int64)
    wanted = functional.cross_entropy(logits, targets)
    assert torch.equal(cross_entropy(logits, targets, 0.0), wanted)
