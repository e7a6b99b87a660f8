"""Recorded steps: the same training, with nothing in it that a recording would freeze or lose."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from distill_kit import Asked, Net, both_targets, make_feed, make_teacher
from engine_kit import (
    CLASSES,
    Linear,
    MemoryStore,
    Polls,
    assert_same_end,
    made_data,
    make_training,
)
from ghostnet_small.data.augment import Augmentation
from ghostnet_small.distill.objective import distillation
from ghostnet_small.distill.settings import DistillSettings
from ghostnet_small.models.registry import create_model
from ghostnet_small.nn.forms import RepConvForm, set_rep_conv
from ghostnet_small.train import engine, recorded
from ghostnet_small.train.engine import Training
from ghostnet_small.train.interfaces import Interrupted
from ghostnet_small.train.objective import class_weights, cross_entropy
from ghostnet_small.train.optim import OptimizerSettings
from ghostnet_small.train.processes import ALONE, Processes
from ghostnet_small.train.recorded import WARM_UP, Found, recorder_for
from ghostnet_small.train.schedule import learning_rate
from ghostnet_small.train.settings import TrainSettings

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
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
    """Learning rates as a GPU's kernel reads them, in float32, for both ways to train."""

    def rate(*args: Any) -> float:
        return float(torch.tensor(learning_rate(*args), dtype=torch.float32))

    monkeypatch.setattr(engine, "learning_rate", rate)


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


@pytest.mark.usefixtures("rounded")
@pytest.mark.parametrize("kind", ["plain", "mixed", "cached", "live"])
@pytest.mark.parametrize("optimizer", [OptimizerSettings(), ADAMW], ids=["sgd", "adamw"])
def test_it_ends_as_the_training_that_is_not_recorded(
    kind: str, optimizer: OptimizerSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit, stopped on the way too; the last, smaller batch of an epoch is not recorded."""
    options = taught(kind, tmp_path) | {"optimizer": optimizer, "drop_last": False}
    options |= {"ema_decay": 0.9, "epochs": 3}
    plain = MemoryStore()
    make_training(plain, model=Net(0), **options).run()

    recorder = Again()
    monkeypatch.setattr(engine, "recorder_for", lambda *args: recorder)
    store = MemoryStore()
    training = make_training(store, model=Net(0), **options)
    training.feed.ahead = 1 if kind == "live" else 3
    training.run()
    assert_same_end(store, plain)
    assert store.states[-1][0].keys() == plain.states[-1][0].keys()
    assert recorder.calls == {"aside": WARM_UP, "capture": 1, "replay": 9 - WARM_UP}

    # While it still takes ordinary steps, with a recording, and before a smaller batch.
    for at in (1, 5, 8):
        stopped = MemoryStore()
        with pytest.raises(Interrupted):
            make_training(stopped, model=Net(0), stop_signal=Polls(at), **options).run()
        resumed = make_training(stopped, model=Net(99), **options)
        resumed.restore(*stopped.states[-1])
        resumed.run()
        assert_same_end(stopped, plain)


@pytest.mark.usefixtures("rounded")
def test_restored_it_records_anew(recording: Again) -> None:
    """A state's momenta lie elsewhere than those of the recording."""
    store = MemoryStore()
    training = make_training(store, model=Linear(), epochs=4)
    training.run()
    state = store.states[1]
    training.restore(*state)
    training.run()
    assert recording.calls["capture"] == 2
    assert torch.equal(store.states[3][0]["model.linear.bias"], training.model.linear.bias)  # type: ignore[union-attr]


@pytest.mark.usefixtures("rounded")
def test_what_cannot_be_recorded_goes_on_as_it_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plain = MemoryStore()
    make_training(plain, optimizer=ADAMW).run()
    recorder = Again(fails=True)
    monkeypatch.setattr(engine, "recorder_for", lambda *args: recorder)
    store = MemoryStore()
    with caplog.at_level(logging.WARNING, recorded.__name__):
        make_training(store, optimizer=ADAMW).run()
    assert_same_end(store, plain)
    assert recorder.calls == {"aside": WARM_UP, "capture": 1, "replay": 0}
    (said,) = caplog.messages
    assert "not permitted" in said and "GHOSTNET_GRAPHS=off" in said and "\n" not in said


def test_teachers_are_asked_once_and_ahead(recording: Again, tmp_path: Path) -> None:
    teacher = make_teacher()
    _, live = both_targets(tmp_path, [teacher], make_feed(made_data(), PLAIN), views=2)
    asked = Asked(teacher)
    objective = distillation(cross_entropy(), live, DistillSettings())
    training = make_training(model=Linear(), augment=PLAIN, objective=objective, ask=live)
    training.feed.ahead = 2
    training.run()
    # Three steps of 8 an epoch.
    assert asked.pictures == [16, 8] * 2


def test_what_learns_beside_the_model_is_not_recorded(recording: Again) -> None:
    make_training(model=Linear(), companion=nn.Linear(1, 1)).run()
    assert recording.calls["aside"] == recording.calls["capture"] == 0


class Elsewhere(Processes):
    count = 2


@pytest.mark.parametrize(
    ("settings", "kind", "scaler", "processes", "switch"),
    [
        ({}, "cpu", None, ALONE, ""),
        ({}, "mps", None, ALONE, ""),
        ({"accumulate": 2}, "cuda", None, ALONE, ""),
        ({"clip_norm": 1.0}, "cuda", None, ALONE, ""),
        ({}, "cuda", object(), ALONE, ""),
        ({}, "cuda", None, Elsewhere(), ""),
        ({}, "cuda", None, ALONE, "off"),
        ({}, "cuda", None, ALONE, "on"),
    ],
)
def test_what_is_recorded(
    settings: dict[str, Any],
    kind: str,
    scaler: Any,
    processes: Processes,
    switch: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recorded, "CudaGraphs", Again)
    monkeypatch.setenv("GHOSTNET_GRAPHS", switch)
    accelerator: Any = SimpleNamespace(device=torch.device(kind), scaler=scaler)
    found = recorder_for(TrainSettings(**settings), accelerator, processes)
    assert (found is not None) == (switch == "on")


# What may not be in a recorded step ------------------------------------------------------------

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
    loss: str, precision: str = "fp32", form: RepConvForm = "merged", **options: Any
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
    set_rep_conv(model, form)
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
    form: RepConvForm, precision: str, recording: Again
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


# On a GPU --------------------------------------------------------------------------------------


@on_gpu
@pytest.mark.parametrize("kind", ["plain", "mixed"])
@pytest.mark.parametrize("optimizer", [OptimizerSettings(), ADAMW], ids=["sgd", "adamw"])
def test_a_graph_trains_as_steps_do(
    kind: str, optimizer: OptimizerSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to rounding: a GPU adds in whatever order."""
    ends = []
    for switch in ("off", "on"):
        monkeypatch.setenv("GHOSTNET_GRAPHS", switch)
        store = MemoryStore()
        options = taught(kind, tmp_path) | {"optimizer": optimizer, "drop_last": False}
        training = make_training(store, model=Linear().float(), device="cuda", epochs=4, **options)
        training.run()
        assert (training.learner.recorded is not None) == (switch == "on")
        ends.append(store)
    for name, tensor in ends[0].states[-1][0].items():
        torch.testing.assert_close(ends[1].states[-1][0][name], tensor, rtol=1e-3, atol=1e-4)
    for row, other in zip(ends[0].rows, ends[1].rows, strict=True):
        assert row["train_loss"] == pytest.approx(other["train_loss"], rel=1e-3)


@on_gpu
def test_a_step_that_looks_is_not_recorded_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    def looks(logits: Tensor, batch: Any) -> Tensor:
        loss = cross_entropy()(logits, batch)
        return loss + 0 * loss.item()

    store = MemoryStore()
    training = make_training(
        store, model=Linear().float(), objective=looks, device="cuda", epochs=4
    )
    training.run()
    assert len(caplog.messages) == 1
    # A random number, which a capture that broke off would have left impossible.
    torch.rand(3, device="cuda")
    plain = MemoryStore()
    make_training(plain, model=Linear().float(), device="cuda", epochs=4, accumulate=1).run()
    assert store.rows[-1]["train_loss"] == pytest.approx(plain.rows[-1]["train_loss"], rel=1e-3)
