"""A class of few pictures is found far more often with a balanced sampler or weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from engine_kit import Linear, made_data, make_training
from ghostnet_small.data.augment import Augmentation
from ghostnet_small.data.dataset import ImageData, Split
from ghostnet_small.train.metrics import classification_report
from ghostnet_small.train.objective import class_weights, cross_entropy


def brightness_split(counts: tuple[int, int], seed: int) -> Split:
    """Even pictures of two classes of brightness 100 and 140, each plus or minus 30."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.repeat_interleave(torch.tensor(counts))
    level = 100 + 40 * labels + 30 * torch.randn(len(labels), generator=random)
    images = level.clamp(0, 255).to(torch.uint8)[:, None, None, None].expand(-1, 3, 8, 8)
    return Split(images.contiguous(), labels, torch.arange(len(labels)))


def unequal_data() -> ImageData:
    train, test = brightness_split((380, 20), 1), brightness_split((500, 500), 2)
    return replace(made_data(), train=train, validation=None, test=test)


def recall(weights: Any = "none", augment: Augmentation | None = None, **settings: Any) -> float:
    """Of the rare class, in percent, after a short training of a linear classifier."""
    data = unequal_data()
    training = make_training(
        model=Linear(),
        data=data,
        objective=cross_entropy(0.0, class_weights(data.train.labels, data.classes, weights)),
        augment=augment,
        epochs=8,
        batch_size=20,
        channels_last=False,
        **settings,
    )
    training.run()
    test = data.split("test")
    report = classification_report(training.evaluate(test).logits, test.labels, data.classes)
    found: float = report["per_class"][1]["recall"]
    return found


def test_a_rare_class_is_lost_without_help() -> None:
    assert recall() < 30


@pytest.mark.parametrize(
    "help_for_the_rare",
    [
        {"sampler": "balanced"},
        {"weights": "balanced"},
        {"weights": (1.0, 19.0, 1.0, 1.0)},
        {"weights": "balanced", "augment": Augmentation(mixup=0.2, cutmix=1.0)},
    ],
    ids=["sampler", "weights", "numbers", "weights and mixing"],
)
def test_help_finds_the_rare_class(help_for_the_rare: dict[str, Any]) -> None:
    # The best border between equally likely classes finds Phi(20 / 30) = 75 % of either.
    assert 60 < recall(**help_for_the_rare) < 90
