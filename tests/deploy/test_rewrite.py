from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

import ghostnet_small as gns
from ghostnet_small.deploy.layouts import (
    EMPTY,
    dense,
    depthwise,
    ghost_layout,
    halves,
    padded,
    passing_first,
    placed,
)
from ghostnet_small.deploy.rewrite import (
    FilterWithMap,
    RewrittenBottleneck,
    RewrittenGhost,
    Style,
    rewrite,
)
from ghostnet_small.nn.fold import reparameterize
from ghostnet_small.nn.ghost import GhostBottleneck, GhostModule
from networks import randomize, randomize_network, relative

FORMS = [
    Style(),
    Style(16, stretch=True),
    Style(16, one_filter=True),
    Style(8, one_filter=True, stretch=True),
    Style(4, to_one_pixel=True, clamp=True),
]
# Pictures of odd sides have gates that are stretched by no whole number; of the smallest, maps of
# one pixel, which have gates that halve nothing.
NETWORKS = [
    ("ghostnetv3_small", 1.0, 3, (32, 32)),
    ("ghostnetv3_small", 2.8, 3, (32, 32)),
    ("ghostnetv3_small", 1.0, 1, (28, 28)),
    ("ghostnetv3_small", 1.3, 3, (13, 18)),
    ("ghostnetv3_small", 0.3, 3, (8, 8)),
    ("ghostnetv3", 0.5, 3, (24, 17)),
    ("ghostnetv3", 0.3, 3, (8, 9)),
]


def folded(
    name: str, width: float, channels: int, size: tuple[int, int]
) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    model = gns.create_model(name, width=width, in_channels=channels).double()
    x = torch.randn(4, channels, *size, dtype=torch.float64)
    return gns.reparameterize(randomize_network(model, x, seed=int(10 * width))), x


@pytest.mark.parametrize(("name", "width", "channels", "size"), NETWORKS)
@torch.no_grad()
def test_every_form_is_exact(name: str, width: float, channels: int, size: tuple[int, int]) -> None:
    network, x = folded(name, width, channels, size)
    exact = network(x)
    for form in FORMS:
        assert relative(rewrite(network, size, form)(x), exact) < 1e-12, form
    # The comparison would say little about logits that hardly depend on the picture.
    assert float(exact.std(0).max()) > 0.05 * float(exact.abs().max())


def test_the_original_is_unchanged_and_shares_nothing() -> None:
    network, x = folded("ghostnetv3_small", 0.3, 3, (8, 8))
    before = copy.deepcopy(network.state_dict())
    rewritten = rewrite(network, (8, 8), FORMS[1])
    assert not rewritten.training
    with torch.no_grad():
        for tensor in rewritten.parameters():
            tensor.zero_()
    assert all(torch.equal(network.state_dict()[key], value) for key, value in before.items())
    assert not rewritten(x).any()


def test_other_networks_come_back_themselves() -> None:
    other = nn.Sequential(nn.Conv2d(3, 4, 3))
    assert rewrite(other, (8, 8), FORMS[1]) is other


def test_layouts_by_hand() -> None:
    assert padded(3, 1) == (0, 1, 2) and padded(4, 4) == (0, 1, 2, 3)
    assert padded(3, 4) == (0, 1, 2, EMPTY)
    assert halves(6, 4) == (0, 1, 2, EMPTY, 3, 4, 5, EMPTY)
    # Of an odd number, the second half is one smaller.
    assert halves(5, 1) == (0, 1, 2, 3, 4, EMPTY)
    assert halves(5, 4) == (0, 1, 2, EMPTY, 3, 4, EMPTY, EMPTY)
    # As many places either way; 5 quarters of them; more.
    assert ghost_layout(20, 16) == halves(20, 16) and len(halves(20, 16)) == 32
    assert ghost_layout(80, 16) == halves(80, 16) and len(halves(80, 16)) == 96
    assert ghost_layout(48, 16) == padded(48, 16) and len(halves(48, 16)) == 64


def test_channels_where_a_layout_has_them() -> None:
    assert placed(torch.tensor([5, 6, 7]), (2, EMPTY, 0, 0)).tolist() == [7, 0, 5, 5]
    across = torch.tensor([[1, 2], [3, 4]])
    assert placed(across, (EMPTY, 1), 1).tolist() == [[0, 2], [0, 4]]


@torch.no_grad()
def test_convolutions_keep_their_geometry() -> None:
    x = torch.randn(2, 3, 7, 9, dtype=torch.float64)
    mixes = nn.Conv2d(3, 5, 3, stride=2, padding=1, dtype=torch.float64)
    source, target = (2, EMPTY, 0, 1), (4, 3, EMPTY, 0, 1, 2)
    found = dense(mixes, source, target)(placed(x, source, 1))
    assert relative(found, placed(mixes(x), target, 1)) < 1e-12
    filters = nn.Conv2d(3, 3, (1, 5), padding=(0, 2), groups=3, dtype=torch.float64)
    found = depthwise(filters, source)(placed(x, source, 1))
    assert relative(found, placed(filters(x), source, 1)) < 1e-12


@torch.no_grad()
def test_the_first_half_passes() -> None:
    filters = nn.Conv2d(2, 2, 3, padding=1, groups=2)
    a, b = torch.randn(2, 1, 2, 5, 5)
    found = passing_first(filters)(torch.cat((a, b), 1))
    assert torch.equal(found[:, :2], a)
    assert relative(found[:, 2:], filters(b)) < 1e-6


@torch.no_grad()
def test_the_map_of_a_first_filters_bias_by_hand() -> None:
    """A row with two others above and below it counts the bias five times, one at the border three
    times, for zero padding holds none of it."""
    across = nn.Conv2d(1, 1, (1, 5), padding=(0, 2))
    down = nn.Conv2d(1, 1, (5, 1), padding=(2, 0))
    for conv, weight, bias in ((across, 0.0, 10.0), (down, 1.0, 1.0)):
        conv.weight.fill_(weight)
        assert conv.bias is not None
        conv.bias.fill_(bias)
    both = FilterWithMap(across, down, (0, EMPTY), (5, 3))
    found = both(torch.randn(2, 2, 5, 3))
    assert found[:, 0].tolist() == [[[rows * 10.0 + 1.0] * 3 for rows in (3, 4, 5, 4, 3)]] * 2
    assert not found[:, 1].any()


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("outputs", [4, 5, 12, 32])
@pytest.mark.parametrize("multiple", [1, 8])
@torch.no_grad()
def test_ghost_modules_of_any_number_of_channels(relu: bool, outputs: int, multiple: int) -> None:
    torch.manual_seed(0)
    module = randomize(GhostModule(3, outputs, relu=relu, gated=True).double())
    ghost = reparameterize(module.eval())
    assert isinstance(ghost, GhostModule)
    source = padded(3, multiple)
    rewritten = RewrittenGhost(ghost, source, (7, 6), Style(multiple)).eval()
    # In eights, 4 and 5 channels have room in one, and their halves would take two.
    assert rewritten.joins == (multiple == 1 or outputs > 8)
    x = torch.randn(2, 3, 7, 6, dtype=torch.float64)
    found = rewritten(placed(x, source, 1))
    assert relative(found, placed(ghost(x), rewritten.layout, 1)) < 1e-12


@torch.no_grad()
def test_a_bottleneck_with_everything() -> None:
    torch.manual_seed(0)
    module = GhostBottleneck(6, 20, 9, kernel_size=5, stride=2, se_channels=4).double()
    block = reparameterize(randomize(module).eval())
    assert isinstance(block, GhostBottleneck)
    x = torch.randn(2, 6, 11, 6, dtype=torch.float64)
    for form in FORMS:
        source = ghost_layout(6, form.multiple)
        rewritten = RewrittenBottleneck(block, source, (11, 6), form)
        assert rewritten.out_size == (6, 3)
        found = rewritten(placed(x, source, 1))
        assert relative(found, placed(block(x), rewritten.layout, 1)) < 1e-12
