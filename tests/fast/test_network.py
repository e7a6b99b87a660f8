"""A network's passes that are listed once and replayed."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from engine_kit import MemoryStore, Polls, assert_same_end, make_training
from ghostnet_small import fast
from ghostnet_small.fast.cpu import recording
from ghostnet_small.fast.cpu.kernels.convolutions import linear
from ghostnet_small.fast.cpu.network import ReplayedNetwork, replayed
from ghostnet_small.fast.cpu.recording import NotRecordableError, Recording
from ghostnet_small.models.ghostnetv3 import GhostNetV3
from ghostnet_small.models.registry import create_model
from ghostnet_small.nn.fold import reparameterize
from ghostnet_small.nn.ghost import GhostBottleneck
from ghostnet_small.train.interfaces import Interrupted
from scrambled import scrambled

pytestmark = pytest.mark.usefixtures("kernels")


def network(name: str = "ghostnetv3_small", **options: Any) -> GhostNetV3:
    torch.manual_seed(0)
    model = scrambled(create_model(name, **options)).float().train()
    model.to(memory_format=torch.channels_last)
    fast.use(model)
    assert isinstance(model, GhostNetV3)
    return model


def images(count: int = 6, side: int = 8, channels: int = 3, dtype: Any = torch.float32) -> Tensor:
    x = torch.randn(count, channels, side, side, dtype=dtype)
    return x.to(memory_format=torch.channels_last)


def passes(model: nn.Module, x: Tensor, by: ReplayedNetwork | None = None) -> list[Tensor]:
    """Logits, gradients and statistics of a pass in each direction."""
    model.zero_grad()
    logits = model(x) if by is None else by.run(x).requires_grad_()
    wanted = torch.arange(len(x)) % logits.shape[1]
    functional.cross_entropy(logits, wanted).backward()
    if by is not None:
        assert logits.grad is not None
        by.run_back(logits.grad)
    gradients = [parameter.grad for parameter in model.parameters()]
    found = [logits, *(grad for grad in gradients if grad is not None), *model.buffers()]
    assert len(found) == 1 + len(gradients) + len(list(model.buffers()))
    return [tensor.detach().clone() for tensor in found]


@pytest.mark.parametrize(
    ("options", "side"),
    [
        ({}, 8),
        ({"width": 0.5, "num_classes": 3}, 11),
        ({"width": 0.25, "in_channels": 1}, 16),
        ({"name": "ghostnetv3", "width": 0.25}, 32),
        ({"width": 0.25, "head": 9}, 8),
    ],
)
def test_replayed_it_gives_the_same_bits(options: dict[str, Any], side: int) -> None:
    model = network(**options)
    ordinary = copy.deepcopy(model)
    x = images(side=side, channels=options.get("in_channels", 3))
    replay = replayed(model, x)
    assert replay is not None
    for _ in range(3):
        x = torch.randn_like(x)
        assert replay.fits(x)
        pairs = zip(passes(model, x, replay), passes(ordinary, x), strict=True)
        assert all(torch.equal(ours, wanted) for ours, wanted in pairs)


def test_it_is_the_definition_up_to_rounding() -> None:
    model = network(width=0.5).double()
    definition = copy.deepcopy(model)
    fast.use(definition, "branches")
    x = images(side=9, dtype=torch.float64)
    replay = replayed(model, x)
    assert replay is not None
    for ours, wanted in zip(passes(model, x, replay), passes(definition, x), strict=True):
        error = (ours - wanted).abs().max().item()
        assert error <= 1e-9 * max(1.0, wanted.abs().max().item())


def hooked(model: GhostNetV3) -> None:
    model.blocks[3].register_forward_hook(lambda *_: None)


def frozen(model: GhostNetV3) -> None:
    model.stem.conv.weight.requires_grad_(False)


def dropping_paths(model: GhostNetV3) -> None:
    block = model.blocks[2]
    assert isinstance(block, GhostBottleneck)
    block.drop_path = 0.1


def one_in_evaluation(model: GhostNetV3) -> None:
    model.blocks[1].eval()


OTHERWISE: dict[str, Callable[[GhostNetV3], object]] = {
    "hooks": hooked,
    "frozen": frozen,
    "dropout": lambda model: setattr(model, "drop_rate", 0.1),
    "drop path": dropping_paths,
    "evaluation": lambda model: model.eval(),
    "a part in evaluation": one_in_evaluation,
    "checkpointing": lambda model: model.set_grad_checkpointing(),
    "the definition": lambda model: fast.use(model, "branches"),
    "a map of logits": lambda model: model.reset_classifier(10, ""),
    "no classifier": lambda model: model.reset_classifier(0),
}


@pytest.mark.parametrize("change", OTHERWISE)
def test_others_are_not_replayed(change: str) -> None:
    """Neither before nor after such a change."""
    model, x = network(width=0.25), images()
    replay = replayed(model, x)
    assert replay is not None and replay.fits(x)
    OTHERWISE[change](model)
    assert not replay.fits(x)
    assert replayed(model, x) is None


def test_it_fits_one_shape_and_its_own_tensors() -> None:
    model, x = network(width=0.25), images()
    replay = replayed(model, x)
    assert replay is not None
    assert not replay.fits(images(5)) and not replay.fits(images(side=9))
    weight = model.last.conv.weight
    weight.data = weight.data.clone()
    assert not replay.fits(x)


def test_another_memory_format_or_network_has_none() -> None:
    assert replayed(network(width=0.25), images().contiguous()) is None
    assert replayed(nn.Conv2d(3, 4, 3), images()) is None
    folded = reparameterize(network(width=0.25).eval()).train().requires_grad_(True)
    assert replayed(folded, images()) is None


def test_what_kernels_do_not_compute_cannot_be_listed() -> None:
    weight, bias = torch.randn(4, 3), torch.randn(4)
    with Recording(torch.float32), pytest.raises(NotRecordableError, match=r"aten\.add"):
        linear(torch.empty(2, 3), weight, bias) + 1


def test_a_list_computes_nothing() -> None:
    model, x = network(width=0.25), images()
    before = copy.deepcopy(model.state_dict())
    assert replayed(model, x) is not None
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_blocks_in_use_at_one_time_are_apart() -> None:
    """And together not much larger than what is in use at any one time."""
    draw = random.Random(0)
    blocks = []
    for _ in range(200):
        first = draw.randrange(100)
        storage = torch.empty(draw.randrange(1, 5000), dtype=torch.uint8).untyped_storage()
        blocks.append(recording._Block(storage, first, first + draw.randrange(30)))
    size = recording._arrange(blocks)
    most = 0
    for time in range(130):
        there = sorted(
            (b.start, b.start + b.storage.nbytes()) for b in blocks if b.first <= time <= b.last
        )
        assert all(end <= start for (_, end), (start, _) in pairwise(there))
        most = max(most, sum(end - start for start, end in there))
    assert most <= size <= 1.25 * most


def test_a_training_ends_with_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replayed or not, stopped and resumed or not; the last batch of an epoch is a smaller one."""

    def trained(store: MemoryStore, replays: bool = True, **options: Any) -> MemoryStore:
        torch.manual_seed(3)
        model = create_model("ghostnetv3_small", width=0.25, num_classes=4)
        fast.use(model)
        training = make_training(
            store, model=model, epochs=2, drop_last=False, ema_decay=0.9, **options
        )
        if store.states:
            training.restore(*store.states[-1])
        try:
            training.run()
        finally:
            assert (training.learner.gradients._made is not None) == replays
        return store

    monkeypatch.setenv("GHOSTNET_GRAPHS", "off")
    wanted = trained(MemoryStore(), replays=False)
    monkeypatch.delenv("GHOSTNET_GRAPHS")
    assert_same_end(trained(MemoryStore()), wanted)
    for at in (1, 3, 4):
        stopped = MemoryStore()
        with pytest.raises(Interrupted):
            trained(stopped, stop_signal=Polls(at))
        assert_same_end(trained(stopped), wanted)
