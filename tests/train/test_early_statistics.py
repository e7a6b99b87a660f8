"""Weights of the first steps are judged and kept with running statistics of their own."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from ghostnet_small.data.dataset import Split, normalize
from ghostnet_small.models.registry import create_model
from ghostnet_small.train.early_statistics import STEPS, EarlyStatistics

MEAN, STD = (0.4,), (0.25,)


def split(images: int) -> Split:
    random = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (images, 1, 8, 8), generator=random, dtype=torch.uint8)
    labels = torch.arange(images) % 4
    # Classes that differ in brightness, so that a network learns.
    pixels = pixels // 4 + (labels * 48).to(torch.uint8)[:, None, None, None]
    return Split(pixels, labels, torch.arange(images))


def early(images: Split) -> EarlyStatistics:
    return EarlyStatistics(images, MEAN, STD, torch.contiguous_format)


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten())


def test_the_statistics_are_those_of_all_images() -> None:
    images, model = split(100), small()
    fitted = early(images).fitted(model, 3)
    seen = model[0](normalize(images.images, MEAN, STD)).transpose(0, 1).flatten(1)
    norm = fitted.get_submodule("1")
    torch.testing.assert_close(norm.running_mean, seen.mean(1))
    torch.testing.assert_close(norm.running_var, seen.var(1))
    assert norm.momentum == 0.1


def test_of_many_images_each_batch_is_spread_over_the_split() -> None:
    rows = early(split(10_000))._rows()
    assert [len(batch) for batch in rows] == [256] * 4
    assert torch.cat(rows).unique().numel() == 1024
    for batch in rows:
        assert batch.min() < 40 and batch.max() > 9_950


def test_model_and_random_numbers_stay_as_they_were() -> None:
    model = small()
    before, generator = copy.deepcopy(model.state_dict()), torch.random.get_rng_state()
    early(split(20)).fitted(model, 0)
    assert torch.equal(generator, torch.random.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("step", [STEPS, 10 * STEPS])
def test_later_the_model_is_kept_as_it_is(step: int) -> None:
    model = small()
    assert early(split(20)).fitted(model, step) is model


def test_one_copy_a_step() -> None:
    ready, model = early(split(20)), small()
    assert ready.fitted(model, 1) is ready.fitted(model, 1)
    assert ready.fitted(model, 1) is not ready.fitted(model, 2)


def test_the_first_steps_of_a_network_are_judged_by_what_they_learned() -> None:
    images, steps = split(64), 3
    torch.manual_seed(0)
    model = create_model("ghostnetv3_small", width=0.25, num_classes=4, in_channels=1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    x = normalize(images.images, MEAN, STD)

    def loss_of(network: nn.Module) -> torch.Tensor:
        return functional.cross_entropy(network(x), images.labels)

    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(model.train()).backward()
        optimizer.step()
    with torch.no_grad():
        kept = loss_of(early(images).fitted(model, steps).eval())
        running = loss_of(copy.deepcopy(model).eval())
        own = loss_of(copy.deepcopy(model).train())
    # By a batch's own statistics the loss is that of training; by the running ones, of noise.
    assert kept < 2 * own
    assert running > 100 * own
