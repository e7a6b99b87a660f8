"""What the ends of short epochs leave waits for a state, and never contradicts one."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from distill_kit import Net
from engine_kit import Linear, MemoryStore, Polls, assert_same_end, make_training, without_times
from ghostnet_small.train import engine
from ghostnet_small.train.delayed_saves import Shelf
from ghostnet_small.train.interfaces import Interrupted


class Told(MemoryStore):
    """Tells in which order it was written to, and what it held at each state."""

    def __init__(self) -> None:
        super().__init__()
        self.order: list[str] = []
        self.beside: list[tuple[dict[str, dict[str, Tensor]], list[dict[str, Any]]]] = []

    def save_state(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        super().save_state(tensors, values)
        self.order.append("state")
        self.beside.append((copy.deepcopy(self.weights), copy.deepcopy(self.rows)))

    def save_weights(self, name: str, model: nn.Module) -> None:
        super().save_weights(name, model)
        self.order.append(name)

    def save_metrics(self, rows: list[dict[str, Any]]) -> None:
        super().save_metrics(rows)
        self.order.append("rows")


def test_at_once_it_hands_on() -> None:
    store, model = Told(), Linear()
    shelf = Shelf(store, seconds=0.0)
    shelf.put_weights("last", model)
    shelf.put_rows([{"epoch": 1}])
    shelf.write()
    assert store.order == ["last", "rows"]


def test_what_waits_is_what_the_model_was() -> None:
    store, model = Told(), Net(1).to(memory_format=torch.channels_last)
    shelf = Shelf(store, seconds=1.0)
    wanted = {}
    for number, names in enumerate((["best", "last"], ["last"], ["best", "last"], ["last"])):
        with torch.no_grad():
            for tensor in model.state_dict().values():
                tensor.add_(1)
        for name in names:
            wanted[name] = copy.deepcopy(model.state_dict())
            shelf.put_weights(name, model)
        shelf.put_rows([{"epoch": number}])
    assert store.order == []
    shelf.write()
    assert store.order == ["best", "last", "rows"] and store.rows == [{"epoch": 3}]
    for name, state in wanted.items():
        assert store.weights[name].keys() == state.keys()
        assert all(torch.equal(store.weights[name][key], value) for key, value in state.items())
    shelf.write()
    assert store.order == ["best", "last", "rows"]


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU, with so short epochs that none's end saves but the last."""
    monkeypatch.setattr(engine, "SECONDS_BETWEEN_SAVES", {"cpu": math.inf})


OPTIONS: dict[str, Any] = {"epochs": 4, "ema_decay": 0.9, "checkpoint_seconds": 1e9}


def trained(store: MemoryStore, seed: int = 0, **options: Any) -> Any:
    return make_training(store, model=Net(seed), **OPTIONS, **options)


@pytest.fixture(scope="module")
def each_epoch() -> Told:
    """A training whose epochs save, as on a CPU."""
    store = Told()
    trained(store).run()
    assert store.order.count("state") == 4 and store.order[-3:] == ["last", "rows", "state"]
    return store


@pytest.mark.usefixtures("waits")
def test_the_end_is_the_same(each_epoch: Told) -> None:
    store = Told()
    training = trained(store)
    training.run()
    assert_same_end(store, each_epoch)
    assert store.order == ["best", "last", "rows", "state"]
    assert len(training.watcher.rows) == 4


def test_so_many_seconds_apart_the_epochs_save(
    each_epoch: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "SECONDS_BETWEEN_SAVES", {"cpu": 1e-9})
    store = Told()
    trained(store).run()
    assert_same_end(store, each_epoch)
    assert store.order == each_epoch.order


@pytest.mark.usefixtures("waits")
@pytest.mark.parametrize("at", range(0, 15, 2))
def test_stopped_the_files_fit_the_state_and_it_ends_the_same(at: int, each_epoch: Told) -> None:
    """Three steps and a validation an epoch: amid a later one the files are of those before."""
    store = Told()
    with pytest.raises(Interrupted):
        trained(store, stop_signal=Polls(at)).run()
    assert_fits(store, each_epoch)
    resumed = trained(store, seed=9)
    resumed.restore(*store.states[-1])
    resumed.run()
    assert_same_end(store, each_epoch)


def assert_fits(store: Told, each_epoch: Told) -> None:
    """What lies beside the last state is of the epochs that it knows of."""
    counters = store.states[-1][1]["counters"]
    weights, rows = store.beside[-1]
    assert without_times(rows) == without_times(counters["rows"])
    assert set(weights) == ({"best", "last"} if rows else set())
    for name, epoch in (("best", (counters["best"] or {}).get("epoch")), ("last", len(rows))):
        if rows:
            of_then = each_epoch.beside[epoch - 1][0]["last"]
            assert all(torch.equal(weights[name][key], value) for key, value in of_then.items())


@pytest.mark.usefixtures("waits")
@pytest.mark.parametrize("step", range(1, 12))
def test_killed_behind_any_state_it_ends_the_same(step: int, each_epoch: Told) -> None:
    """Files newer than the state are those of a training that was killed later."""
    store = Told()
    saving = trained(store)
    saving.settings = saving.settings.__class__(
        **{**vars(saving.settings), "checkpoint_seconds": 0}
    )
    saving.run()
    (state,) = (s for s in store.states[:-1] if s[1]["counters"]["step"] == step)
    killed = Told()
    killed.weights, killed.rows = dict(store.weights), list(store.rows)
    resumed = trained(killed, seed=9)
    resumed.restore(*state)
    resumed.run()
    assert_same_end(killed, each_epoch)


@pytest.mark.usefixtures("waits")
def test_weights_that_are_no_numbers_leave_what_was_saved() -> None:
    store = Told()
    training = trained(store)
    training._finish_epoch = lambda: spoil(training)
    with pytest.raises(engine.NotFinite):
        training.run()
    assert store.order == []


def spoil(training: Any) -> None:
    with torch.no_grad():
        next(training.model.parameters()).fill_(math.nan)
    type(training)._finish_epoch(training)
