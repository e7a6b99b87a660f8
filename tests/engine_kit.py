"""A training in a few milliseconds a step: made pictures, a small network, a store in memory."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ghostnet_small import fast
from ghostnet_small.data.augment import Augmentation
from ghostnet_small.data.dataset import ImageData, Split
from ghostnet_small.models.registry import create_model
from ghostnet_small.models.weights import ModelInfo
from ghostnet_small.train.device import make_accelerator
from ghostnet_small.train.engine import Training
from ghostnet_small.train.evaluate import Evaluation, evaluate
from ghostnet_small.train.objective import Batch, Objective, cross_entropy
from ghostnet_small.train.optim import OptimizerSettings
from ghostnet_small.train.processes import ALONE, Processes
from ghostnet_small.train.schedule import ScheduleSettings
from ghostnet_small.train.settings import TrainSettings

CLASSES = 4


def made_split(count: int, seed: int, first: int = 0) -> Split:
    """Noise of 8x8 in colour, brighter with the class; ``index`` counts from ``first``."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (count,), generator=random)
    noise = torch.randint(100, (count, 3, 8, 8), generator=random)
    images = (noise + 40 * labels[:, None, None, None]).to(torch.uint8)
    return Split(images, labels, torch.arange(first, first + count))


def made_data(train: int = 28, validation: int = 10, test: int = 10) -> ImageData:
    return ImageData(
        train=made_split(train, 1, first=100),
        validation=made_split(validation, 2) if validation else None,
        test=made_split(test, 3) if test else None,
        classes=tuple("abcd"),
        mean=(0.4, 0.41, 0.42),
        std=(0.2, 0.21, 0.22),
        fingerprint="made",
    )


class MemoryStore:
    """Keeps copies of all that was saved; values pass through JSON as they do on disk."""

    def __init__(self) -> None:
        self.states: list[tuple[dict[str, Tensor], dict[str, Any]]] = []
        self.weights: dict[str, dict[str, Tensor]] = {}
        self.rows: list[dict[str, Any]] = []

    def save_state(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        # Contiguous, as a safetensors file holds them: the memory format does not survive.
        plain = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
        self.states.append((plain, json.loads(json.dumps(values))))

    def save_weights(self, name: str, model: nn.Module) -> None:
        self.weights[name] = copy.deepcopy(model.state_dict())

    def save_metrics(self, rows: list[dict[str, Any]]) -> None:
        self.rows = json.loads(json.dumps(rows))


class Silent:
    """A watcher that remembers."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.losses: list[float] = []

    def preparing(self, what: str, done: int, total: int) -> None: ...

    def step(self, epoch: int, done: int, steps: int, loss: float, top1: float) -> None:
        self.losses.append(loss)

    def epoch(self, row: dict[str, Any]) -> None:
        self.rows.append(row)


def make_training(
    store: MemoryStore | None = None,
    *,
    model: nn.Module | None = None,
    data: ImageData | None = None,
    objective: Objective | None = None,
    augment: Augmentation | None = None,
    optimizer: OptimizerSettings | None = None,
    schedule: ScheduleSettings | None = None,
    stop_signal: Callable[[], int | None] = lambda: None,
    processes: Processes = ALONE,
    companion: nn.Module | None = None,
    ask: Callable[[Batch], Tensor] | None = None,
    **settings: Any,
) -> Training:
    """A training of GN-S at width 0.25, or of ``model``; ``settings`` are ``TrainSettings``."""
    settings = {"epochs": 2, "batch_size": 8, "device": "cpu", "checkpoint_seconds": 1e9} | settings
    train = TrainSettings(**settings)
    if model is None:
        torch.manual_seed(train.seed)
        model = create_model("ghostnetv3_small", width=0.25, num_classes=CLASSES)
    return Training(
        model,
        data or made_data(),
        objective=objective or cross_entropy(train.label_smoothing),
        augment=augment or Augmentation(),
        optimizer=optimizer or OptimizerSettings(),
        schedule=schedule or ScheduleSettings(),
        settings=train,
        accelerator=make_accelerator(train.device, train.precision),
        store=store if store is not None else MemoryStore(),
        watcher=Silent(),
        stop_signal=stop_signal,
        processes=processes,
        companion=companion,
        ask=ask,
    )


class Polls:
    """Signal 15 from the poll number ``at`` on."""

    def __init__(self, at: float = math.inf) -> None:
        self.at, self.count = at, 0

    def __call__(self) -> int | None:
        self.count += 1
        return 15 if self.count > self.at else None


def measured(model: nn.Module, info: ModelInfo, split: Split) -> Evaluation:
    """``split`` under saved weights bit for bit as a training on a CPU measured it: of weights of a
    few steps rounding decides some answers, and another form of the network rounds otherwise."""
    layout = TrainSettings().memory_format
    judged = fast.ready_to_answer(model).to(memory_format=layout)  # type: ignore[call-overload]
    return evaluate(judged, split, mean=info.mean, std=info.std, memory_format=layout)


def without_times(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k not in ("seconds", "images_per_s")} for row in rows]


def assert_same_end(store: MemoryStore, expected: MemoryStore) -> None:
    """Bit for bit: the state, both weights, and what was measured."""
    tensors, values = store.states[-1]
    wanted, wanted_values = expected.states[-1]
    assert tensors.keys() == wanted.keys()
    assert [name for name in wanted if not torch.equal(tensors[name], wanted[name])] == []
    for name, weights in expected.weights.items():
        assert all(torch.equal(store.weights[name][k], v) for k, v in weights.items()), name
    assert without_times(store.rows) == without_times(expected.rows)
    for key in ("step", "best", "seen", "correct"):
        assert values["counters"][key] == wanted_values["counters"][key]


class Linear(nn.Module):
    """A linear classifier in float64, without batch norm: its arithmetic can be done by hand."""

    def __init__(self) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(5)
        self.linear = nn.Linear(192, CLASSES).double()
        with torch.no_grad():
            self.linear.weight.copy_(0.05 * torch.randn(CLASSES, 192, generator=random))
            self.linear.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.linear(x.double().flatten(1))
        return out
