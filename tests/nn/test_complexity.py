from __future__ import annotations

import pytest
import torch
from torch import nn

import ghostnet_small as gns
from ghostnet_small.nn.complexity import Complexity, both_forms, complexity

# SPEC, section 1: parameters and MACs in training, then deployed.
SIZES = {
    ("ghostnetv3_small", 1.0): (483_554, 19_634_560, 374_174, 8_962_176),
    ("ghostnetv3_small", 1.3): (712_198, 31_414_560, 536_712, 14_311_328),
    ("ghostnetv3_small", 1.6): (973_606, 45_899_776, 719_316, 20_829_312),
    ("ghostnetv3_small", 1.9): (1_277_070, 64_143_584, 927_000, 29_022_944),
    ("ghostnetv3_small", 2.2): (1_617_674, 84_182_368, 1_159_656, 38_014_304),
    ("ghostnetv3_small", 2.8): (2_426_850, 131_706_592, 1_701_424, 59_466_208),
    ("ghostnetv3_small", 3.4): (3_380_066, 192_406_944, 2_331_712, 86_629_408),
    ("ghostnetv3", 1.0): (6_860_838, 35_576_640, 4_857_526, 16_223_168),
}


@pytest.mark.parametrize(("name", "width"), SIZES)
def test_the_table_of_sizes_to_the_last_digit(name: str, width: float) -> None:
    model = gns.create_model(name, width=width)
    forms = both_forms(model, (3, 32, 32))
    assert (*forms["training"]["total"], *forms["deployed"]["total"]) == SIZES[name, width]
    assert model.training


def test_by_hand() -> None:
    """A 3x3 convolution 2 -> 4 in 2 groups on 6x8 at stride 2, then a linear 4 -> 5 with bias."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2)
            self.norm = nn.BatchNorm2d(4)
            self.linear = nn.Linear(4, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.linear(self.norm(self.conv(x)).mean((2, 3)))

    stages = complexity(Net(), (2, 6, 8))
    assert stages == {
        "conv": Complexity(4 * 9 + 4, 4 * 9 * 3 * 4),
        "norm": Complexity(8, 0),
        "linear": Complexity(25, 20),
        "total": Complexity(73, 452),
    }


def test_stages_are_the_parts_in_order_and_add_up() -> None:
    model = gns.create_model("ghostnetv3_small", width=0.5)
    stages = complexity(model, (3, 32, 32))
    blocks = [f"blocks.{number}" for number in range(10)]
    assert list(stages) == ["stem", *blocks, "last", "head", "classifier", "total"]
    assert stages["total"].params == sum(p.numel() for p in model.parameters())
    assert stages["head"] == Complexity(80 * 1280 + 1280, 80 * 1280)
    # blocks.1 must not count blocks.10 and its kin: all blocks together are the rest.
    rest = stages["total"].macs - sum(
        stages[name].macs for name in ("stem", "last", "head", "classifier")
    )
    assert sum(stages[name].macs for name in blocks) == rest


def test_a_wide_model_of_sixteen_blocks_counts_each_block_once() -> None:
    stages = complexity(gns.create_model("ghostnetv3", width=0.25), (3, 16, 16))
    assert sum(s.macs for name, s in stages.items() if name != "total") == stages["total"].macs
    assert stages["blocks.1"].params < stages["blocks.10"].params


def test_it_leaves_the_model_as_it_was() -> None:
    model = gns.create_model("ghostnetv3_small", width=0.25).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    complexity(model, (3, 32, 32))
    both_forms(model, (3, 8, 8))
    assert model.training
    after = model.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert not any(module._forward_hooks for module in model.modules())


def test_a_wrapper_has_the_stages_of_what_it_wraps() -> None:
    inner = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Conv2d(2, 3, 1, bias=False))
    stages = complexity(nn.ModuleDict({"network": inner}).network, (1, 3, 3))
    wrapper = nn.Module()
    wrapper.network = inner
    wrapper.forward = inner.forward
    assert (
        complexity(wrapper, (1, 3, 3)) == stages == {"0": (4, 18), "1": (6, 54), "total": (10, 72)}
    )
    # A layer on its own wraps nothing.
    assert list(complexity(nn.Sequential(nn.Conv2d(1, 2, 1)), (1, 3, 3))) == ["0", "total"]
