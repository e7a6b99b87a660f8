from __future__ import annotations

import copy
import io
import pickle
import warnings

import pytest
import torch
from torch import nn

import ghostnet_small as gns
from ghostnet_small.errors import InputError
from ghostnet_small.models.ghostnetv3 import GHOSTNETV3, GHOSTNETV3_SMALL, Architecture, divisible
from ghostnet_small.nn.ghost import GhostBottleneck, SqueezeExcite
from networks import randomize_network, relative

BOTH = ("ghostnetv3_small", "ghostnetv3")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.1, 4),
        (4, 4),
        (5, 8),  # 4 is nearest, but below 4.5
        (5.9, 8),
        (6, 8),  # a tie goes upward
        (9, 12),  # 8 < 8.1
        (10, 12),
        (13, 12),  # 12 >= 11.7
        (16, 16),
        (17.9, 16 + 4),  # 16 < 16.11
        (17.5, 16),  # 16 >= 15.75
        (18, 20),
        (20.8, 20),
        (208, 208),
    ],
)
def test_divisible_by_hand(value: float, expected: int) -> None:
    assert divisible(value) == expected


@pytest.mark.parametrize("architecture", [GHOSTNETV3_SMALL, GHOSTNETV3])
def test_the_groups_of_the_published_code_hold_every_block(architecture: Architecture) -> None:
    assert sum(architecture.groups) == len(architecture.blocks)


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("size", [(8, 8), (9, 13), (28, 28), (64, 64)])
@pytest.mark.parametrize("count", [1, 2])
def test_pictures_of_any_size_and_any_number(name: str, size: tuple[int, int], count: int) -> None:
    torch.manual_seed(0)
    model = gns.create_model(name, width=0.25, num_classes=7, in_channels=1)
    images = torch.randn(16, 1, *size)
    randomize_network(model, images).double()
    x = images[:count].double()
    with torch.no_grad():
        logits = model(x)
        assert logits.shape == (count, 7)
        assert logits.isfinite().all()
        assert relative(gns.reparameterize(model)(x), logits) < 1e-12


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("size", [(8, 8), (9, 13)])
def test_training_on_small_pictures_reaches_every_parameter(
    name: str, size: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    model = gns.create_model(name, width=0.25, in_channels=2).train()
    model(torch.randn(4, 2, *size)).square().sum().backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name


def test_one_picture_has_the_logits_it_has_in_a_batch() -> None:
    torch.manual_seed(0)
    x = torch.randn(5, 3, 16, 16)
    model = gns.create_model("ghostnetv3_small", width=0.5)
    randomize_network(model, x)
    with torch.no_grad():
        assert relative(torch.cat([model(row[None]) for row in x]), model(x)) < 1e-5


def test_channels_last_gives_the_same_logits() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 16, 16)
    model = gns.create_model("ghostnetv3_small", width=0.5)
    randomize_network(model, x)
    with torch.no_grad():
        logits = model(x)
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        assert relative(model(x.to(memory_format=torch.channels_last)), logits) < 1e-5


def test_the_blocks_are_those_of_the_paper() -> None:
    model = gns.create_model("ghostnetv3_small", width=1.3)
    blocks = [block for block in model.blocks if isinstance(block, GhostBottleneck)]
    assert [block.ghost1.gate is not None for block in blocks] == [False] * 2 + [True] * 8
    assert all(block.ghost2.gate is None for block in blocks)
    has_se = [isinstance(block.se, SqueezeExcite) for block in blocks]
    assert has_se == [n in (3, 4, 7, 8, 9) for n in range(10)]
    # divisible(120 * 1.3 = 156) = 156, a quarter of it 39 -> 40.
    se = blocks[7].se
    assert isinstance(se, SqueezeExcite)
    assert (se.reduce.in_channels, se.reduce.out_channels) == (156, 40)
    assert not any(isinstance(module, nn.Dropout) for module in model.modules())
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-5, 0.1)}


def test_weights_start_kaiming_normal_by_fan_out_and_biases_at_zero() -> None:
    torch.manual_seed(0)
    model = gns.create_model("ghostnetv3_small", width=1.0)
    assert float(model.head.weight.detach().std()) == pytest.approx((2 / 1280) ** 0.5, rel=0.02)
    classifier = model.get_classifier()
    assert isinstance(classifier, nn.Linear)
    assert float(classifier.weight.detach().std()) == pytest.approx((2 / 10) ** 0.5, rel=0.03)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any(), name


def test_a_seed_decides_the_weights() -> None:
    states = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        states.append(gns.create_model("ghostnetv3_small", width=0.25).state_dict()["head.weight"])
    assert torch.equal(states[0], states[1]) and not torch.equal(states[0], states[2])


def test_features_head_and_classifier() -> None:
    torch.manual_seed(0)
    model = gns.create_model("ghostnetv3_small", width=0.5).eval()
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        features = model.forward_features(x)
        assert features.shape == (2, model.num_features, 8, 8)
        hidden = model.forward_head(features, pre_logits=True)
        assert hidden.shape == (2, model.head_hidden_size)
        assert torch.equal(model.get_classifier()(hidden), model(x))
        model.reset_classifier(4)
        assert model(x).shape == (2, 4)
        assert model.num_classes == model.config["num_classes"] == 4
        model.reset_classifier(0)
        assert torch.equal(model(x), hidden)
        model.reset_classifier(3)
        assert model(x).shape == (2, 3)
    with pytest.raises(ValueError, match="'max'"):
        model.reset_classifier(4, global_pool="max")


@pytest.mark.parametrize("folded", [False, True])
def test_copies_pickles_and_state_dicts(folded: bool) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 8, 8)
    model = gns.create_model("ghostnetv3_small", width=0.25)
    randomize_network(model, x)
    other = gns.create_model("ghostnetv3_small", width=0.25).eval()
    if folded:
        model, other = gns.reparameterize(model), gns.reparameterize(other)  # type: ignore[assignment]
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    buffer.seek(0)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    with torch.no_grad():
        for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), other):
            assert torch.equal(copied(x), model(x))


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("ghostnetv3-smal", {}, "nearest is ghostnetv3_small"),
        ("resnet20", {}, "'resnet20'"),
        ("ghostnetv3_small", {"width": 0}, "width is 0"),
        ("ghostnetv3_small", {"width": -1.0}, "-1.0"),
        ("ghostnetv3_small", {"width": float("nan")}, "nan"),
        ("ghostnetv3_small", {"width": float("inf")}, "inf"),
        ("ghostnetv3_small", {"width": "1.0"}, "'1.0'"),
        ("ghostnetv3_small", {"num_classes": 0}, "num_classes is 0"),
        ("ghostnetv3_small", {"num_classes": 2.0}, "2.0"),
        ("ghostnetv3_small", {"in_channels": 0}, "in_channels is 0"),
        ("ghostnetv3_small", {"in_channels": True}, "True"),
    ],
)
def test_what_cannot_be_made_says_so(name: str, arguments: dict, said: str) -> None:
    with pytest.raises(InputError) as raised:
        gns.create_model(name, **arguments)
    assert said in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize("folded", [False, True])
def test_graphs_of_torch_fx_and_torchscript_take_any_size(folded: bool) -> None:
    model = gns.create_model("ghostnetv3_small", width=0.25).eval()
    if folded:
        model = gns.reparameterize(model)
    traced = torch.fx.symbolic_trace(model)
    with warnings.catch_warnings():
        # PyTorch advises against TorchScript by now.
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(model)
    with torch.no_grad():
        # Of 4x4 the last map is 1x1, which an attention gate does not halve.
        for size in (4, 9, 32):
            x = torch.randn(2, 3, size, size)
            expected = model(x)
            assert relative(traced(x), expected) < 1e-5
            assert relative(scripted(x), expected) < 1e-5


def test_torchvision_extracts_features() -> None:
    extraction = pytest.importorskip("torchvision.models.feature_extraction")
    model = gns.create_model("ghostnetv3_small", width=0.25).eval()
    extractor = extraction.create_feature_extractor(model, ["blocks.4", "head"])
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        found = extractor(x)
        (expected,) = model.forward_intermediates(x, (1,), intermediates_only=True)
    block, head = found.values()
    assert block.shape == (2, 8, 16, 16) and head.shape == (2, 1280, 1, 1)
    assert relative(block, expected) < 1e-5
