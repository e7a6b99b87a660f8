"""Recorded steps train as others do; what is not to be recorded is not."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from distill_kit import Asked, Net, both_targets, make_feed, make_teacher
from engine_kit import (
    Linear,
    MemoryStore,
    Polls,
    assert_same_end,
    made_data,
    make_training,
)
from ghostnet_small.distill.distillation import distillation
from ghostnet_small.distill.settings import DistillSettings
from ghostnet_small.train import engine, recorded_steps
from ghostnet_small.train.interfaces import Interrupted, NotFinite
from ghostnet_small.train.objective import cross_entropy
from ghostnet_small.train.optim import OptimizerSettings
from ghostnet_small.train.processes import ALONE, Processes
from ghostnet_small.train.recorded_steps import WARM_UP, recorder_for
from ghostnet_small.train.settings import TrainSettings
from recorder_kit import ADAMW, PLAIN, Again, recording, rounded, taught

__all__ = ["recording", "rounded"]  # fixtures

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


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
    with caplog.at_level(logging.WARNING, recorded_steps.__name__):
        make_training(store, optimizer=ADAMW).run()
    assert_same_end(store, plain)
    assert recorder.calls == {"aside": WARM_UP, "capture": 1, "replay": 0}
    (said,) = caplog.messages
    assert "not permitted" in said and "GHOSTNET_GRAPHS=off" in said and "\n" not in said


def test_what_a_step_found_stays(recording: Again) -> None:
    """A replay writes over what the one before gave."""
    training = make_training(model=Linear(), epochs=3)
    step = training.learner.recorded
    assert step is not None
    found = []
    for epoch in range(3):
        for fed in training.feed.epoch(epoch, 0):
            given = step(fed.parts[0], 0.1)
            found.append((given, [float(value) for value in given]))
    assert recording.calls["replay"] == 9 - WARM_UP
    assert all([float(value) for value in given] == then for given, then in found)


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
    monkeypatch.setattr(recorded_steps, "CudaGraphs", Again)
    monkeypatch.setenv("GHOSTNET_GRAPHS", switch)
    accelerator: Any = SimpleNamespace(device=torch.device(kind), scaler=scaler)
    found = recorder_for(TrainSettings(**settings), accelerator, processes)
    assert (found is not None) == (switch == "on")


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
        training = make_training(store, model=Net(0), device="cuda", epochs=4, **options)
        training.run()
        assert (training.learner.recorded is not None) == (switch == "on")
        ends.append(store)
    for row, other in zip(ends[0].rows, ends[1].rows, strict=True):
        assert row["train_loss"] == pytest.approx(other["train_loss"], rel=1e-2)
    tensors, others = (store.states[-1][0] for store in ends)
    assert tensors.keys() == others.keys()
    for name in tensors:
        if name.endswith((".step", "num_batches_tracked")):
            assert int(tensors[name]) == int(others[name]) == 16


@on_gpu
def test_a_step_that_looks_is_not_recorded_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    def looks(logits: Tensor, batch: Any) -> Tensor:
        loss = cross_entropy()(logits, batch)
        return loss + 0 * loss.item()

    store = MemoryStore()
    training = make_training(store, model=Net(0), objective=looks, device="cuda", epochs=4)
    training.run()
    assert len(caplog.messages) == 1
    # A random number, which a capture that broke off would have left impossible.
    torch.rand(3, device="cuda")
    plain = MemoryStore()
    make_training(plain, model=Net(0), device="cuda", epochs=4).run()
    assert store.rows[-1]["train_loss"] == pytest.approx(plain.rows[-1]["train_loss"], rel=1e-2)


@on_gpu
def test_weights_that_are_no_numbers_are_seen() -> None:
    def spoils(logits: Tensor, batch: Any) -> Tensor:
        return cross_entropy()(logits, batch) + (logits * 0).sum().sqrt()

    store = MemoryStore()
    training = make_training(
        store, model=Net(0), objective=spoils, device="cuda", epochs=1, data=made_data(train=8)
    )
    with pytest.raises(NotFinite, match="weights"):
        training.run()
    assert store.states == [] and store.weights == {}
