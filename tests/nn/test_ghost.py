from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import ghostnet_small as gns
from ghostnet_small.nn.ghost import AttentionGate, GhostBottleneck, GhostModule, SqueezeExcite
from networks import randomize, relative


def prepared(module: nn.Module) -> nn.Module:
    return randomize(module).double().eval()


def picture(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


@pytest.mark.parametrize("relu", [True, False])
def test_a_ghost_module_by_its_definition(relu: bool) -> None:
    torch.manual_seed(0)
    ghost = GhostModule(6, 10, relu=relu)
    prepared(ghost)
    x = picture(2, 6, 5, 7)
    act = torch.relu if relu else (lambda y: y)
    a = act(ghost.primary(x))
    b = act(ghost.cheap(a))
    assert ghost.cheap.branches[0].conv.groups == 5  # type: ignore[union-attr]
    assert torch.equal(ghost(x), torch.cat((a, b), 1))
    assert bool((ghost(x) < 0).any()) is not relu


def test_an_odd_number_of_channels() -> None:
    ghost = GhostModule(4, 7)
    prepared(ghost)
    assert ghost.primary(picture(1, 4, 4, 4)).shape[1] == 4
    assert ghost(picture(1, 4, 4, 4)).shape == (1, 7, 4, 4)


@pytest.mark.parametrize(
    ("size", "gate_size"),
    [((8, 8), (4, 4)), ((9, 13), (4, 6)), ((2, 2), (1, 1)), ((1, 1), (1, 1)), ((1, 6), (1, 6))],
)
def test_the_gate(size: tuple[int, int], gate_size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    ghost = GhostModule(4, 6, gated=True)
    prepared(ghost)
    gate = ghost.gate
    assert isinstance(gate, AttentionGate)
    x = picture(2, 4, *size)
    weight = gate(x)
    assert weight.shape == (2, 6, *gate_size)
    assert bool(((weight > 0) & (weight < 1)).all())

    pooled = nn.functional.avg_pool2d(x, 2) if min(size) >= 2 else x
    expected = torch.sigmoid(gate.vertical(gate.horizontal(gate.project(pooled))))
    assert torch.equal(weight, expected)
    ungated = GhostModule(4, 6)
    ungated.primary, ungated.cheap = ghost.primary, ghost.cheap
    rows = [int(row * gate_size[0] / size[0]) for row in range(size[0])]
    columns = [int(column * gate_size[1] / size[1]) for column in range(size[1])]
    assert relative(ghost(x), ungated.eval()(x) * weight[:, :, rows][:, :, :, columns]) < 1e-12


def test_the_gate_has_the_kernels_of_the_paper() -> None:
    gate = AttentionGate(4, 6)
    kernels = [part.conv.kernel_size for part in (gate.project, gate.horizontal, gate.vertical)]
    assert kernels == [(1, 1), (1, 5), (5, 1)]
    assert [part.conv.padding for part in (gate.horizontal, gate.vertical)] == [(0, 2), (2, 0)]


def test_squeeze_and_excitation_by_hand() -> None:
    """One channel in and out: x times relu6(e relu(r mean + a) + b + 3) / 6."""
    block = SqueezeExcite(1, 1).double()
    with torch.no_grad():
        for parameter, value in zip(block.parameters(), (2.0, 1.0, 0.5, -1.0), strict=True):
            parameter.fill_(value)
    x = torch.tensor([[[[0.0, 1.0], [2.0, 5.0]]]], dtype=torch.float64)
    # mean 2, reduced 5, expanded 0.5 * 5 - 1 = 1.5, gate 4.5 / 6.
    assert torch.allclose(block(x), 0.75 * x, rtol=1e-15)


def test_gradients_of_squeeze_and_excitation() -> None:
    torch.manual_seed(0)
    block = SqueezeExcite(4, 2).double()
    assert torch.autograd.gradcheck(block, picture(2, 4, 3, 3).requires_grad_())


BOTTLENECKS = {
    "plain": (GhostBottleneck(8, 12, 8), 1, True),
    "ungated": (GhostBottleneck(8, 12, 8, gated=False), 1, True),
    "wider": (GhostBottleneck(8, 12, 10, se_channels=4), 1, False),
    "stride 2": (GhostBottleneck(8, 12, 8, stride=2), 2, False),
    "5x5 of stride 2": (
        GhostBottleneck(8, 12, 8, kernel_size=5, stride=2, se_channels=4),
        2,
        False,
    ),
    "5x5": (GhostBottleneck(8, 12, 10, kernel_size=5), 1, False),
}


@pytest.mark.parametrize("name", BOTTLENECKS)
@pytest.mark.parametrize("size", [(8, 8), (5, 9)])
def test_a_bottleneck(name: str, size: tuple[int, int]) -> None:
    block, stride, same = BOTTLENECKS[name]
    prepared(block)
    x = picture(2, 8, *size)
    out = block(x)
    assert out.shape[2:] == (-(-size[0] // stride), -(-size[1] // stride))
    assert isinstance(block.shortcut, nn.Identity) is same
    inner = block.ghost2(block.se(block.downsample(block.ghost1(x))))
    assert torch.equal(out, inner + block.shortcut(x))
    assert relative(gns.reparameterize(block)(x), out) < 1e-12


def test_the_kernel_is_of_the_strided_convolution_and_the_shortcut_only() -> None:
    block = GhostBottleneck(8, 12, 10, kernel_size=5, stride=2)
    assert block.downsample.branches[0].conv.kernel_size == (5, 5)  # type: ignore[union-attr,index]
    assert block.shortcut[0].conv.kernel_size == (5, 5)  # type: ignore[index,union-attr]
    assert block.ghost1.cheap.branches[0].conv.kernel_size == (3, 3)  # type: ignore[union-attr]
