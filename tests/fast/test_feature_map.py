"""The fused kernels against the definition: on a GPU, or without one in Triton's interpreter.

The interpreter has to be asked for before triton is imported, so one test runs this file again.
"""

from __future__ import annotations

import copy
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from ghostnet_small import fast
from ghostnet_small.fast.gpu import feature_map
from ghostnet_small.fast.gpu.feature_map import fused_features
from ghostnet_small.models.ghostnetv3 import (
    GHOSTNETV3_SMALL,
    Architecture,
    Block,
    GhostNetV3,
    features_by_parts,
)
from ghostnet_small.nn.complexity import complexity
from ghostnet_small.nn.fold import reparameterize

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"

runs_kernels = pytest.mark.skipif(
    not INTERPRETED and not torch.cuda.is_available(), reason="needs a GPU or the interpreter"
)
# All kinds of block: without a gate and with one, strided, with and without attention and shortcut.
SMALL = Architecture(
    blocks=(Block(3, 8, 8, 0, 1), Block(5, 12, 8, 0, 2), Block(3, 16, 8, 0.25, 1)),
    stem=8,
    last=16,
    groups=(1, 1, 1),
)


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs triton")
@pytest.mark.skipif(INTERPRETED, reason="runs this file")
def test_in_the_interpreter() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=550)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "needs a GPU or" not in done.stdout


@pytest.fixture
def anywhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The kernels serve on the CPU too, where the interpreter runs them."""
    if INTERPRETED:
        monkeypatch.setattr(feature_map, "available", lambda device: True)
    yield


def network() -> GhostNetV3:
    """One whose norms do something, in the form of the definition."""
    torch.manual_seed(0)
    model = GhostNetV3(SMALL)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    fast.use(model, "branches")
    return model.to(DEVICE).train()


def pictures(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    # A mean that is not zero, as pictures have.
    return (torch.randn(*shape, generator=generator) + 0.5).to(DEVICE)


def difference(found: Tensor, expected: Tensor) -> float:
    found, expected = found.detach().double(), expected.detach().double()
    return float((found - expected).norm() / expected.norm())


@runs_kernels
@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (2, 3, 7, 9)], ids=str)
def test_a_step_and_an_evaluation_are_the_definitions(
    anywhere: None, shape: tuple[int, ...]
) -> None:
    model = network()
    exact = copy.deepcopy(model).double()
    x = pictures(*shape).contiguous(memory_format=torch.channels_last)
    expected = exact(x.double())
    slope = torch.randn_like(expected)
    expected.backward(slope)

    model.compute = fused_features
    calls = []
    model.register_forward_hook(lambda *_: calls.append(feature_map._made.get(model)))
    found = model(x)
    assert calls[0] is not None, "the kernels were not asked"
    assert difference(found, expected) < 1e-5
    found.backward(slope.float())
    for (name, mine), theirs in zip(model.named_parameters(), exact.parameters(), strict=True):
        assert mine.grad is not None and theirs.grad is not None
        assert mine.grad.stride() == mine.stride(), name
        # A norm behind it makes a kernel of one tap matter hardly at all.
        scale = max(float(theirs.grad.norm()), 1e-2)
        assert float((mine.grad - theirs.grad).norm()) < 2e-4 * scale, name
    for (name, mine), theirs in zip(model.named_buffers(), exact.buffers(), strict=True):
        assert torch.allclose(mine.double(), theirs.double(), rtol=1e-5, atol=1e-6), name

    model.eval(), exact.eval()
    with torch.no_grad():
        assert difference(model(x), exact(x.double())) < 1e-5


@runs_kernels
def test_autocast_is_bfloat16_between_the_layers(anywhere: None) -> None:
    model = network()
    model.compute = fused_features
    x = pictures(4, 3, 6, 6)
    exact = copy.deepcopy(model)
    with torch.autocast(DEVICE, torch.bfloat16):
        rough = model.forward_features(x)
        loss = functional.cross_entropy(
            model.forward_head(rough).float(), torch.arange(4).to(DEVICE)
        )
    loss.backward()
    fine = exact.forward_features(x)
    assert rough.dtype == torch.bfloat16 and fine.dtype == torch.float32
    assert 1e-5 < difference(rough, fine) < 0.05
    for parameter in model.parameters():
        assert parameter.grad is not None and parameter.grad.dtype == torch.float32


@runs_kernels
def test_a_copy_has_parameters_of_its_own(anywhere: None) -> None:
    model = network()
    model.compute = fused_features
    x = pictures(2, 3, 6, 6)
    model(x)
    average = copy.deepcopy(model).eval()
    with torch.no_grad():
        before = average(x)
        for parameter in model.parameters():
            parameter.zero_()
        assert torch.equal(average(x), before)
        # New tensors in an old network are seen.
        for norm in (module for module in average.modules() if isinstance(module, nn.BatchNorm2d)):
            norm.weight = nn.Parameter(torch.zeros_like(norm.weight))
            norm.bias = nn.Parameter(torch.zeros_like(norm.bias))
        assert not torch.equal(average(x), before)


def test_what_is_not_for_the_kernels_goes_the_way_of_the_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(device: torch.device) -> bool:
        raise AssertionError("the kernels were asked for")

    monkeypatch.setattr(feature_map, "available", refuse)
    model = network_on_cpu()
    x = torch.randn(2, 3, 8, 8)
    # Gradients in evaluation, norms of both modes, double precision, a folded network.
    model.eval()
    assert torch.equal(fused_features(model, x), features_by_parts(model, x))
    model.train()
    model.last.bn.eval()
    fused_features(model, x)
    model.train()
    fused_features(model.double(), x.double())
    with torch.no_grad():
        fused_features(reparameterize(model.float().eval()), x)


def network_on_cpu() -> GhostNetV3:
    return GhostNetV3(GHOSTNETV3_SMALL, width=0.25)


def test_is_for_gpus_only() -> None:
    assert not feature_map.available(torch.device("cpu"))


@runs_kernels
def test_a_hook_sees_its_layer_called(anywhere: None) -> None:
    model = network().eval()
    model.compute = fused_features
    expected = complexity(network(), (3, 8, 8))
    assert complexity(model, (3, 8, 8)) == expected
    assert expected["blocks.0"].macs and expected["head"].macs


@runs_kernels
def test_an_evaluation_keeps_no_maps(anywhere: None) -> None:
    from ghostnet_small.fast.gpu.ghostnet import Features  # imports triton

    model = network().eval()
    made = Features(model.stem, model.blocks, model.last)
    x = pictures(2, 3, 6, 6)
    with torch.no_grad():
        _, _, kept = made.forward(x, torch.float32, training=False)
        assert len(kept) == 1
        _, _, kept = made.forward(x, torch.float32, training=True)
    # The step, the stem, three blocks, the last convolution.
    assert len(kept) == 6
