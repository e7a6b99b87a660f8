from __future__ import annotations

import torch
from torch import Tensor

from ghostnet_small.data.constants import constant

CPU = torch.device("cpu")


def test_equal_numbers_of_other_types_are_other_constants() -> None:
    """``(1, 0)`` and ``(True, False)`` are one key to Python."""
    whole = constant((1, 0), torch.int64, CPU)
    truth = constant((True, False), torch.bool, CPU)
    assert whole.dtype == torch.int64 and truth.dtype == torch.bool
    assert constant((1, 0), torch.int64, CPU) is whole
    assert constant(((1, 2), (3, 4)), torch.int64, CPU).shape == (2, 2)


def test_one_that_was_made_without_gradients_serves_with_them() -> None:
    values = (0.125, 17.0)  # which nothing else asks for
    with torch.inference_mode():
        made = constant(values, torch.float32, CPU)
    learned = torch.ones(2, requires_grad=True)
    product: Tensor = (made * learned).sum()
    product.backward()
    assert learned.grad is not None and torch.equal(learned.grad, made)
