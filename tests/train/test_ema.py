from __future__ import annotations

import pytest
import torch
from torch import nn

from ghostnet_small.train.ema import EMA


def test_by_hand_with_warm_up() -> None:
    model = nn.Linear(1, 1, bias=False).double()
    with torch.no_grad():
        model.weight.fill_(1.0)
    ema = EMA(model, decay=0.25)
    expected = 1.0
    # Of the past stays min(0.25, (1 + t) / (10 + t)): 1/10, 2/11, 3/12, then 1/4.
    for t, (value, keep) in enumerate([(2.0, 1 / 10), (4.0, 2 / 11), (8.0, 1 / 4), (6.0, 1 / 4)]):
        with torch.no_grad():
            model.weight.fill_(value)
        ema.update(t)
        expected = keep * expected + (1 - keep) * value
        assert ema.model.weight.item() == pytest.approx(expected, rel=1e-12)  # type: ignore[operator,union-attr]


def test_running_statistics_are_averaged_and_counters_copied() -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(2)
    ema = EMA(norm, decay=0.999)
    norm(torch.randn(8, 2, 3, 3) + 5)
    ema.update(0)
    average = ema.model
    assert isinstance(average, nn.BatchNorm2d)
    assert average.running_mean is not None and norm.running_mean is not None
    assert torch.allclose(average.running_mean, 0.9 * norm.running_mean)
    assert average.num_batches_tracked == norm.num_batches_tracked == 1


def test_it_is_a_model_of_its_own_that_is_never_trained() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout()).train()
    ema = EMA(model, decay=0.9)
    before = [p.detach().clone() for p in ema.model.parameters()]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    assert all(torch.equal(a, b) for a, b in zip(before, ema.model.parameters(), strict=True))
    assert not any(module.training for module in ema.model.modules())
    assert not any(parameter.requires_grad for parameter in ema.model.parameters())
    assert model.training and all(parameter.requires_grad for parameter in model.parameters())
