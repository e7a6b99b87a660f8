"""Small teachers whose questions are counted, and the feeds and caches that they are asked by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from engine_kit import CLASSES, made_data, made_split
from ghostnet_small.data.augment import Augmentation
from ghostnet_small.data.dataset import ImageData, Split, normalize
from ghostnet_small.distill.settings import DistillSettings
from ghostnet_small.distill.target_cache import TargetCache
from ghostnet_small.distill.targets import CachedTargets, LiveTargets, combination, fill
from ghostnet_small.distill.teacher import Teacher
from ghostnet_small.errors import InputError
from ghostnet_small.train.feed import Feed
from ghostnet_small.train.processes import ALONE
from ghostnet_small.train.settings import TrainSettings
from networks import randomize

CPU = torch.device("cpu")
HALF = 1 / 2048  # of a logit: the most that float16 moves it by
# Of the largest logit: what a batch of another size changes in float32 arithmetic.
ROUNDING = 1e-5


class Net(nn.Module):
    """Two convolutions, a batch norm and a head, all random."""

    def __init__(self, seed: int, width: int = 6) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.first = nn.Conv2d(3, width, 3, padding=1)
            self.norm = nn.BatchNorm2d(width)
            self.second = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
            self.head = nn.Linear(2 * width, CLASSES)
            randomize(self)

    def maps(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What ``norm`` and ``second`` put out."""
        first = self.norm(self.first(x))
        return first, self.second(first.relu())

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.maps(x)[1].relu().mean((2, 3)))
        return logits


class Asked:
    """Counts the pictures of every batch that a teacher is shown."""

    def __init__(self, teacher: Teacher) -> None:
        self.pictures: list[int] = []
        teacher.network.register_forward_hook(
            lambda module, inputs, output: self.pictures.append(len(output))
        )


def make_teacher(seed: int = 1, *, width: int = 6, scale: float = 6.0) -> Teacher:
    """One whose logits are around 0 and deviate by ``scale``, with a normalisation of its own."""
    network = Net(seed, width).eval()
    mean, std = (0.5, 0.45, 0.55), (0.25, 0.2, 0.3)
    with torch.no_grad():
        logits = network(normalize(made_split(28, 1).images[:], mean, std))
        factor = scale / logits.std(0)
        network.head.bias.sub_(logits.mean(0)).mul_(factor)
        network.head.weight.mul_(factor[:, None])
    return Teacher(
        name=f"teacher {seed}",
        network=network,
        mean=mean,
        std=std,
        digest=f"{seed:064d}",
        about={},
    )


def data_with_holes() -> ImageData:
    """28 pictures of a source of 100, in no order, and of unequal classes: as after a hold-out."""
    split = made_split(28, 1)
    labels = torch.tensor([0] * 16 + [1] * 6 + [2] * 4 + [3] * 2)
    index = torch.randperm(100, generator=torch.Generator().manual_seed(8))[:28]
    return replace(made_data(), train=Split(split.images, labels, index))


def make_feed(data: ImageData, augment: Augmentation, **settings: Any) -> Feed:
    train = TrainSettings(**{"batch_size": 8, "epochs": 3, "drop_last": False} | settings)
    return Feed(data, augment, train, CPU, ALONE)


def make_cache(
    folder: Path, *, views: int, rows: int = 28, key: dict[str, Any] | None = None
) -> TargetCache:
    return TargetCache(folder, key or {}, views=views, rows=rows, classes=CLASSES)


def nothing() -> None: ...


def fill_silently(cache: TargetCache, teacher: Teacher, feed: Feed) -> None:
    fill(cache, teacher, feed, progress=lambda done, total: None, between=nothing)


def both_targets(
    folder: Path,
    teachers: Sequence[Teacher],
    feed: Feed,
    *,
    views: int,
    settings: DistillSettings | None = None,
) -> tuple[CachedTargets, LiveTargets]:
    """The targets of ``teachers`` as they are kept, filled by ``feed``, and of now."""
    caches = []
    for teacher in teachers:
        cache = make_cache(folder / teacher.digest, views=views, rows=len(feed.split))
        fill_silently(cache, teacher, feed)
        caches.append(cache)
    combine = combination(settings or DistillSettings())
    cached = CachedTargets(caches, feed.split.index, combine, CPU)
    return cached, LiveTargets(teachers, combine)


class Stopped(Exception):
    """What a test stops a piece of work with."""


class StopAfter:
    """Called more than ``calls`` times, it stops the work."""

    def __init__(self, calls: int) -> None:
        self.left = calls

    def __call__(self) -> None:
        if not self.left:
            raise Stopped
        self.left -= 1


def refused(call: Any, *says: str) -> str:
    """What ``call`` is refused with, which names each of ``says``, in one line."""
    with pytest.raises(InputError) as raised:
        call()
    said = str(raised.value)
    assert [word for word in says if word not in said] == [] and "\n" not in said, said
    return said
