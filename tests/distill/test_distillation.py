"""What a student is trained on, and what becomes of the teacher meanwhile."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from distill_kit import CPU, Asked, Net, data_with_holes, make_feed, make_teacher, refused
from engine_kit import (
    Linear,
    MemoryStore,
    Polls,
    assert_same_end,
    made_data,
    make_training,
)
from ghostnet_small.data.augment import Augmentation
from ghostnet_small.data.dataset import normalize
from ghostnet_small.distill.distillation import distillation
from ghostnet_small.distill.feature_maps import MapLosses
from ghostnet_small.distill.features import attention_transfer_loss, hint_loss
from ghostnet_small.distill.losses import (
    dist_loss,
    dkd_loss,
    kd_loss,
    logit_standardized_kd_loss,
)
from ghostnet_small.distill.settings import DistillSettings
from ghostnet_small.distill.targets import LiveTargets, combination
from ghostnet_small.distill.teacher import Teacher
from ghostnet_small.train.interfaces import Interrupted
from ghostnet_small.train.objective import Batch, Objective, cross_entropy
from ghostnet_small.train.optim import OptimizerSettings

STUDENT = torch.tensor([[1.0, 0.5, -0.5, 0.0], [0.0, 0.0, 2.0, 1.0]])
TEACHER = torch.tensor([[4.0, 1.0, 0.0, -1.0], [1.0, -2.0, 3.0, 2.0]])
LABELS = torch.tensor([0, 3])
BATCH = Batch(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), LABELS, torch.arange(2), 0)


def live(teacher: Teacher) -> LiveTargets:
    return LiveTargets([teacher], combination(DistillSettings()))


# Arithmetic ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ce", "kd"), [(0.25, 0.5), (1.0, 0.0), (0.0, 2.0)])
def test_the_two_losses_by_hand(ce: float, kd: float) -> None:
    settings = DistillSettings(ce_weight=ce, kd_weight=kd, temperature=2.0)
    objective = distillation(cross_entropy(), lambda batch: TEACHER, settings)
    log_p, q = STUDENT.log_softmax(1), (TEACHER / 2).softmax(1)
    hard = -(log_p[0, 0] + log_p[1, 3]) / 2
    soft = 4 * (q * (q.log() - (STUDENT / 2).log_softmax(1))).sum() / 2
    assert float(objective(STUDENT, BATCH)) == pytest.approx(float(ce * hard + kd * soft), rel=1e-5)


def test_what_the_batch_holds_is_not_asked_for() -> None:
    def never(batch: Batch) -> Tensor:
        raise AssertionError

    settings = DistillSettings()
    asked = distillation(cross_entropy(), lambda batch: TEACHER, settings)(STUDENT, BATCH)
    holding = replace(BATCH, teacher_logits=TEACHER)
    assert torch.equal(distillation(cross_entropy(), never, settings)(STUDENT, holding), asked)


SETTINGS: dict[str, tuple[dict[str, Any], Tensor]] = {
    "kd": ({}, kd_loss(STUDENT, TEACHER, 3.0)),
    "dkd": (
        {"target_weight": 0.5, "nontarget_weight": 3.0},
        dkd_loss(STUDENT, TEACHER, LABELS, 3.0, 0.5, 3.0),
    ),
    "dist": (
        {"inter_weight": 0.5, "intra_weight": 3.0},
        dist_loss(STUDENT, TEACHER, 3.0, 0.5, 3.0),
    ),
    "logit_standardized": ({}, logit_standardized_kd_loss(STUDENT, TEACHER, 3.0)),
}


@pytest.mark.parametrize("loss", SETTINGS)
def test_each_loss_at_its_own_settings(loss: Any) -> None:
    own, wanted = SETTINGS[loss]
    settings = DistillSettings(loss=loss, ce_weight=0.0, kd_weight=0.5, temperature=3.0, **own)
    found = distillation(cross_entropy(), lambda batch: TEACHER, settings)(STUDENT, BATCH)
    assert float(found) == pytest.approx(0.5 * float(wanted), rel=1e-6)
    assert len({round(float(value), 6) for _, value in SETTINGS.values()}) == len(SETTINGS)


def test_the_labels_loss_is_the_one_that_is_given() -> None:
    """Smoothed, weighted, mixed: whatever the engine would train on without a teacher."""
    mixed = Batch(
        BATCH.views, LABELS, BATCH.index, 0, torch.tensor([1, 1]), torch.tensor([0.75, 0.5])
    )
    labels = cross_entropy(0.1, torch.tensor([1.0, 2.0, 0.5, 1.0]))
    settings = DistillSettings(ce_weight=0.5, kd_weight=0.0)
    found = distillation(labels, lambda batch: TEACHER, settings)(STUDENT, mixed)
    assert torch.equal(found, 0.5 * labels(STUDENT, mixed))


def never(batch: Batch) -> Tensor:
    pytest.fail("the teacher is asked")


def test_without_a_weight_nothing_is_asked() -> None:
    settings = DistillSettings(ce_weight=1.0, kd_weight=0.0)
    found = distillation(cross_entropy(), never, settings)(STUDENT, BATCH)
    assert torch.equal(found, cross_entropy()(STUDENT, BATCH))

    def no_labels(logits: Tensor, batch: Batch) -> Tensor:
        pytest.fail("the labels are asked")

    settings = DistillSettings(ce_weight=0.0, kd_weight=1.0)
    found = distillation(no_labels, lambda batch: TEACHER, settings)(STUDENT, BATCH)
    assert torch.equal(found, kd_loss(STUDENT, TEACHER, settings.temperature))


# Training --------------------------------------------------------------------------------------


def test_a_teacher_never_learns_and_leaves_no_trace() -> None:
    teacher, store = make_teacher(), MemoryStore()
    before = copy.deepcopy(teacher.network.state_dict())
    asked = Asked(teacher)
    settings = DistillSettings(ce_weight=0.5, kd_weight=0.5)
    student = Net(5)
    plain = {name for name in make_training(model=Net(5)).state()[0]}
    make_training(
        store,
        model=student,
        objective=distillation(cross_entropy(), live(teacher), settings),
        ema_decay=0.9,
        drop_last=False,
    ).run()
    assert asked.pictures == [8, 8, 8, 4] * 2
    assert not any(module.training for module in teacher.network.modules())
    after = teacher.network.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    for parameter in teacher.network.parameters():
        assert not parameter.requires_grad and parameter.grad is None
    # The student's do change, so the comparison above can fail.
    fresh = Net(5).state_dict()
    assert not torch.equal(student.state_dict()["norm.running_mean"], fresh["norm.running_mean"])
    tensors, _ = store.states[-1]
    names = {name for name in tensors if not name.startswith(("optimizer.", "ema."))}
    assert names == plain and set(store.weights["last"]) == set(fresh)


def test_the_students_gradient_is_that_of_the_loss() -> None:
    """T^2 times d KL / ds = T (p - q), over the batch."""
    student = STUDENT.clone().requires_grad_()
    settings = DistillSettings(ce_weight=0.0, kd_weight=1.0, temperature=2.0)
    distillation(cross_entropy(), lambda batch: TEACHER, settings)(student, BATCH).backward()
    wanted = 2 * ((STUDENT / 2).softmax(1) - (TEACHER / 2).softmax(1)) / 2
    assert student.grad is not None and torch.allclose(student.grad, wanted, atol=1e-6)


@pytest.mark.parametrize("loss", ["kd", "dkd", "logit_standardized"])
def test_micro_batches_add_up(loss: Any) -> None:
    """Of the last, smaller batch too, whose parts are not equal: 27 = 3 * 8 + 3."""
    data = made_data(train=27)
    random = torch.Generator().manual_seed(3)
    logits = 5 * torch.randn(27, 4, generator=random, dtype=torch.float64)

    def targets(batch: Batch) -> Tensor:
        return logits[batch.index - 100]

    settings = DistillSettings(loss=loss, ce_weight=0.3, kd_weight=0.7)
    ends = []
    for accumulate in (1, 2, 4):
        model, store = Linear(), MemoryStore()
        make_training(
            store,
            model=model,
            data=data,
            objective=distillation(cross_entropy(), targets, settings),
            accumulate=accumulate,
            drop_last=False,
        ).run()
        ends.append((model.state_dict(), store.rows[-1]["train_loss"]))
    for state, train_loss in ends[1:]:
        for name, value in ends[0][0].items():
            assert torch.allclose(state[name], value, rtol=0, atol=1e-11)
        assert train_loss == pytest.approx(ends[0][1], rel=1e-11)


def test_a_student_follows_its_teacher() -> None:
    """Without labels it comes to answer as a teacher that it began by contradicting."""
    teacher, data, store = make_teacher(), data_with_holes(), MemoryStore()
    settings = DistillSettings(ce_weight=0.0, kd_weight=1.0, temperature=2.0)
    x = data.train.images[:]
    said, student = teacher.logits(x), Net(5)

    def away() -> float:
        with torch.no_grad():
            logits = student.eval()(normalize(x, data.mean, data.std))
        student.train()
        return float(kd_loss(logits, said, 2.0))

    before = away()
    make_training(
        store,
        model=student,
        data=data,
        objective=distillation(cross_entropy(), live(teacher), settings),
        epochs=25,
        optimizer=OptimizerSettings(name="adamw", learning_rate=0.02),
    ).run()
    losses = [row["train_loss"] for row in store.rows]
    assert away() < 0.5 * before and losses[-1] < 0.5 * losses[0]


# Feature maps ----------------------------------------------------------------------------------

ON_MAPS = DistillSettings(
    teachers=("one",),
    targets="live",
    ce_weight=0.2,
    kd_weight=0.3,
    attention=("second=second",),
    attention_weight=50.0,
    hints=("norm=norm", "second=second"),
    hint_weight=0.1,
)
PICTURE = (3, 8, 8)


def prepare(
    settings: DistillSettings = ON_MAPS, *, width: int = 4, seed: int = 5
) -> tuple[nn.Module, Objective, MapLosses, Teacher]:
    """A student with a teacher of width 6, and its objective, all the same at each call."""
    torch.manual_seed(seed)
    student, teacher = Net(seed, width), make_teacher()
    maps = MapLosses(student, teacher, settings, PICTURE)
    return student, distillation(cross_entropy(), live(teacher), settings, maps), maps, teacher


def test_the_loss_of_maps_by_hand() -> None:
    student, objective, maps, teacher = prepare()
    data = data_with_holes()
    batch = next(make_feed(data, Augmentation()).epoch(0, 0)).parts[0]
    x = normalize(batch.views, data.mean, data.std)
    student.train()
    logits = student(x)
    found = objective(logits, batch)
    assert isinstance(student, Net) and isinstance(teacher.network, Net)
    with torch.no_grad():
        theirs = teacher.network.maps(normalize(batch.views, teacher.mean, teacher.std))
        ours = student.maps(x)  # its batch norm normalises by the batch, as before
        first, second = maps.adapters
        wanted = (
            0.2 * cross_entropy()(logits, batch)
            + 0.3 * kd_loss(logits, teacher.logits(batch.views))
            + 50 * attention_transfer_loss(ours[1], theirs[1])
            + 0.1 * hint_loss(first(ours[0]), theirs[0])
            + 0.1 * hint_loss(second(ours[1]), theirs[1])
        )
    assert found.item() == pytest.approx(wanted.item(), rel=1e-5)


def test_adapters_are_there_where_the_channels_differ() -> None:
    _, _, maps, _ = prepare()
    shapes = [tuple(p.shape) for p in maps.adapters.parameters()]
    assert shapes == [(6, 4, 1, 1), (12, 8, 1, 1)]
    assert list(prepare(width=6)[2].adapters.parameters()) == []
    assert (
        len(list(prepare(DistillSettings(attention=("norm=second",), targets="live"))[2].adapters))
        == 0
    )


def test_maps_alone_teach_too() -> None:
    """With no weight for labels or logits the teacher is still asked, for its maps."""
    settings = DistillSettings(
        targets="live", ce_weight=0.0, kd_weight=0.0, hints=("second=second",), teachers=("one",)
    )
    student, objective, maps, teacher = prepare(settings)
    asked = Asked(teacher)
    before = copy.deepcopy(student.state_dict())
    make_training(model=student, objective=objective, companion=maps.adapters, epochs=1).run()
    assert asked.pictures == [8, 8, 8]
    after = student.state_dict()
    assert not torch.equal(after["first.weight"], before["first.weight"])
    # What comes after the map learns nothing from it (nor decays: it is a bias).
    assert torch.equal(after["head.bias"], before["head.bias"])


KINDS: dict[str, dict[str, Any]] = {
    "sgd": {"ema_decay": 0.9, "clip_norm": 1.0, "drop_last": False},
    "adamw": {
        "optimizer": OptimizerSettings(name="adamw", learning_rate=0.01),
        "accumulate": 2,
        "augment": Augmentation(mixup=0.4, cutmix=1.0, flip="random"),
    },
}


def training_of(store: MemoryStore, kind: str, seed: int = 5, stop: Polls | None = None) -> Any:
    student, objective, maps, _ = prepare(seed=seed)
    return make_training(
        store,
        model=student,
        data=data_with_holes(),
        objective=objective,
        companion=maps.adapters,
        stop_signal=stop or Polls(),
        **KINDS[kind],
    )


@pytest.mark.parametrize("kind", KINDS)
def test_adapters_are_trained_and_kept_apart_from_the_weights(kind: str) -> None:
    store = MemoryStore()
    training = training_of(store, kind)
    before = copy.deepcopy(training.companion.state_dict())
    training.run()
    tensors, _ = store.states[-1]
    kept = {n.removeprefix("companion."): t for n, t in tensors.items() if n[:9] == "companion"}
    assert list(kept) == ["0.weight", "1.weight"]
    for name, value in training.companion.state_dict().items():
        assert not torch.equal(value, before[name])
        assert torch.equal(value, kept[name])
    for weights in store.weights.values():
        assert set(weights) == set(Net(5).state_dict())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at", [1, 4, 6])
def test_stopped_with_adapters_it_ends_the_same(kind: str, at: int) -> None:
    whole, store = MemoryStore(), MemoryStore()
    training_of(whole, kind).run()
    with pytest.raises(Interrupted):
        training_of(store, kind, stop=Polls(at)).run()
    # Another student, with other adapters: nothing may be left of what a new process starts with.
    resumed = training_of(store, kind, seed=99)
    resumed.restore(*store.states[-1])
    resumed.run()
    assert_same_end(store, whole)


def test_a_training_without_a_companion_keeps_its_state() -> None:
    """An empty one, of attention alone, changes no step either."""
    ends = []
    for companion in (None, nn.ModuleList()):
        store = MemoryStore()
        make_training(store, model=Net(5), companion=companion, ema_decay=0.9).run()
        ends.append(store)
    assert_same_end(*ends)


UNKNOWN = {
    "of the student": ({"hints": ("third=second",)}, "'third'"),
    "of the teacher": ({"attention": ("second=third",)}, "'third'"),
    "no map": ({"hints": ("second=head",)}, "'head'"),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_a_module_that_gives_no_map_is_told(case: str) -> None:
    settings, said = UNKNOWN[case]
    refused(lambda: prepare(DistillSettings(targets="live", **settings)), said)


def test_a_teacher_stays_on_its_device_and_in_evaluation() -> None:
    network = Net(3).train()
    teacher = Teacher("t", network, (0.5,) * 3, (0.2,) * 3, "", {}).to(CPU)
    assert not any(module.training for module in network.modules())
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert not teacher.network.first.weight.is_contiguous()  # type: ignore[union-attr]
