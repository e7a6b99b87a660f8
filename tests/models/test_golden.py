"""The network against numbers that the published code made, in ``tests/golden``."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

import ghostnet_small as gns
from ghostnet_small.models.ghostnetv3 import GhostNetV3
from ghostnet_small.models.published import rename_published

GOLDEN = Path(__file__).parents[1] / "golden" / "ghostnetv3_small_w1.0.safetensors"


def relative(a: Tensor, b: Tensor) -> float:
    a, b = a.detach().double(), b.detach().double()
    return float((a - b).abs().max() / b.abs().max())


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return load_file(GOLDEN)


def under(golden: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in golden.items() if k.startswith(prefix)}


def load_golden(golden: dict[str, Tensor]) -> GhostNetV3:
    model = gns.create_model("ghostnetv3_small", width=1.0, num_classes=10, in_channels=3)
    gns.load_published_state_dict(model, under(golden, "state."))
    return model


def test_every_published_name_finds_its_own_place(golden: dict[str, Tensor]) -> None:
    model = gns.create_model("ghostnetv3_small")
    ours = [rename_published(name, model.architecture) for name in under(golden, "state.")]
    assert sorted(map(str, ours)) == sorted(model.state_dict())


def test_eval_logits(golden: dict[str, Tensor]) -> None:
    model = load_golden(golden).eval()
    with torch.no_grad():
        assert relative(model(golden["input"]), golden["eval_logits"]) < 1e-5
        logits = model.double()(golden["input"].double())
    assert relative(logits, golden["eval_logits_float64"]) < 1e-12


def test_folded_eval_logits(golden: dict[str, Tensor]) -> None:
    model = load_golden(golden).double().eval()
    with torch.no_grad():
        logits = gns.reparameterize(model)(golden["input"].double())
    assert relative(logits, golden["eval_logits_float64"]) < 1e-12


def test_one_training_step(golden: dict[str, Tensor]) -> None:
    model = load_golden(golden).double().train()
    logits = model(golden["input"].double())
    loss = functional.cross_entropy(logits, golden["target"])
    loss.backward()
    assert relative(logits, golden["train_logits_float64"]) < 1e-9
    assert relative(loss[None], golden["train_loss_float64"]) < 1e-9

    gradients = {name: p.grad for name, p in model.named_parameters()}
    for name, expected in under(golden, "grad.").items():
        gradient = gradients[str(rename_published(name, model.architecture))]
        assert gradient is not None
        assert relative(gradient, expected) < 1e-9, name
    buffers = dict(model.named_buffers())
    for name, expected in under(golden, "after_train_step.").items():
        ours = str(rename_published(name, model.architecture))
        assert relative(buffers[ours], expected) < 1e-9, name
