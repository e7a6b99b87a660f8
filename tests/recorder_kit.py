"""A recorder for machines without a GPU, and trainings that it is to record."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from distill_kit import both_targets, make_feed, make_teacher
from engine_kit import made_data
from ghostnet_small.data.augment import Augmentation
from ghostnet_small.distill.distillation import distillation
from ghostnet_small.distill.settings import DistillSettings
from ghostnet_small.fast.cpu import updates
from ghostnet_small.train import engine
from ghostnet_small.train.objective import cross_entropy
from ghostnet_small.train.optim import OptimizerSettings
from ghostnet_small.train.recorded_steps import Found
from ghostnet_small.train.schedule import learning_rate

ADAMW = OptimizerSettings(name="adamw", learning_rate=0.01)
PLAIN = Augmentation(crop_padding=1, flip="random", views=2)
MIXED = Augmentation(mixup=0.4, cutmix=1.0, flip="random", views=2)


class Again:
    """A recorder for machines without a GPU: a replay calls the work once more.

    As a graph does it writes what was found over what it gave before.
    """

    def __init__(self, fails: bool = False) -> None:
        self.fails = fails
        self.calls = {"aside": 0, "capture": 0, "replay": 0}

    def aside(self, work: Callable[[], Found]) -> Found:
        self.calls["aside"] += 1
        return work()

    def capture(self, work: Callable[[], Found]) -> Callable[[], Found]:
        self.calls["capture"] += 1
        if self.fails:
            raise RuntimeError("operation not permitted when stream is capturing\nmore")
        given: list[Tensor] = []

        def replay() -> Found:
            self.calls["replay"] += 1
            found = work()
            if not given:
                given.extend(tensor.clone() for tensor in found)
            for kept, tensor in zip(given, found, strict=True):
                kept.copy_(tensor)
            return given[0], given[1]

        return replay


@pytest.fixture
def rounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU, for both ways to train: learning rates in float32, PyTorch's optimiser."""

    def rate(*args: Any) -> float:
        return float(torch.tensor(learning_rate(*args), dtype=torch.float32))

    monkeypatch.setattr(engine, "learning_rate", rate)
    monkeypatch.setattr(updates, "usable_for", lambda _: False)


@pytest.fixture
def recording(monkeypatch: pytest.MonkeyPatch) -> Again:
    recorder = Again()
    monkeypatch.setattr(engine, "recorder_for", lambda *args: recorder)
    return recorder


def taught(kind: str, folder: Path) -> dict[str, Any]:
    """Augmentation and objective, with teachers where ``kind`` has some."""
    if kind in ("plain", "mixed"):
        objective = cross_entropy(0.1)
        return {"augment": PLAIN if kind == "plain" else MIXED, "objective": objective}
    feed = make_feed(made_data(), PLAIN)
    cached, live = both_targets(folder, [make_teacher(1), make_teacher(2)], feed, views=2)
    targets = cached if kind == "cached" else live
    objective = distillation(cross_entropy(), targets, DistillSettings())
    return {"augment": PLAIN, "objective": objective, "ask": targets}
