from __future__ import annotations

import math
from itertools import chain
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from engine_kit import (
    CLASSES,
    Linear,
    MemoryStore,
    Polls,
    Silent,
    assert_same_end,
    made_data,
    make_training,
)
from ghostnet_small.data.augment import Augmentation
from ghostnet_small.data.dataset import normalize
from ghostnet_small.errors import InputError
from ghostnet_small.nn.complexity import both_forms
from ghostnet_small.train import engine
from ghostnet_small.train.evaluate import Evaluation, evaluate
from ghostnet_small.train.interfaces import Interrupted, NotFinite
from ghostnet_small.train.objective import Batch, cross_entropy
from ghostnet_small.train.optim import OptimizerSettings
from ghostnet_small.train.schedule import ScheduleSettings, learning_rate

# Two trainings that between them use every part of the state.
KINDS: dict[str, dict[str, Any]] = {
    "sgd": {
        "ema_decay": 0.9,
        "clip_norm": 1.0,
        "monitor_test": True,
        "augment": Augmentation(crop_padding=1, flip="random", cutout=2),
    },
    "adamw": {
        "optimizer": OptimizerSettings(name="adamw", learning_rate=0.01),
        "drop_last": False,
        "label_smoothing": 0.1,
        "accumulate": 2,
        "augment": Augmentation(flip="alternating", views=1),
    },
}
STEPS = {"sgd": 6, "adamw": 8}
# After each step, and before the only batch of each evaluation.
POLLS = {"sgd": 6 + 4, "adamw": 8 + 2}


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, MemoryStore]:
    torch.set_num_threads(1)
    stores = {}
    for kind, options in KINDS.items():
        stores[kind] = MemoryStore()
        # Saves after every step too, which must not change anything.
        make_training(stores[kind], checkpoint_seconds=0, **options).run()
    return stores


@pytest.mark.parametrize("kind", KINDS)
def test_saving_changes_nothing(kind: str, undisturbed: dict[str, MemoryStore]) -> None:
    store, polls = MemoryStore(), Polls()
    make_training(store, stop_signal=polls, **KINDS[kind]).run()
    assert_same_end(store, undisturbed[kind])
    assert polls.count == POLLS[kind]
    # At the end of each epoch and, of the other, after each step beside.
    assert len(store.states) == 2
    assert len(undisturbed[kind].states) == STEPS[kind] + 2


@pytest.mark.parametrize(
    ("kind", "at"),
    [("sgd", at) for at in range(POLLS["sgd"])] + [("adamw", at) for at in (0, 3, 6, 9)],
)
def test_stopped_anywhere_and_resumed_it_ends_the_same(
    kind: str, at: int, undisturbed: dict[str, MemoryStore]
) -> None:
    store = MemoryStore()
    first = make_training(store, stop_signal=Polls(at), **KINDS[kind])
    with pytest.raises(Interrupted) as stopped:
        first.run()
    assert stopped.value.signal_number == 15
    assert store.states[-1][1]["counters"]["step"] == first.counters.step
    # Another seed: nothing may be left of what a new process starts with.
    torch.manual_seed(99)
    second = make_training(store, **KINDS[kind])
    second.restore(*store.states[-1])
    second.run()
    assert_same_end(store, undisturbed[kind])


@pytest.mark.parametrize(
    ("kind", "index"),
    [(kind, index) for kind, steps in STEPS.items() for index in range(-1, steps + 1, 3)],
)
def test_killed_with_an_older_state_it_ends_the_same(
    kind: str, index: int, undisturbed: dict[str, MemoryStore]
) -> None:
    """``kill -9`` may leave weights and metrics that are newer than the state, or no state (-1)."""
    ended, store = undisturbed[kind], MemoryStore()
    store.weights, store.rows = dict(ended.weights), list(ended.rows)
    training = make_training(store, **KINDS[kind])
    if index >= 0:
        training.restore(*ended.states[index])
    training.run()
    assert_same_end(store, ended)


def test_the_state_before_the_first_step_is_one_to_resume_from(
    undisturbed: dict[str, MemoryStore],
) -> None:
    store = MemoryStore()
    store.save_state(*make_training(store, **KINDS["adamw"]).state())
    torch.manual_seed(99)
    training = make_training(store, **KINDS["adamw"])
    training.restore(*store.states[-1])
    training.run()
    assert_same_end(store, undisturbed["adamw"])


def test_the_restored_optimizer_has_the_layout_of_its_parameters() -> None:
    """Else its arithmetic runs over other vector lanes, and rounds otherwise on some processors."""
    store = MemoryStore()
    training = make_training(store, epochs=1)
    training.run()
    restored = make_training(store, epochs=1)
    restored.restore(*store.states[-1])
    for parameter, entries in restored.optimizer.state.items():
        assert entries["momentum_buffer"].stride() == parameter.stride()
    stem = restored.model.get_parameter("stem.conv.weight")
    assert not stem.is_contiguous()


def test_four_steps_by_hand() -> None:
    """SGD-Nesterov with warm-up, decay on weights only, and the average, in float64."""
    data = made_data(train=16)
    optimizer = OptimizerSettings(learning_rate=0.2, weight_decay=0.01, momentum=0.8)
    schedule = ScheduleSettings(warmup=0.5, warmup_start=0.01)
    store, model = MemoryStore(), Linear()
    weights = [p.detach().clone() for p in model.parameters()]
    make_training(
        store,
        model=model,
        data=data,
        optimizer=optimizer,
        schedule=schedule,
        shuffle=False,
        ema_decay=0.15,
    ).run()

    speeds = [torch.zeros_like(w) for w in weights]
    average = [w.clone() for w in weights]
    x = normalize(data.train.images, data.mean, data.std).double().flatten(1)
    for step in range(4):
        part = slice(8 * (step % 2), 8 * (step % 2) + 8)
        probabilities = (x[part] @ weights[0].T + weights[1]).softmax(1)
        error = (probabilities - functional.one_hot(data.train.labels[part], CLASSES)) / 8
        rate = (0.01, 0.105, 0.2, 0.1)[step]
        assert rate == pytest.approx(learning_rate(step, 4, 0.2, schedule))
        keep = min(0.15, (1 + step) / (10 + step))
        for i, gradient in enumerate((error.T @ x[part] + 0.01 * weights[0], error.sum(0))):
            speeds[i] = 0.8 * speeds[i] + gradient
            weights[i] = weights[i] - rate * (gradient + 0.8 * speeds[i])
            average[i] = keep * average[i] + (1 - keep) * weights[i]
    names = ("linear.weight", "linear.bias")
    for name, by_hand, averaged in zip(names, weights, average, strict=True):
        assert torch.allclose(model.state_dict()[name], by_hand, rtol=0, atol=1e-12)
        assert torch.allclose(store.weights["last"][name], averaged, rtol=0, atol=1e-12)


@pytest.mark.parametrize("drop_last", [True, False])
def test_accumulation_changes_nothing_without_batch_norm(drop_last: bool) -> None:
    """For the last, smaller batch too, whose parts are not equal: 27 = 3 * 8 + 3."""
    ends = []
    for accumulate in (1, 2, 4):
        store, model = MemoryStore(), Linear()
        make_training(
            store,
            model=model,
            data=made_data(train=27),
            accumulate=accumulate,
            drop_last=drop_last,
            clip_norm=0.5,
            ema_decay=0.9,
        ).run()
        ends.append((model.state_dict(), store))
    for state, store in ends[1:]:
        for name, value in ends[0][0].items():
            assert torch.allclose(state[name], value, rtol=0, atol=1e-12)
        for row, wanted in zip(store.rows, ends[0][1].rows, strict=True):
            assert row["train_loss"] == pytest.approx(wanted["train_loss"], rel=1e-12)
            assert row["train_top1"] == wanted["train_top1"]


def test_clipping_bounds_the_norm_of_a_step() -> None:
    model = Linear()
    before = torch.cat([p.detach().flatten().clone() for p in model.parameters()])
    make_training(
        model=model,
        data=made_data(train=8, validation=0),
        epochs=1,
        clip_norm=0.01,
        optimizer=OptimizerSettings(learning_rate=0.5, weight_decay=0, momentum=0, nesterov=False),
        schedule=ScheduleSettings(warmup=0, decay="constant"),
    ).run()
    after = torch.cat([p.detach().flatten() for p in model.parameters()])
    assert float((after - before).norm()) == pytest.approx(0.5 * 0.01, rel=1e-4)


class Recorder:
    """An objective that remembers which pictures it saw."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []

    def __call__(self, logits: Tensor, batch: Batch) -> Tensor:
        self.batches.append(batch)
        return cross_entropy()(logits, batch)

    def epochs(self, steps: int) -> list[list[int]]:
        found = [batch.index.tolist() for batch in self.batches]
        return [list(chain(*found[i : i + steps])) for i in range(0, len(found), steps)]


def seen(seed: int = 0, **options: Any) -> tuple[list[list[int]], Recorder]:
    recorder = Recorder()
    steps = 4 if not options.get("drop_last", True) else 3
    make_training(model=Linear(), objective=recorder, seed=seed, **options).run()
    return recorder.epochs(steps), recorder


def test_without_shuffling_the_order_is_the_sources() -> None:
    epochs, _ = seen(shuffle=False)
    assert epochs == [list(range(100, 124))] * 2
    epochs, _ = seen(shuffle=False, drop_last=False)
    assert epochs == [list(range(100, 128))] * 2


def test_shuffled_each_epoch_is_another_order_of_all() -> None:
    epochs, recorder = seen(drop_last=False)
    assert all(sorted(epoch) == list(range(100, 128)) for epoch in epochs)
    assert epochs[0] != epochs[1]
    assert [len(batch.targets) for batch in recorder.batches] == [8, 8, 8, 4] * 2
    # The seed decides the order, and the view seed does not.
    assert seen(drop_last=False)[0] == epochs
    assert seen(drop_last=False, augment=Augmentation(view_seed=7))[0] == epochs
    assert seen(drop_last=False, seed=1)[0] != epochs


def test_a_picture_meets_the_view_of_its_epoch_in_whatever_order() -> None:
    augment = Augmentation(crop_padding=2, flip="random", views=2)
    data = made_data()
    for shuffle in (True, False):
        _, recorder = seen(epochs=3, augment=augment, shuffle=shuffle)
        assert [batch.view for batch in recorder.batches] == [0] * 3 + [1] * 3 + [0] * 3
        for batch in recorder.batches:
            rows = batch.index - 100
            fill = tuple(round(255 * m) for m in data.mean)
            views = augment(data.train.images[rows], batch.index, batch.view, fill)
            assert torch.equal(batch.views, views)
            assert torch.equal(batch.targets, data.train.labels[rows])


def test_what_an_epoch_measures() -> None:
    store, model = MemoryStore(), Linear()
    data = made_data()
    training = make_training(store, model=model, data=data, shuffle=False)
    training.run()
    row = store.rows[-1]
    assert [r["epoch"] for r in store.rows] == [1, 2] and row["step"] == 6
    found = evaluate(model.eval(), data.split("validation"), mean=data.mean, std=data.std)
    assert (row["validation_loss"], row["validation_top1"]) == (found.loss, found.top1)
    assert "test_top1" not in row
    assert row["learning_rate"] == learning_rate(5, 6, 0.1, ScheduleSettings())
    assert row["images_per_s"] == pytest.approx(24 / row["seconds"])
    assert isinstance(training.watcher, Silent)
    assert training.watcher.rows == store.rows
    assert training.watcher.losses[-1] == row["train_loss"]


def test_the_first_step_loses_what_the_fresh_model_loses() -> None:
    data, model = made_data(train=8), Linear()
    x = normalize(data.train.images, data.mean, data.std)
    loss = functional.cross_entropy(model(x), data.train.labels)
    store = MemoryStore()
    make_training(store, model=model, data=data, epochs=1).run()
    assert store.rows[0]["train_loss"] == pytest.approx(loss.item(), rel=1e-12)


def scripted(monkeypatch: pytest.MonkeyPatch, answers: dict[int, list[float]]) -> None:
    """Evaluation in percent by the number of pictures in the split, one an epoch."""

    def answer(model: Any, split: Any, **options: Any) -> Evaluation:
        top1 = answers[len(split)].pop(0)
        return Evaluation(int(top1), 100, 1.0, torch.zeros(1))

    monkeypatch.setattr(engine, "evaluate", answer)


def test_best_is_the_first_best_on_validation_not_on_test(monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, {10: [50, 70, 70, 60], 12: [90, 10, 99, 99]})
    store = MemoryStore()
    training = make_training(
        store, model=Linear(), data=made_data(test=12), epochs=4, monitor_test=True
    )
    training.run()
    assert training.counters.best == {"epoch": 2, "validation_top1": 70}
    assert [row["test_top1"] for row in store.rows] == [90, 10, 99, 99]
    short = MemoryStore()
    scripted(monkeypatch, {10: [50, 70], 12: [90, 10]})
    # The same schedule up to there, hence the same epochs.
    other = make_training(
        short, model=Linear(), data=made_data(test=12), epochs=4, monitor_test=True
    )
    with pytest.raises(IndexError):
        other.run()
    assert torch.equal(store.weights["best"]["linear.bias"], short.weights["last"]["linear.bias"])
    assert not torch.equal(
        store.weights["best"]["linear.bias"], store.weights["last"]["linear.bias"]
    )


def test_without_validation_there_is_no_best() -> None:
    store = MemoryStore()
    training = make_training(store, model=Linear(), data=made_data(validation=0), monitor_test=True)
    training.run()
    assert training.counters.best is None and set(store.weights) == {"last"}
    assert "test_top1" in store.rows[0] and "validation_top1" not in store.rows[0]


def fails_at(step: int, how: str) -> Any:
    """An objective that is NaN at a step, or has there a finite value and a gradient of NaN."""
    calls = iter(range(1000))

    def objective(logits: Tensor, batch: Batch) -> Tensor:
        loss = cross_entropy()(logits, batch)
        if next(calls) != step:
            return loss
        return loss * math.nan if how == "loss" else (logits * 0).sum().sqrt()

    return objective


def test_a_loss_that_is_not_finite_leaves_the_last_good_state() -> None:
    store = MemoryStore()
    training = make_training(
        store, model=Linear(), objective=fails_at(4, "loss"), checkpoint_seconds=0
    )
    with pytest.raises(NotFinite) as raised:
        training.run()
    tensors, values = store.states[-1]
    assert values["counters"]["step"] == 4
    assert all(tensor.isfinite().all() for tensor in tensors.values())
    rate = learning_rate(4, 6, 0.1, ScheduleSettings())
    for said in ("nan", "step 5 of 6", f"{rate:.3g}", "that of step 4"):
        assert said in str(raised.value)


@pytest.mark.parametrize("step", [1, 5])
def test_weights_that_are_not_finite_are_never_saved(step: int) -> None:
    """The last step of an epoch, or of all, has no later loss that would tell."""
    store = MemoryStore()
    training = make_training(
        store, model=Linear(), objective=fails_at(step, "gradient"), checkpoint_seconds=0
    )
    with pytest.raises(NotFinite, match=f"that of step {step}"):
        training.run()
    assert all(tensor.isfinite().all() for tensor in store.states[-1][0].values())
    for weights in store.weights.values():
        assert all(tensor.isfinite().all() for tensor in weights.values())


@pytest.mark.parametrize("ema_decay", [None, 0.9])
def test_bf16_trains_float32_weights_and_leaves_the_model_alone(ema_decay: float | None) -> None:
    store, data = MemoryStore(), made_data()
    options = {"ema_decay": ema_decay, "optimizer": OptimizerSettings(learning_rate=0.01)}
    training = make_training(store, data=data, precision="bf16", **options)
    training.run()
    tensors, _ = store.states[-1]
    assert {t.dtype for t in tensors.values()} <= {torch.float32, torch.int64}
    assert all(tensor.isfinite().all() for tensor in tensors.values())
    plain = MemoryStore()
    make_training(plain, data=data, **options).run()
    assert plain.rows[0]["train_loss"] != store.rows[0]["train_loss"]
    # What is evaluated and kept is the model itself, in float32, as whoever loads it has it.
    fresh = make_training(data=data).model
    fresh.load_state_dict(store.weights["last"])
    found = evaluate(fresh.eval(), data.split("validation"), mean=data.mean, std=data.std)
    assert store.rows[-1]["validation_loss"] == pytest.approx(found.loss, rel=1e-6)
    sizes = both_forms(training.model, (3, 8, 8))
    assert sizes == both_forms(fresh, (3, 8, 8))
    assert sizes["deployed"]["total"].macs > 0


def test_the_paper_like_training_learns() -> None:
    store = MemoryStore()
    make_training(store, model=Linear(), epochs=10).run()
    assert store.rows[-1]["train_top1"] > 90 > store.rows[0]["train_top1"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"batch_size": 29}, "29"),
        ({"batch_size": 1}, "single image"),
        ({"batch_size": 8, "accumulate": 8}, "single image"),
        ({"batch_size": 9, "drop_last": False}, "single image"),
        # 28 = 25 + 3, and 3 in 5 parts are single ones; 3 in 2 parts are 2 and 1.
        ({"batch_size": 25, "accumulate": 5, "drop_last": False}, "single image"),
        ({"augment": Augmentation(cutout=9)}, "cutout 9"),
    ],
)
def test_what_does_not_suit_the_data_is_refused(options: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        make_training(**options)


@pytest.mark.parametrize(
    "setting",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"accumulate": 3},
        {"label_smoothing": 1.0},
        {"clip_norm": 0.0},
        {"ema_decay": 1.0},
        {"seed": -1},
        {"threads": 0},
        {"checkpoint_seconds": -1.0},
        {"checkpoint_seconds": math.nan},
    ],
)
def test_settings_out_of_range_are_named(setting: dict[str, Any]) -> None:
    (name, value), *_ = setting.items()
    with pytest.raises(InputError) as raised:
        make_training(**setting)
    assert name in str(raised.value) and str(value) in str(raised.value)
