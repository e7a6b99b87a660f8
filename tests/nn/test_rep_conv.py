from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from ghostnet_small.nn.rep_conv import ConvBN, RepConv2d, sum_of_branches
from networks import randomize, relative

# in_channels, out_channels, kernel, stride, groups: does it have the scale and the skip branch?
SHAPES = {
    "pointwise": ((6, 8, 1, 1, 1), False, False),
    "pointwise with skip": ((8, 8, 1, 1, 1), False, True),
    "depth-wise": ((8, 8, 3, 1, 8), True, True),
    "depth-wise of stride 2": ((8, 8, 3, 2, 8), True, False),
    "depth-wise 5x5 of stride 2": ((6, 6, 5, 2, 6), True, False),
    "full 3x3": ((4, 4, 3, 1, 1), True, True),
    "grouped with skip": ((6, 6, 3, 1, 3), True, True),
}


def make(name: str, dtype: torch.dtype = torch.float64) -> RepConv2d:
    torch.manual_seed(1)
    inside, outside, kernel, stride, groups = SHAPES[name][0]
    rep = RepConv2d(inside, outside, kernel, stride=stride, groups=groups)
    randomize(rep, seed=1)
    return rep.to(dtype).eval()


@pytest.mark.parametrize("name", SHAPES)
def test_which_branches_it_has(name: str) -> None:
    rep = make(name)
    assert (len(rep.branches), rep.scale is not None, rep.skip is not None) == (
        3,
        *SHAPES[name][1:],
    )
    if rep.scale is not None:
        assert rep.scale.conv.kernel_size == (1, 1) and rep.scale.conv.padding == (0, 0)
    assert all(m.bias is None for m in rep.modules() if isinstance(m, nn.Conv2d))


@pytest.mark.parametrize("size", [(9, 7), (8, 8), (1, 1), (2, 5)])
@pytest.mark.parametrize("name", SHAPES)
def test_fuse_is_exact_and_pure(name: str, size: tuple[int, int]) -> None:
    rep = make(name)
    before = {key: value.clone() for key, value in rep.state_dict().items()}
    x = torch.randn(2, SHAPES[name][0][0], *size, dtype=torch.float64)
    conv = rep.fuse()
    assert type(conv) is nn.Conv2d and conv.bias is not None and not conv.training
    assert relative(conv(x), rep(x)) < 1e-12
    after = rep.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())
    # Its weights are its own: training the original on does not reach it.
    assert not {p.data_ptr() for p in conv.parameters()} & {p.data_ptr() for p in rep.parameters()}


def test_fuse_keeps_the_type_and_rounds_once() -> None:
    rep = make("depth-wise")
    in_double, in_single = rep.fuse(), rep.float().fuse()
    assert in_single.weight.dtype == torch.float32
    assert relative(in_single.weight, in_double.weight) < 1e-6


@pytest.mark.parametrize("padding", [None, 0])
def test_conv_bn_alone(padding: int | None) -> None:
    torch.manual_seed(0)
    block = ConvBN(4, 6, (1, 5), padding=padding, groups=2)
    randomize(block).double().eval()
    x = torch.randn(3, 4, 6, 8, dtype=torch.float64)
    out = block(x)
    assert out.shape == ((3, 6, 6, 8) if padding is None else (3, 6, 6, 4))
    assert relative(block.fuse()(x), out) < 1e-12


def test_the_sum_by_hand_in_training() -> None:
    """Each branch normalises with its own batch statistics before the sum."""
    torch.manual_seed(0)
    rep = RepConv2d(4, 4, 3, groups=4).double().train()
    x = torch.randn(5, 4, 6, 6, dtype=torch.float64)

    def normalized(y: torch.Tensor) -> torch.Tensor:
        mean = y.mean((0, 2, 3), keepdim=True)
        return (y - mean) / (y.var((0, 2, 3), unbiased=False, keepdim=True) + 1e-5).sqrt()

    convs = [branch.conv for branch in rep.branches]  # type: ignore[union-attr]
    expected = sum(normalized(functional.conv2d(x, c.weight, padding=1, groups=4)) for c in convs)
    assert rep.scale is not None
    expected = expected + normalized(functional.conv2d(x, rep.scale.conv.weight, groups=4))
    expected = expected + normalized(x)
    assert relative(rep(x), expected) < 1e-12
    assert relative(sum_of_branches(rep, x), expected) < 1e-12


def test_running_statistics_move_by_a_tenth() -> None:
    torch.manual_seed(0)
    rep = RepConv2d(4, 4, 1).double().train()
    x = torch.randn(3, 4, 5, 5, dtype=torch.float64) + 2
    rep(x)
    assert rep.skip is not None
    assert rep.skip.running_mean is not None and rep.skip.running_var is not None
    assert relative(rep.skip.running_mean, 0.1 * x.mean((0, 2, 3))) < 1e-12
    assert relative(rep.skip.running_var, 0.9 + 0.1 * x.var((0, 2, 3), unbiased=True)) < 1e-12
