from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ghostnet_small.tensorfile import read_tensors, write_tensors
from ghostnet_small.train.checkpoint import optimizer_tensors, restore_optimizer
from ghostnet_small.train.optim import OptimizerSettings, build_optimizer

SETTINGS = {
    "sgd": OptimizerSettings(),
    "sgd without momentum": OptimizerSettings(momentum=0.0, nesterov=False),
    "adamw": OptimizerSettings(name="adamw"),
}


def model_and_optimizer(name: str) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model, build_optimizer(model, SETTINGS[name])


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        x = torch.randn(4, 3, 4, 4, generator=torch.Generator().manual_seed(step))
        model(x).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("steps", [0, 2])
def test_through_a_file_and_on(tmp_path: Path, name: str, steps: int) -> None:
    model, optimizer = model_and_optimizer(name)
    train(model, optimizer, range(steps))
    write_tensors(tmp_path / "o.safetensors", optimizer_tensors(optimizer), {})
    write_tensors(tmp_path / "m.safetensors", model.state_dict(), {})
    train(model, optimizer, range(steps, 4))

    other, restored = model_and_optimizer(name)
    other.load_state_dict(read_tensors(tmp_path / "m.safetensors")[0])
    restore_optimizer(restored, read_tensors(tmp_path / "o.safetensors")[0])
    train(other, restored, range(steps, 4))
    for key, value in model.state_dict().items():
        assert torch.equal(other.state_dict()[key], value), key


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_restored_tensor_has_the_layout_of_its_parameter(name: str) -> None:
    model, optimizer = model_and_optimizer(name)
    train(model, optimizer, range(1))
    saved = {key: value.contiguous() for key, value in optimizer_tensors(optimizer).items()}
    other, restored = model_and_optimizer(name)
    restore_optimizer(restored, saved)
    kernel = next(other.parameters())
    assert not kernel.is_contiguous()
    for tensor in restored.state[kernel].values():
        assert tensor.ndim == 0 or tensor.stride() == kernel.stride()


def test_the_learning_rate_is_not_the_checkpoints() -> None:
    model, optimizer = model_and_optimizer("sgd")
    train(model, optimizer, range(1))
    saved = optimizer_tensors(optimizer)
    optimizer.param_groups[0]["lr"] = 7.0
    restore_optimizer(optimizer, saved)
    assert optimizer.param_groups[0]["lr"] == 7.0


@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    path = tmp_path / "state.safetensors"
    write_tensors(path, {"a": torch.ones(3)}, {"step": 1})

    def fail(*_: Any) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, fails, fail)
        with pytest.raises(OSError, match="no space"):
            write_tensors(path, {"a": torch.zeros(3)}, {"step": 2})
    tensors, values = read_tensors(path)
    assert torch.equal(tensors["a"], torch.ones(3)) and values == {"step": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["state.safetensors"]
