"""A folded network by the C kernels: the answers are those of its layers."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ghostnet_small import fast
from ghostnet_small.fast.cpu import folded
from ghostnet_small.fast.cpu.folded import SHAPES, folded_features
from ghostnet_small.models.ghostnetv3 import GhostNetV3, features_by_parts
from ghostnet_small.models.registry import create_model
from ghostnet_small.nn.fold import reparameterize
from scrambled import scrambled

pytestmark = pytest.mark.usefixtures("kernels")


def networks(name: str = "ghostnetv3_small", **options: Any) -> tuple[GhostNetV3, GhostNetV3]:
    """One that is ready to answer, and one of plain layers."""
    torch.manual_seed(0)
    model = scrambled(create_model(name, **options)).double().eval()
    model.to(memory_format=torch.channels_last)
    ready, plain = fast.ready_to_answer(model), reparameterize(model)
    assert isinstance(ready, GhostNetV3) and isinstance(plain, GhostNetV3)
    return ready, plain


def images(count: int = 5, side: int = 8, channels: int = 3) -> Tensor:
    x = torch.randn(count, channels, side, side, dtype=torch.float64)
    return x.to(memory_format=torch.channels_last)


def assert_the_same(ready: nn.Module, plain: nn.Module, x: Tensor, by: str = "kernels") -> None:
    """And that the kernels computed it, or did not."""
    for guard in (torch.no_grad, torch.inference_mode):
        with guard():
            found, wanted = ready(x), plain(x)
        assert (found - wanted).abs().max() <= 1e-9 * wanted.abs().max()
    made = folded._made.get(ready)
    assert (made is not None and x.shape in made.listed) == (by == "kernels")


@pytest.mark.parametrize(
    ("options", "side"),
    [
        ({}, 32),
        ({"width": 0.5, "num_classes": 3}, 11),
        ({"width": 0.25, "in_channels": 1}, 8),
        ({"name": "ghostnetv3", "width": 0.25}, 32),
    ],
)
def test_the_answers_are_the_same(options: dict[str, Any], side: int) -> None:
    ready, plain = networks(**options)
    for count in (5, 1, 5):
        assert_the_same(ready, plain, images(count, side, options.get("in_channels", 3)))


def test_only_the_last_shapes_are_kept() -> None:
    ready, plain = networks(width=0.25)
    for side in range(8, 8 + SHAPES + 2):
        assert_the_same(ready, plain, images(side=side))
    assert len(folded._made[ready].listed) == SHAPES


def test_changed_weights_are_read_again() -> None:
    ready, plain = networks(width=0.25)
    x = images()
    assert_the_same(ready, plain, x)
    with torch.no_grad():
        for model in (ready, plain):
            model.stem.weight.mul_(1.5)  # type: ignore[operator]
    assert_the_same(ready, plain, x)
    for model in (ready, plain):
        model.last.bias.data = torch.ones_like(model.last.bias)  # type: ignore[arg-type]
    assert_the_same(ready, plain, x)
    for model in (ready, plain):
        torch.manual_seed(1)
        last = nn.Conv2d(model.last.in_channels, model.num_features, 1)  # type: ignore[arg-type]
        model.last = last.double()  # type: ignore[assignment]
    assert_the_same(ready, plain, x)


def test_weights_that_tell_no_changes_answer_by_their_layers() -> None:
    model = scrambled(create_model("ghostnetv3_small", width=0.25)).double().eval()
    model.to(memory_format=torch.channels_last)
    with torch.inference_mode():
        ready = fast.ready_to_answer(model)
    assert_the_same(ready, reparameterize(model), images(), by="layers")


def test_its_layers_answer_where_the_kernels_do_not() -> None:
    ready, plain = networks(width=0.25)
    assert_the_same(ready, plain, images().contiguous(), by="layers")
    called = []
    hook = ready.blocks[0].register_forward_hook(lambda *_: called.append(1))
    assert_the_same(ready, plain, images(), by="layers")
    assert called
    hook.remove()
    assert torch.equal(ready(images()[:0].contiguous()), plain(images()[:0].contiguous()))
    out = ready(images())
    out.sum().backward()  # with gradients
    assert ready not in folded._made


def test_what_exports_or_traces_it_sees_its_layers() -> None:
    ready, plain = networks(width=0.25)
    x = images(2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's own, of what is deprecated
        traced = torch.jit.trace(ready, x)
    exported = torch.export.export(ready, (x,)).module()
    with torch.no_grad():
        wanted = plain(x)
        for module in (traced, exported):
            assert (module(x) - wanted).abs().max() <= 1e-9 * wanted.abs().max()


def test_another_layer_is_left_to_pytorch() -> None:
    ready, plain = networks(width=0.25)
    for model in (ready, plain):
        torch.manual_seed(1)
        stem = nn.Conv2d(3, model.stem.out_channels, 3, padding=2, dilation=2)  # type: ignore[arg-type]
        model.stem = stem.double().to(memory_format=torch.channels_last)  # type: ignore[assignment]
    assert_the_same(ready, plain, images(), by="layers")


def test_it_takes_the_place_of_the_definition() -> None:
    ready, plain = networks(width=0.25)
    assert ready.compute is folded_features and plain.compute is features_by_parts
