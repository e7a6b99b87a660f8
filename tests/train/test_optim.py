from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from ghostnet_small import fast
from ghostnet_small.errors import InputError
from ghostnet_small.models.registry import create_model
from ghostnet_small.models.settings import Compute
from ghostnet_small.train.optim import OptimizerName, OptimizerSettings, build_optimizer


def decayed_names(model: nn.Module, settings: OptimizerSettings) -> set[str]:
    optimizer = build_optimizer(model, settings)
    held = [p for group in optimizer.param_groups for p in group["params"]]
    assert len(held) == len(list(model.parameters())) == len({id(p) for p in held})
    decays = {
        id(p)
        for group in optimizer.param_groups
        if group["weight_decay"] == settings.weight_decay
        for p in group["params"]
    }
    return {name for name, p in model.named_parameters() if id(p) in decays}


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_norms_and_biases_do_not_decay_unless_asked(name: Any) -> None:
    model = create_model("ghostnetv3_small", width=0.25)
    norms = {
        f"{name}.{kind}"
        for name, module in model.named_modules()
        if isinstance(module, nn.BatchNorm2d)
        for kind in ("weight", "bias")
    }
    every = {name for name, _ in model.named_parameters()}
    biases = {name for name in every if name.endswith(".bias")}
    settings = OptimizerSettings(name=name, weight_decay=0.01)
    assert decayed_names(model, settings) == every - norms - biases
    settings = OptimizerSettings(name=name, weight_decay=0.01, decay_norm_and_bias=True)
    assert decayed_names(model, settings) == every


def moved(settings: OptimizerSettings, gradients: list[float]) -> float:
    """Where one weight of value 1 ends after steps with these gradients."""
    model = nn.Linear(1, 1, bias=False).double()
    with torch.no_grad():
        model.weight.fill_(1.0)
    optimizer = build_optimizer(model, settings)
    for gradient in gradients:
        model.weight.grad = torch.full_like(model.weight, gradient)
        optimizer.step()
    return model.weight.item()


def test_nesterov_by_hand() -> None:
    settings = OptimizerSettings(learning_rate=0.1, momentum=0.5, weight_decay=0.2)
    # g = 1 + 0.2 = 1.2, v = 1.2, w = 1 - 0.1 (1.2 + 0.6) = 0.82
    # g = 2 + 0.164 = 2.164, v = 0.6 + 2.164 = 2.764, w = 0.82 - 0.1 (2.164 + 1.382)
    assert moved(settings, [1.0, 2.0]) == pytest.approx(0.4654, rel=1e-12)


def test_plain_momentum_by_hand() -> None:
    settings = OptimizerSettings(learning_rate=0.1, momentum=0.5, weight_decay=0, nesterov=False)
    assert moved(settings, [1.0, 2.0]) == pytest.approx(1 - 0.1 * 1 - 0.1 * 2.5, rel=1e-12)


def test_adamw_by_hand() -> None:
    """The first step is the sign of the gradient; the decay is apart from it."""
    settings = OptimizerSettings(name="adamw", learning_rate=0.1, weight_decay=0.2)
    assert moved(settings, [3.0]) == pytest.approx(1 * (1 - 0.1 * 0.2) - 0.1, rel=1e-8)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", 0.0),
        ("learning_rate", math.nan),
        ("weight_decay", -1e-4),
        ("weight_decay", math.inf),
        ("momentum", 1.0),
        ("betas", (0.9, 1.0)),
    ],
)
def test_out_of_range(name: str, value: Any) -> None:
    with pytest.raises(InputError, match=name):
        OptimizerSettings(**{name: value})


def test_nesterov_needs_a_momentum() -> None:
    with pytest.raises(InputError, match="nesterov"):
        OptimizerSettings(momentum=0.0)
    OptimizerSettings(name="adamw", momentum=0.0)


@pytest.mark.parametrize("form", ["branches", "merged"])
@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_one_kernel_for_all_parameters_gives_what_a_loop_over_them_gives(
    form: Compute, name: OptimizerName
) -> None:
    """It reads gradients as they lie in memory: one of another memory format would be taken for
    another one, without a word."""
    torch.manual_seed(0)
    model = create_model("ghostnetv3_small", width=0.5).train()
    model.to(memory_format=torch.channels_last)
    fast.use(model, form)
    loop = copy.deepcopy(model)
    settings = OptimizerSettings(name=name, learning_rate=0.01)
    fused, slow = build_optimizer(model, settings), build_optimizer(loop, settings)
    assert all(group["fused"] for group in fused.param_groups)
    for group in slow.param_groups:
        group["fused"] = False
    x = torch.randn(4, 3, 16, 16).to(memory_format=torch.channels_last)
    for _ in range(2):
        functional.cross_entropy(model(x), torch.arange(4)).backward()
        for parameter, other in zip(model.parameters(), loop.parameters(), strict=True):
            assert parameter.grad is not None
            assert parameter.grad.stride() == parameter.stride()
            other.grad = parameter.grad.clone()
        fused.step()
        slow.step()
        fused.zero_grad()
        for parameter, other in zip(model.parameters(), loop.parameters(), strict=True):
            assert torch.allclose(parameter, other, rtol=1e-5, atol=1e-6)
            other.data.copy_(parameter.data)
