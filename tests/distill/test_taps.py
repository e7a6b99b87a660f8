"""Taps: what they keep, of which forward, and what they leave behind."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from ghostnet_small.distill import Taps, channels_of, hint_loss
from ghostnet_small.errors import InputError
from ghostnet_small.models.registry import create_model


class Network(nn.Module):
    """Two convolutions, the second of which may be skipped, and a head that is no map."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.more = nn.Conv2d(4, 6, 1)
        self.again = self.more
        self.head = nn.Linear(6, 2)
        self.skip = False

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(x)
        x = x.repeat(1, 2, 1, 1)[:, :6] if self.skip else self.more(x)
        return self.head(x.mean((2, 3)))


PICTURES = torch.linspace(-1, 1, 2 * 3 * 6 * 6).view(2, 3, 6, 6)


def hooks_of(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def test_taps_keep_what_modules_put_out() -> None:
    model = Network()
    taps = Taps(model, ["blocks", "more"])
    logits = model(PICTURES)
    taken = taps.take()
    assert list(taken) == ["blocks", "more"]
    assert torch.equal(taken["blocks"], model.blocks(PICTURES))
    assert torch.equal(taken["more"], model.more(taken["blocks"]))
    # With their history: a loss on them trains what is before, and not the head behind.
    taken["more"].sum().backward()
    assert model.blocks[0].weight.grad is not None and model.head.weight.grad is None
    assert logits.shape == (2, 2)


def test_what_was_taken_or_removed_is_forgotten() -> None:
    model = Network()
    taps = Taps(model, ["blocks"])
    model(PICTURES)
    taps.take()
    with pytest.raises(InputError, match="'blocks' put out nothing since its output was last"):
        taps.take()
    model(PICTURES)
    taps.remove()
    with pytest.raises(InputError, match="put out nothing"):
        taps.take()
    assert hooks_of(model) == 0
    taps.remove()


def test_the_last_forward_counts() -> None:
    model = Network().eval()
    taps = Taps(model, ["blocks", "more"])
    model(PICTURES)
    model(PICTURES[:1])
    assert [len(output) for output in taps.take().values()] == [1, 1]
    model(PICTURES)
    model.skip = True
    model(PICTURES)
    # What an earlier forward gave is not taken for this one's.
    with pytest.raises(InputError, match="'more' put out nothing"):
        taps.take()


def test_a_copy_of_the_model_does_not_report() -> None:
    model = Network()
    taps = Taps(model, ["blocks"])
    model(PICTURES)
    copy.deepcopy(model)(PICTURES[:1])
    assert len(taps.take()["blocks"]) == 2


def test_several_taps_on_one_model_do_not_disturb_one_another() -> None:
    model = Network()
    first, second = Taps(model, ["blocks"]), Taps(model, ["blocks", "blocks", "again"])
    model(PICTURES)
    assert list(first.take()) == ["blocks"]
    assert list(second.take()) == ["blocks", "again"]
    first.remove()
    model(PICTURES)
    assert list(second.take()) == ["blocks", "again"]


def test_a_name_that_the_model_has_not_is_refused() -> None:
    model = Network()
    for name, near in (("block", "blocks"), ("head.0", "head")):
        with pytest.raises(InputError) as raised:
            Taps(model, ["more", name])
        assert str(raised.value) == (
            f"the model has no module {name!r}; the nearest is {near}, of "
            "blocks, more, again, head, blocks.0, blocks.1, blocks.2"
        )
    with pytest.raises(InputError, match="no module ''"):
        Taps(model, [""])
    assert hooks_of(model) == 0
    with pytest.raises(InputError, match=r"has no module 'x', nor any other$"):
        Taps(nn.Identity(), ["x"])
    with pytest.raises(InputError, match=r"of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, \.\.\.$"):
        Taps(nn.Sequential(*(nn.Identity() for _ in range(11))), ["x"])


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


def test_what_is_no_feature_map_is_refused() -> None:
    model = nn.ModuleDict({"network": Network(), "pair": Pair()})
    taps = Taps(model["network"], ["head"])
    model["network"](PICTURES)
    with pytest.raises(InputError, match=r"'head' put out float32 \(2, 2\), not a feature map"):
        taps.take()
    taps = Taps(model, ["pair"])
    model["pair"](PICTURES)
    with pytest.raises(InputError, match="'pair' put out a tuple, not a feature map"):
        taps.take()


# Channels


def test_channels_are_found_and_the_model_is_left_as_it_was() -> None:
    model = Network().double().train()
    model.blocks[1].eval()  # a batch norm may be kept so within a model in training
    before = copy.deepcopy(model.state_dict())
    assert channels_of(model, ["more", "blocks"], (3, 6, 6)) == {"more": 6, "blocks": 4}
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    modes = {name: m.training for name, m in model.named_modules()}
    assert [name for name, training in modes.items() if not training] == ["blocks.1"]
    assert hooks_of(model) == 0


def test_channels_are_found_without_gradient() -> None:
    seen: list[bool] = []
    model = Network()
    model.more.register_forward_hook(lambda *_: seen.append(torch.is_grad_enabled()))
    channels_of(model, ["more"], (3, 6, 6))
    assert seen == [False]


def test_a_model_in_training_keeps_its_running_statistics() -> None:
    model = Network().train()
    channels_of(model, ["blocks"], (3, 6, 6))
    norm = model.blocks[1]
    assert model.training and norm.training
    assert norm.num_batches_tracked == 0 and norm.running_mean.abs().max() == 0


def test_a_failure_leaves_the_model_as_it_was_too() -> None:
    model = Network().train()
    with pytest.raises(InputError, match="'head' put out"):
        channels_of(model, ["head"], (3, 6, 6))
    with pytest.raises(RuntimeError):
        channels_of(model, ["blocks"], (5, 6, 6))
    assert all(m.training for m in model.modules()) and hooks_of(model) == 0


@pytest.mark.parametrize("training", [True, False])
def test_taps_on_the_networks_of_this_package(training: bool) -> None:
    """However fast they compute: blocks are called as modules, and a tap's gradient arrives."""
    model = create_model("ghostnetv3_small").train(training)
    channels = channels_of(model, ["blocks.1", "blocks.9"], (3, 32, 32))
    taps = Taps(model, ["blocks.1", "blocks.9"])
    random = torch.Generator().manual_seed(0)
    model(torch.randn(2, 3, 32, 32, generator=random))
    taken = taps.take()
    assert {name: output.shape[1] for name, output in taken.items()} == channels
    hint_loss(taken["blocks.9"], torch.zeros(2, channels["blocks.9"], 1, 1)).backward()
    slopes = [p.grad for p in model.blocks[0].parameters()]
    assert any(g is not None and g.abs().max() > 0 for g in slopes)
    assert all(math.isfinite(g.abs().sum()) for g in slopes if g is not None)
