"""Nothing in a recorded step looks at a value or copies from the CPU: watched without a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from engine_kit import CLASSES, made_data, make_training
from ghostnet_small import fast
from ghostnet_small.distill.distillation import distillation
from ghostnet_small.distill.settings import DistillSettings
from ghostnet_small.models.registry import create_model
from ghostnet_small.models.settings import Compute
from ghostnet_small.train.engine import Training
from ghostnet_small.train.objective import class_weights, cross_entropy
from ghostnet_small.train.optim import OptimizerSettings
from ghostnet_small.train.recorded_steps import WARM_UP
from recorder_kit import ADAMW, MIXED, PLAIN, Again, recording

__all__ = ["recording"]  # a fixture

aten = torch.ops.aten
LOOKS = {
    aten._local_scalar_dense.default: "a look at a value",
    aten.nonzero.default: "a shape that depends on values",
    aten.masked_select.default: "a shape that depends on values",
    aten.unique_dim.default: "a shape that depends on values",
    aten._unique2.default: "a shape that depends on values",
    aten.lift_fresh.default: "numbers from the CPU",
    aten._pin_memory.default: "a copy from the CPU",
}


class Recordable(TorchDispatchMode):
    """Fails at what a CUDA graph cannot hold."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        assert func not in LOOKS, f"{func}: {LOOKS[func]}"
        if func in (aten.index.Tensor, aten.index_put_.default, aten._index_put_impl_.default):
            chosen = [index.dtype for index in args[1] if index is not None]
            assert torch.bool not in chosen, f"{func}: a choice by a mask"
        if func is aten._to_copy.default:
            assert kwargs.get("device") in (None, args[0].device), f"{func}: a copy from elsewhere"
        return func(*args, **kwargs)


@pytest.mark.parametrize(
    "bad",
    [
        lambda x: x.sum().item(),
        lambda x: x[x > 0],
        lambda x: x * torch.tensor([2.0, 3.0]),
        lambda x: bool((x > 0).any()),
        lambda x: x.to("meta"),
        lambda x: torch.where(x > 0),
    ],
)
def test_the_watch_sees_what_may_not_be(bad: Callable[[Tensor], object]) -> None:
    with Recordable():
        torch.ones(2) * 2
    with pytest.raises(AssertionError), Recordable():
        bad(torch.ones(2))


LOSSES: dict[str, DistillSettings | None] = {
    "labels": None,
    "kd": DistillSettings(),
    "dkd": DistillSettings(loss="dkd"),
    "dist": DistillSettings(loss="dist"),
    "standardized": DistillSettings(loss="logit_standardized"),
}


def recordable_training(
    loss: str, precision: str = "fp32", form: Compute = "merged", **options: Any
) -> Training:
    data = made_data()
    weights = class_weights(data.train.labels, data.classes, "balanced")
    objective = cross_entropy(0.1, weights)
    settings = LOSSES[loss]
    if settings is not None:
        options["ask"] = lambda batch: torch.randn(len(batch.targets), CLASSES)
        objective = distillation(objective, options["ask"], settings)
    torch.manual_seed(0)
    model = create_model("ghostnetv3_small", width=0.25, num_classes=CLASSES)
    fast.use(model, form)
    return make_training(
        model=model, data=data, objective=objective, precision=precision, epochs=3, **options
    )


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("optimizer", [OptimizerSettings(), ADAMW], ids=["sgd", "adamw"])
def test_nothing_in_a_step_looks_at_values(
    loss: str, optimizer: OptimizerSettings, recording: Again
) -> None:
    augment = PLAIN if loss == "dkd" else MIXED
    watch_a_step(recordable_training(loss, augment=augment, optimizer=optimizer))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("form", ["merged", "branches"])
def test_nothing_in_a_network_looks_at_values(
    form: Compute, precision: str, recording: Again
) -> None:
    watch_a_step(recordable_training("labels", precision, form))


def watch_a_step(training: Training) -> None:
    """Of the step that would be recorded, after those before it."""
    step = training.learner.recorded
    assert step is not None
    fed: Iterator[Any] = (
        found.parts[0] for epoch in range(2) for found in training.feed.epoch(epoch, 0)
    )
    for _ in range(WARM_UP):
        step(next(fed), 0.1)
    assert step.batch is not None
    with Recordable():
        training.learner.whole_step(step.batch)
