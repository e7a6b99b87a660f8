"""The updates of all weights by one kernel."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from ghostnet_small.fast.cpu import updates
from ghostnet_small.fast.cpu.updates import SGD, Average

DECAYED = 5e-4


def layers(dtype: torch.dtype = torch.float64) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 17, 3), nn.BatchNorm2d(17), nn.Conv2d(17, 5, 1)).to(dtype)


def groups(model: nn.Module) -> list[dict[str, Any]]:
    parameters = list(model.parameters())
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": DECAYED},
        {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0, "lr": 0.03},
    ]


def give_gradients(*models: nn.Module) -> None:
    for parameters in zip(*(model.parameters() for model in models), strict=True):
        gradient = torch.randn_like(parameters[0])
        for parameter in parameters:
            parameter.grad = gradient.clone()


def assert_close(one: nn.Module, other: nn.Module) -> None:
    for ours, theirs in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.usefixtures("kernels")
def test_a_step_is_pytorchs(nesterov: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """And so is the state: each continues what the other began."""
    ours, theirs = layers(), layers()
    options: dict[str, Any] = {"lr": 0.1, "momentum": 0.9, "nesterov": nesterov}
    one, other = SGD(groups(ours), **options), torch.optim.SGD(groups(theirs), **options)
    for _ in range(3):
        give_gradients(ours, theirs)
        with monkeypatch.context() as patched:
            patched.setattr(torch.optim.SGD, "step", None)  # it is not what computes
            one.step()
        other.step()
        assert_close(ours, theirs)
    state = copy.deepcopy(one.state_dict())
    one.load_state_dict(copy.deepcopy(other.state_dict()))
    other.load_state_dict(state)
    for _ in range(2):
        give_gradients(ours, theirs)
        one.step()
        other.step()
    assert_close(ours, theirs)


def without_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updates, "usable_for", lambda _: False)


@pytest.mark.parametrize("why", ["no kernels", "no momentum", "dampening", "a gradient missing"])
def test_the_rest_is_left_to_pytorch(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if why == "no kernels":
        without_kernels(monkeypatch)
    options: dict[str, Any] = {"lr": 0.1, "momentum": 0 if why == "no momentum" else 0.9}
    if why == "dampening":
        options["dampening"] = 0.5
    ours, theirs = layers(), layers()
    one, other = SGD(groups(ours), **options), torch.optim.SGD(groups(theirs), **options)
    for step in range(3):
        give_gradients(ours, theirs)
        if why == "a gradient missing" and step == 1:
            for model in (ours, theirs):
                next(model.parameters()).grad = None
        one.step()
        other.step()
    assert_close(ours, theirs)


@pytest.mark.parametrize("by", ["kernel", "PyTorch"])
def test_an_average_moves_by_its_share(by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if by == "PyTorch":
        without_kernels(monkeypatch)
    values = [torch.randn(7, 3), torch.randn(41)]
    averages = [torch.randn(7, 3), torch.randn(41)]
    wanted = [a + 0.125 * (v - a) for a, v in zip(averages, values, strict=True)]
    Average(averages, values).move(0.125)
    for found, right in zip(averages, wanted, strict=True):
        torch.testing.assert_close(found, right, rtol=1e-6, atol=1e-6)
