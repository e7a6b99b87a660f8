from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import ghostnet_small as gns
from ghostnet_small.models.ghostnetv3 import GhostNetV3
from ghostnet_small.nn.fold import (
    Reparameterizable,
    affine_of_bn,
    centre_in,
    fold_conv_bn,
    identity_kernel,
)
from networks import randomize_network, relative

NETWORKS = [("ghostnetv3_small", w) for w in (1.0, 1.3, 1.6, 1.9, 2.2, 2.8, 3.4)]
NETWORKS += [("ghostnetv3", 1.0)]


def randomized(name: str, width: float, size: int = 32) -> tuple[GhostNetV3, torch.Tensor]:
    torch.manual_seed(0)
    model = gns.create_model(name, width=width)
    images = torch.randn(4, 3, size, size)
    randomize_network(model, images, seed=int(10 * width))
    return model, images


@pytest.mark.parametrize(("name", "width"), NETWORKS)
def test_folding_is_exact(name: str, width: float) -> None:
    model, x = randomized(name, width)
    with torch.no_grad():
        logits = model(x)
        in_double = copy.deepcopy(model).double()
        exact = in_double(x.double())
        folded = gns.reparameterize(model)
        assert relative(folded(x), logits) < 1e-5
        assert relative(folded(x), exact) < 1e-5
        assert relative(gns.reparameterize(in_double)(x.double()), exact) < 1e-12
    # The comparison would say little about logits that hardly depend on the picture.
    assert float(exact.std(0).max()) > 0.05 * float(exact.abs().max())
    kinds = {type(module) for module in folded.modules()}
    assert nn.BatchNorm2d not in kinds
    assert not any(issubclass(kind, Reparameterizable) for kind in kinds)


@pytest.mark.parametrize("size", [8, 13, 28])
def test_folding_at_other_sizes(size: int) -> None:
    model, x = randomized("ghostnetv3_small", 1.3, size)
    with torch.no_grad():
        assert relative(gns.reparameterize(model)(x), model(x)) < 1e-5


def test_the_original_is_unchanged_and_shares_nothing() -> None:
    model, x = randomized("ghostnetv3_small", 0.5)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    names = [name for name, _ in model.named_modules()]
    folded = gns.reparameterize(model)
    assert [name for name, _ in model.named_modules()] == names
    with torch.no_grad():
        for parameter in folded.parameters():
            parameter.zero_()
    after = model.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert not folded(x).any()


def test_folding_twice_is_folding_once() -> None:
    model, x = randomized("ghostnetv3_small", 0.5)
    once = gns.reparameterize(model)
    twice = gns.reparameterize(once)
    assert twice is not once
    with torch.no_grad():
        assert torch.equal(twice(x), once(x))


def test_a_folded_copy_keeps_what_the_model_knows() -> None:
    model, _ = randomized("ghostnetv3_small", 0.5)
    folded = gns.reparameterize(model)
    assert isinstance(folded, GhostNetV3)
    assert folded.config == model.config and folded.config is not model.config
    assert not any(module.training for module in folded.modules())


@pytest.mark.parametrize("part", ["", "blocks.3.ghost1"])
def test_training_mode_is_refused_by_name(part: str) -> None:
    model, _ = randomized("ghostnetv3_small", 0.25)
    model.get_submodule(part).train()
    with pytest.raises(ValueError, match=r"call model\.eval\(\) first") as raised:
        gns.reparameterize(model)
    assert (part or "the model") in str(raised.value)


def test_a_conv_bn_by_hand() -> None:
    """y = w x, then 3 (y - 2) / sqrt(4) + 1: weight 3 w / 2, bias 1 - 3."""
    conv, bn = nn.Conv2d(1, 1, 1, bias=False).double(), nn.BatchNorm2d(1, eps=0.0).double()
    with torch.no_grad():
        conv.weight.fill_(5.0)
        bn.weight.fill_(3.0)
        bn.bias.fill_(1.0)
        bn.running_mean.fill_(2.0)  # type: ignore[union-attr]
        bn.running_var.fill_(4.0)  # type: ignore[union-attr]
    scale, shift = affine_of_bn(bn)
    assert (scale.item(), shift.item()) == (1.5, -2.0)
    kernel, bias = fold_conv_bn(conv, bn)
    assert (kernel.item(), bias.item()) == (7.5, -2.0)


@pytest.mark.parametrize(("channels", "groups"), [(4, 1), (4, 2), (4, 4)])
@pytest.mark.parametrize("kernel_size", [(1, 1), (3, 3), (1, 5)])
def test_the_identity_kernel(channels: int, groups: int, kernel_size: tuple[int, int]) -> None:
    x = torch.randn(2, channels, 5, 6, dtype=torch.float64)
    padding = (kernel_size[0] // 2, kernel_size[1] // 2)
    kernel = identity_kernel(channels, groups, kernel_size)
    assert torch.equal(nn.functional.conv2d(x, kernel, padding=padding, groups=groups), x)


def test_a_kernel_in_the_centre_of_a_larger_one() -> None:
    assert (
        centre_in(torch.full((1, 1, 1, 1), 7.0), (3, 5)).flatten().tolist()
        == [0] * 7 + [7.0] + [0] * 7
    )


def test_folding_leaves_the_random_generator_alone() -> None:
    model = gns.create_model("ghostnetv3_small", width=0.1).eval()
    before = torch.get_rng_state()
    gns.reparameterize(model)
    assert torch.equal(torch.get_rng_state(), before)
