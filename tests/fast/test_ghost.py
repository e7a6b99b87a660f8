"""Ghost modules, squeeze-and-excitation, chains and bottlenecks as single functions."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from ghostnet_small import fast
from ghostnet_small.fast.cpu import bottleneck, conv_chain
from ghostnet_small.fast.cpu.bottleneck import bottleneck_of
from ghostnet_small.fast.cpu.conv_chain import chain_of
from ghostnet_small.fast.cpu.fused_parts import apply
from ghostnet_small.fast.cpu.ghost import ghost_of, squeeze_of
from ghostnet_small.fast.cpu.kernels import calls
from ghostnet_small.models.registry import create_model
from ghostnet_small.nn.ghost import AttentionGate, GhostBottleneck, GhostModule, SqueezeExcite
from ghostnet_small.nn.rep_conv import ConvBN, with_relu
from scrambled import scrambled

pytestmark = pytest.mark.usefixtures("kernels")

# Channels below, at and beyond a vector's lanes, and such as fill no whole number of vectors.
MODULES = {
    "few": (3, 4),
    "lanes": (8, 16),
    "beyond": (11, 26),
    "many": (37, 76),
}
SHAPES = [(2, 8, 8), (3, 7, 5), (5, 1, 1), (2, 1, 6), (2, 3, 2), (70, 2, 2)]
BLOCKS: dict[str, dict[str, Any]] = {
    "identity": dict(in_channels=12, hidden_channels=20, out_channels=12, se_channels=8),
    "ungated": dict(in_channels=6, hidden_channels=6, out_channels=6, gated=False),
    "another width": dict(in_channels=9, hidden_channels=18, out_channels=10, se_channels=3),
    "half size": dict(in_channels=8, hidden_channels=12, out_channels=14, stride=2),
    "5x5": dict(
        in_channels=5, hidden_channels=22, out_channels=6, stride=2, kernel_size=5, se_channels=2
    ),
    "5x5, same size": dict(in_channels=5, hidden_channels=10, out_channels=8, kernel_size=5),
}


def pictures(count: int, channels: int, *size: int) -> torch.Tensor:
    x = torch.randn(count, channels, *size, dtype=torch.float64) + 0.3
    return x.to(memory_format=torch.channels_last)


def assert_the_same(module: nn.Module, x: torch.Tensor, tolerance: float = 1e-9) -> None:
    """Output, all gradients and running statistics in both forms."""
    module.to(memory_format=torch.channels_last)
    merged = copy.deepcopy(module)
    fast.use(module, "branches")
    fast.use(merged, "merged")
    xs = [x.clone().requires_grad_() for _ in range(2)]
    outs = [module(xs[0]), merged(xs[1])]
    slope = torch.randn(outs[0].shape, dtype=x.dtype)
    for out in outs:
        (out * slope).sum().backward()
    pairs = {"output": (outs[1], outs[0]), "input": (xs[1].grad, xs[0].grad)}
    for (name, wanted), found in zip(module.named_parameters(), merged.parameters(), strict=True):
        pairs[name] = (found.grad, wanted.grad)
    for name, buffer in module.named_buffers():
        pairs[name] = (merged.get_buffer(name).double(), buffer.double())
    for name, (found, wanted) in pairs.items():
        assert found.shape == wanted.shape, name
        error = (found - wanted).abs().max().item()
        assert error <= tolerance * max(1.0, wanted.abs().max().item()), (name, error)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("channels", MODULES)
@pytest.mark.parametrize(("relu", "gated"), [(True, True), (True, False), (False, False)])
def test_a_ghost_module_is_the_same(
    relu: bool, gated: bool, channels: str, shape: tuple[int, int, int]
) -> None:
    torch.manual_seed(0)
    ghost = scrambled(GhostModule(*MODULES[channels], relu=relu, gated=gated))
    x = pictures(shape[0], MODULES[channels][0], *shape[1:])
    assert ghost_of(ghost, x, shape[1:]) is not None
    assert_the_same(ghost, x)


@pytest.mark.parametrize("shape", [(2, 8, 8), (3, 7, 5), (2, 16, 12), (6, 2, 2)])
@pytest.mark.parametrize("block", BLOCKS)
def test_a_bottleneck_is_the_same(block: str, shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    settings = BLOCKS[block]
    module = scrambled(GhostBottleneck(**settings))
    x = pictures(shape[0], settings["in_channels"], *shape[1:])
    assert bottleneck_of(module, x) is not None
    assert_the_same(module, x)


@pytest.mark.parametrize("block", BLOCKS)
def test_gradients_of_a_bottleneck(block: str) -> None:
    torch.manual_seed(0)
    settings = {**BLOCKS[block], "in_channels": 4, "hidden_channels": 4}
    settings["out_channels"] = 4 if "identity" in block else 6
    module = scrambled(GhostBottleneck(**settings))
    x = pictures(2, 4, 4, 5).requires_grad_()
    part = bottleneck_of(module, x)
    assert part is not None
    assert torch.autograd.gradcheck(lambda x: apply(part, x), (x,))
    kept = part.parameters
    assert torch.autograd.gradcheck(lambda *_: apply(part, x), (x, *kept), fast_mode=True)


def test_a_bottleneck_that_is_partly_in_evaluation_goes_by_its_parts() -> None:
    torch.manual_seed(0)
    module = scrambled(GhostBottleneck(**BLOCKS["identity"]))
    module.ghost2.primary.branches[0].bn.eval()
    x = pictures(3, 12, 6, 6)
    assert bottleneck_of(module, x) is None
    assert_the_same(module, x)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("channels", [(3, 2), (8, 4), (21, 9), (64, 20)])
def test_squeeze_and_excitation_is_the_same(
    channels: tuple[int, int], shape: tuple[int, int, int]
) -> None:
    torch.manual_seed(0)
    module = SqueezeExcite(*channels).double().train()
    x = pictures(shape[0], channels[0], *shape[1:])
    part = squeeze_of(module, x)
    assert part is not None
    assert_the_same(module, x)


def test_gradients_of_squeeze_and_excitation() -> None:
    torch.manual_seed(0)
    module = SqueezeExcite(3, 2).double().train()
    x = pictures(2, 3, 3, 2).requires_grad_()
    part = squeeze_of(module, x)
    assert part is not None
    assert torch.autograd.gradcheck(lambda x, *_: apply(part, x), (x, *part.parameters))


CHAINS: dict[str, tuple[int, list[nn.Module]]] = {
    "1x1": (9, [ConvBN(9, 5, 1)]),
    "shortcut": (6, [ConvBN(6, 6, 3, stride=2, groups=6), ConvBN(6, 11, 1)]),
    "5x5": (6, [ConvBN(6, 6, 5, groups=6), ConvBN(6, 9, 1)]),
    "5x5, half size": (10, [ConvBN(10, 10, 5, stride=2, groups=10), ConvBN(10, 4, 1)]),
    "gate": (9, list(AttentionGate(9, 17).layers)),
    "three": (4, [ConvBN(4, 8, 1), ConvBN(8, 8, 3, groups=8), ConvBN(8, 3, 1)]),
}


@pytest.mark.parametrize("shape", [(2, 8, 8), (3, 7, 5), (4, 1, 1), (2, 1, 6)])
@pytest.mark.parametrize("kind", CHAINS)
def test_a_chain_is_the_same(kind: str, shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    channels, layers = CHAINS[kind]
    wanted = scrambled(nn.Sequential(*copy.deepcopy(layers)))
    found = copy.deepcopy(wanted)
    x = pictures(shape[0], channels, *shape[1:])
    xs = [x.clone().requires_grad_() for _ in range(2)]
    part = chain_of(tuple(found), x, shape[1:])
    assert part is not None
    outs = [wanted(xs[0]), apply(part, xs[1])]
    slope = torch.randn(outs[0].shape, dtype=x.dtype)
    for out in outs:
        (out * slope).sum().backward()
    pairs = [(outs[1], outs[0]), (xs[1].grad, xs[0].grad)]
    pairs += [
        (b.grad, a.grad) for a, b in zip(wanted.parameters(), found.parameters(), strict=True)
    ]
    pairs += [
        (b.double(), a.double()) for a, b in zip(wanted.buffers(), found.buffers(), strict=True)
    ]
    for actual, expected in pairs:
        assert actual.shape == expected.shape
        error = (actual - expected).abs().max().item()
        assert error <= 1e-9 * max(1.0, expected.abs().max().item())


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_stem_is_the_same(channels: int, relu: bool) -> None:
    torch.manual_seed(0)
    stem = scrambled(ConvBN(channels, 12, 3)).to(memory_format=torch.channels_last)
    merged = copy.deepcopy(stem)
    fast.use(merged, "merged")
    # Of pictures no gradient is asked for.
    x = pictures(3, channels, 9, 7)
    assert chain_of((stem,), x, (9, 7)) is not None
    outs = [with_relu(module, x) if relu else module(x) for module in (stem, merged)]
    assert torch.allclose(outs[1], outs[0], rtol=1e-10, atol=1e-12)
    for out in outs:
        (out * torch.arange(out.numel(), dtype=out.dtype).view(out.shape)).sum().backward()
    for wanted, found in zip(stem.parameters(), merged.parameters(), strict=True):
        assert found.grad is not None and wanted.grad is not None
        assert torch.allclose(found.grad, wanted.grad, rtol=1e-9, atol=1e-9)


def test_pictures_whose_gradient_is_asked_for_go_by_the_definition() -> None:
    torch.manual_seed(0)
    stem = scrambled(ConvBN(3, 6, 3))
    fast.use(stem, "merged")
    x = pictures(2, 3, 6, 6).requires_grad_()
    assert chain_of((stem,), x, (6, 6)) is None
    assert torch.autograd.gradcheck(stem, (x,))


@pytest.mark.parametrize("size", [(4, 4), (9, 6)])
def test_float32_is_as_close_as_float32_is(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    module = GhostBottleneck(20, 36, 24, se_channels=8, stride=1).train()
    exact = copy.deepcopy(module).double()
    fast.use(module, "merged")
    x = torch.randn(8, 20, *size).to(memory_format=torch.channels_last)
    assert bottleneck_of(module, x) is not None
    wanted = exact(x.double())
    assert (module(x).double() - wanted).abs().max() < 1e-5 * wanted.abs().max()


@pytest.mark.parametrize("name", ["ghostnetv3_small", "ghostnetv3"])
def test_every_block_of_both_networks_is_one_function(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = create_model(name, width=0.5).train().to(memory_format=torch.channels_last)
    fast.use(model, "merged")
    for module, definition in (
        (bottleneck, "bottleneck_by_parts"),
        (conv_chain, "conv_then_norm"),
    ):
        monkeypatch.setattr(module, definition, None)
    model(torch.randn(3, 3, 32, 32).to(memory_format=torch.channels_last)).sum().backward()


def test_nothing_is_fused_where_the_kernels_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr(calls, "usable", lambda x: False)
    monkeypatch.setattr(calls, "usable_for", lambda x: False)
    assert_the_same(scrambled(GhostBottleneck(**BLOCKS["another width"])), pictures(3, 9, 6, 6))


def test_the_backward_pass_can_be_run_twice() -> None:
    torch.manual_seed(0)
    module = scrambled(GhostBottleneck(**BLOCKS["identity"]))
    fast.use(module, "merged")
    x = pictures(3, 12, 6, 6).requires_grad_()
    out = module(x).square().sum()
    first = torch.autograd.grad(out, x, retain_graph=True)[0]
    assert torch.equal(torch.autograd.grad(out, x)[0], first)


@pytest.mark.parametrize("kind", ["gate", "shortcut"])
@pytest.mark.parametrize("tracked", [1e6, float("nan")])
def test_what_a_batch_norm_tracks_has_no_say_in_training(kind: str, tracked: float) -> None:
    torch.manual_seed(0)
    channels, layers = CHAINS[kind]
    module = nn.Sequential(*copy.deepcopy(layers)).train()
    x = pictures(6, channels, 8, 8).float()
    wanted = copy.deepcopy(module)(x)
    for layer in module:
        layer.bn.running_mean.fill_(tracked)
    part = chain_of(tuple(module), x, (8, 8))
    assert part is not None
    assert torch.allclose(apply(part, x), wanted, rtol=1e-4, atol=1e-5)
    # The mean far from zero, too, costs few digits.
    far = x + 100
    exact = copy.deepcopy(module).double()(far.double())
    part = chain_of(tuple(module), far, (8, 8))
    assert part is not None
    assert (apply(part, far) - exact).abs().max() < 1e-2
