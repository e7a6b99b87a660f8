from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from ghostnet_small.models.registry import create_model
from ghostnet_small.nn import merged as merged_module
from ghostnet_small.nn.merged import MergedConv, merged_forward, set_rep_conv
from ghostnet_small.nn.rep_conv import RepConv2d

TOLERANCE = 1e-9


@pytest.fixture(autouse=True)
def worthwhile_at_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merged_module, "WORTHWHILE", 0)


def scrambled(module: nn.Module) -> nn.Module:
    """Random weights everywhere, so that no gradient is zero by symmetry."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith("bn.weight") or name == "skip.weight":
                parameter.uniform_(0.5, 1.5)
            elif parameter.ndim == 1:
                parameter.normal_()
    return module.double().train()


def assert_close(actual: torch.Tensor, expected: torch.Tensor, name: str) -> None:
    error = (actual - expected).abs().max().item()
    assert error <= TOLERANCE * max(1.0, expected.abs().max().item()), (name, error)


LAYERS = {
    "pointwise": (dict(in_channels=5, out_channels=3, kernel_size=1), (4, 5, 6, 7)),
    "pointwise-skip": (dict(in_channels=4, out_channels=4, kernel_size=1), (3, 4, 5, 5)),
    "pointwise-1x1-map": (dict(in_channels=4, out_channels=4, kernel_size=1), (2, 4, 1, 1)),
    "depthwise": (dict(in_channels=4, out_channels=4, kernel_size=3, groups=4), (3, 4, 8, 8)),
    "odd": (dict(in_channels=3, out_channels=3, kernel_size=3, groups=3), (2, 3, 7, 5)),
    "one-pixel": (dict(in_channels=3, out_channels=3, kernel_size=3, groups=3), (5, 3, 1, 1)),
    "two-pixels": (dict(in_channels=3, out_channels=3, kernel_size=3, groups=3), (2, 3, 2, 2)),
    "one-row": (dict(in_channels=3, out_channels=3, kernel_size=3, groups=3), (2, 3, 1, 6)),
    "three-rows": (dict(in_channels=3, out_channels=3, kernel_size=3, groups=3), (2, 3, 3, 2)),
    "one-channel": (dict(in_channels=1, out_channels=1, kernel_size=3), (3, 1, 4, 5)),
    "nine-to-one": (dict(in_channels=9, out_channels=1, kernel_size=1), (3, 9, 4, 4)),
    "stride-2": (
        dict(in_channels=4, out_channels=4, kernel_size=3, stride=2, groups=4),
        (3, 4, 7, 8),
    ),
    "depthwise-5x5": (dict(in_channels=4, out_channels=4, kernel_size=5, groups=4), (3, 4, 6, 7)),
}


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("layer", LAYERS)
def test_is_the_sum_of_branches(layer: str, memory_format: torch.memory_format) -> None:
    torch.manual_seed(0)
    settings, shape = LAYERS[layer]
    reference = scrambled(RepConv2d(**settings))
    merged = copy.deepcopy(reference)
    x = (torch.randn(shape, dtype=torch.float64) + 0.7).to(memory_format=memory_format)
    xs = [x.clone().requires_grad_() for _ in range(2)]
    outs = [reference(xs[0]), merged_forward(merged, xs[1])]
    assert_close(outs[1], outs[0], "output")
    weights = torch.randn(outs[0].shape, dtype=torch.float64)
    for out in outs:
        (out * weights).sum().backward()
    assert_close(xs[1].grad, xs[0].grad, "input")
    for (name, expected), actual in zip(
        reference.named_parameters(), merged.parameters(), strict=True
    ):
        assert_close(actual.grad, expected.grad, name)
    for name, expected in reference.named_buffers():
        assert_close(merged.get_buffer(name).double(), expected.double(), name)


def test_branches_in_evaluation_are_left_to_the_reference() -> None:
    torch.manual_seed(0)
    rep = scrambled(RepConv2d(4, 4, 1))
    x = torch.randn(3, 4, 5, 5, dtype=torch.float64)
    rep.branches[1].bn.eval()
    assert torch.equal(merged_forward(copy.deepcopy(rep), x), rep(x))
    rep.eval()
    assert torch.equal(merged_forward(rep, x), rep(x))


def test_small_inputs_are_left_to_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    rep = scrambled(RepConv2d(4, 4, 1))
    x = torch.randn(3, 4, 5, 5, dtype=torch.float64)
    monkeypatch.setattr(merged_module, "WORTHWHILE", x.numel() + 1)
    assert torch.equal(merged_forward(copy.deepcopy(rep), x), rep(x))


def test_a_single_value_per_channel_is_refused_as_ever() -> None:
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        merged_forward(RepConv2d(4, 4, 1).train(), torch.randn(1, 4, 1, 1))


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 3, 1, 1), (2, 2, 2, 3)])
@pytest.mark.parametrize("depthwise", [False, True])
def test_gradients(depthwise: bool, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    channels = shape[1]
    kernels = (channels, 3, 1, 9) if depthwise else (1, 3, 2, channels)
    inputs = [torch.randn(size, dtype=torch.float64) for size in (shape, kernels)]
    inputs += [torch.rand(kernels[:3], dtype=torch.float64) + 0.5 for _ in range(2)]
    for tensor in inputs:
        tensor.requires_grad_()

    def output(*tensors: torch.Tensor) -> torch.Tensor:
        return MergedConv.apply(*tensors, 1e-5, depthwise)[0]

    assert torch.autograd.gradcheck(output, inputs)


def test_the_whole_network_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    reference = scrambled(create_model("ghostnetv3_small")).to(memory_format=torch.channels_last)
    merged = copy.deepcopy(reference)
    x = torch.randn(4, 3, 32, 32, dtype=torch.float64).to(memory_format=torch.channels_last)
    labels = torch.tensor([0, 3, 5, 9])
    expected = reference(x)
    expected_loss = nn.functional.cross_entropy(expected, labels)
    expected_loss.backward()
    set_rep_conv(merged, "merged")
    actual = merged(x)
    loss = nn.functional.cross_entropy(actual, labels)
    loss.backward()
    assert_close(actual, expected, "logits")
    assert_close(loss, expected_loss, "loss")
    for (name, parameter), other in zip(
        reference.named_parameters(), merged.parameters(), strict=True
    ):
        assert_close(other.grad, parameter.grad, name)
    for name, buffer in reference.named_buffers():
        assert_close(merged.get_buffer(name).double(), buffer.double(), name)
