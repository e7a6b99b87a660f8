"""Targets that were kept are those of now, up to what float16 rounds off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from distill_kit import (
    CPU,
    HALF,
    ROUNDING,
    Asked,
    Net,
    StopAfter,
    Stopped,
    both_targets,
    data_with_holes,
    fill_silently,
    make_cache,
    make_feed,
    make_teacher,
    nothing,
)
from engine_kit import CLASSES, make_training
from ghostnet_small.data.augment import Augmentation
from ghostnet_small.data.dataset import normalize
from ghostnet_small.distill import targets as targets_module
from ghostnet_small.distill.distillation import distillation
from ghostnet_small.distill.settings import DistillSettings
from ghostnet_small.distill.targets import CachedTargets, LiveTargets, combination, fill
from ghostnet_small.train.feed import Feed
from ghostnet_small.train.objective import Batch, cross_entropy

PLAIN = Augmentation(crop_padding=2, flip="random", view_seed=3)
MIXED = Augmentation(crop_padding=1, flip="random", mixup=0.4, cutmix=1.0, views=2)
EPOCHS = 3


def batches(feed: Feed) -> list[Batch]:
    return [part for epoch in range(EPOCHS) for step in feed.epoch(epoch, 0) for part in step.parts]


KINDS: dict[str, tuple[int, dict[str, Any]]] = {
    "a view an epoch": (3, {"augment": PLAIN}),
    "two views in turn": (2, {"augment": Augmentation(flip="alternating", views=2)}),
    "mixed": (2, {"augment": MIXED}),
    "repeated": (
        5,
        {"augment": Augmentation(crop_padding=2, flip="random", views=5), "sampler": "balanced"},
    ),
    "mixed and repeated, in parts": (
        2,
        {"augment": MIXED, "sampler": "balanced", "accumulate": 2},
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_kept_is_what_a_teacher_says(kind: str, tmp_path: Path) -> None:
    views, options = KINDS[kind]
    feed, teacher = make_feed(data_with_holes(), **options), make_teacher()
    cached, live = both_targets(tmp_path, [teacher], feed, views=views)
    asked = Asked(teacher)
    shown = batches(feed)
    kept = [cached(batch) for batch in shown]
    assert asked.pictures == []
    assert sum(len(answers) for answers in kept) == EPOCHS * 28
    assert any(isinstance(batch.view, Tensor) for batch in shown) == ("repeated" in kind)
    far = 0.0
    for batch, found in zip(shown, kept, strict=True):
        now = live(batch)
        assert found.dtype == now.dtype == torch.float32 and not found.requires_grad
        bound = HALF * now.abs() + ROUNDING * now.abs().max()
        assert ((found - now).abs() <= bound).all()
        far = max(far, float(((now.roll(1, 0) - now).abs() / bound).max()))
    # Another picture's answer would be far outside of the bound.
    assert far > 100


def test_the_views_that_it_keeps_are_those_that_mixing_gives(tmp_path: Path) -> None:
    """Else the bound above could hold because the views hardly differ."""
    feed, teacher = make_feed(data_with_holes(), MIXED), make_teacher()
    cached, live = both_targets(tmp_path, [teacher], feed, views=2)
    plain = make_feed(data_with_holes(), Augmentation(crop_padding=1, flip="random", views=2))
    for batch, unmixed in zip(batches(feed), batches(plain), strict=True):
        assert torch.equal(batch.index, unmixed.index)
        away = (cached(batch) - live(unmixed)).abs()
        assert away.max() > 10 * HALF * cached(batch).abs().max()


SHARES = (3.0, 1.0)


@pytest.mark.parametrize("mean", ["probabilities", "logits"])
def test_of_two_teachers_too(mean: Any, tmp_path: Path) -> None:
    """With logits that are off by d_i, their weighted mean is off by the mean of d_i. A softened
    log-probability is off by at most 2 d_i / T, and so, times T, the mean's by 2 max d_i."""
    teachers = [make_teacher(1), make_teacher(2, width=4, scale=10.0)]
    settings = DistillSettings(
        teachers=("one", "other"), teacher_shares=SHARES, mean=mean, temperature=3.0
    )
    feed = make_feed(data_with_holes(), MIXED, sampler="balanced")
    cached, live = both_targets(tmp_path, teachers, feed, views=2, settings=settings)
    swapped = LiveTargets(teachers[::-1], combination(settings))
    for batch in batches(feed):
        off = [
            HALF * z.abs() + ROUNDING * z.abs().max()
            for z in (teacher.logits(batch.views) for teacher in teachers)
        ]
        if mean == "logits":
            bound = (3 * off[0] + off[1]) / 4
        else:
            bound = 2 * torch.stack(off).amax((0, 2))[:, None]
        assert ((cached(batch) - live(batch)).abs() <= bound).all()
        assert ((swapped(batch) - live(batch)).abs() > bound).any()


def test_two_teachers_by_hand() -> None:
    """0.75 and 0.25 of two softened probabilities, and of two logits."""
    one, other = torch.tensor([[2.0, 0.0, -2.0]]), torch.tensor([[0.0, 4.0, 0.0]])
    for mean in ("probabilities", "logits"):
        settings = DistillSettings(
            teachers=("a", "b"), teacher_shares=(3.0, 1.0), mean=mean, temperature=2.0
        )
        found = combination(settings)([one, other])
        if mean == "logits":
            assert torch.allclose(found, torch.tensor([[1.5, 1.0, -1.5]]))
        else:
            wanted = 0.75 * (one / 2).softmax(1) + 0.25 * (other / 2).softmax(1)
            assert torch.allclose((found / 2).softmax(1), wanted)


def test_one_teacher_is_not_combined() -> None:
    logits = torch.randn(3, 4)
    assert combination(DistillSettings(teachers=("a",)))([logits]) is logits


@pytest.mark.parametrize("sampler", ["all", "balanced"])
def test_a_picture_and_its_view_find_their_row_and_page(sampler: Any, tmp_path: Path) -> None:
    """Pages that say where they are: each logit is its view's number, its row, or both."""
    data = data_with_holes()
    cache = make_cache(tmp_path, views=2)
    rows = torch.arange(28.0)
    with cache.filling(nothing):
        for view in range(2):
            at = torch.full((28,), float(view))
            cache.write(view, torch.stack((at, rows, at + rows, -rows), 1))
    cached = CachedTargets([cache], data.train.index, combination(DistillSettings()), CPU)
    feed = make_feed(data, Augmentation(flip="random", views=2), sampler=sampler)
    for epoch in range(EPOCHS):
        for step in feed.epoch(epoch, 0):
            for batch in step.parts:
                found = cached(batch)
                assert torch.equal(data.train.index[found[:, 1].long()], batch.index)
                assert torch.equal(found[:, 0], torch.as_tensor(batch.view).expand(len(found)))
                if sampler == "all":
                    assert (found[:, 0] == epoch % 2).all()


def test_a_teacher_is_shown_its_own_normalisation_of_the_students_views() -> None:
    feed, teacher = make_feed(data_with_holes(), MIXED), make_teacher()
    batch = batches(feed)[0]
    by_hand = teacher.network(normalize(batch.views, teacher.mean, teacher.std))
    assert torch.allclose(teacher.logits(batch.views), by_hand, rtol=0, atol=1e-4)


def test_a_teacher_answers_in_float32_whatever_the_student_computes_in() -> None:
    views, teacher = batches(make_feed(data_with_holes(), PLAIN))[0].views, make_teacher()
    answers = teacher.logits(views)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(teacher.logits(views), answers)
    assert answers.dtype == torch.float32 and not answers.requires_grad


def test_filling_asks_for_every_view_once_and_says_how_far_it_is(tmp_path: Path) -> None:
    teacher, feed, cache = (
        make_teacher(),
        make_feed(data_with_holes(), MIXED),
        make_cache(tmp_path, views=3),
    )
    asked, told, polls = Asked(teacher), [], 0

    def between() -> None:
        nonlocal polls
        polls += 1

    fill(cache, teacher, feed, progress=lambda *far: told.append(far), between=between)
    assert asked.pictures == [28] * 3 and told == [(1, 3), (2, 3), (3, 3)] and polls == 3
    fill(cache, teacher, feed, progress=lambda *far: told.append(far), between=between)
    # Nor by a process that comes later.
    fill_silently(make_cache(tmp_path, views=3), teacher, feed)
    assert asked.pictures == [28] * 3 and len(told) == 3 and polls == 3


@pytest.mark.parametrize("calls", [0, 1, 3, 4, 5, 8])
def test_interrupted_it_keeps_whole_views_and_goes_on_there(
    calls: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three views of three batches each, with a look before each batch."""
    monkeypatch.setattr(targets_module, "BATCH", 10)
    teacher, feed = make_teacher(), make_feed(data_with_holes(), MIXED)
    whole = make_cache(tmp_path / "whole", views=3)
    fill_silently(whole, teacher, feed)
    asked, cache = Asked(teacher), make_cache(tmp_path / "cut", views=3)
    with pytest.raises(Stopped):
        fill(cache, teacher, feed, progress=lambda *far: None, between=StopAfter(calls))
    done = calls // 3
    assert asked.pictures == [10, 10, 8] * done + [10, 10, 8][: calls % 3]
    names = {file.name for file in cache.folder.iterdir()}
    assert names == {"key.json", *(f"view-{view:05d}.f16" for view in range(done))}
    told: list[tuple[int, int]] = []
    asked.pictures.clear()
    again = make_cache(tmp_path / "cut", views=3)
    fill(again, teacher, feed, progress=lambda *far: told.append(far), between=nothing)
    assert asked.pictures == [10, 10, 8] * (3 - done)
    assert told == [(view + 1, 3) for view in range(done, 3)]
    assert all(torch.equal(again.page(view), whole.page(view)) for view in range(3))


def test_a_view_that_goes_while_it_is_used_is_told(tmp_path: Path) -> None:
    feed, teacher = make_feed(data_with_holes(), PLAIN), make_teacher()
    cached, _ = both_targets(tmp_path, [teacher], feed, views=3)
    fresh = make_cache(cached.caches[0].folder, views=3)
    (fresh.folder / "view-00002.f16").unlink()
    cached = CachedTargets([fresh], feed.split.index, combination(DistillSettings()), CPU)
    with pytest.raises(OSError, match=r"view 2 .* start the command again"):
        for batch in batches(feed):
            cached(batch)


# The loss of a training ------------------------------------------------------------------------


def kd_bound(student: Tensor, teacher: Tensor, d: Tensor, temperature: float) -> Tensor:
    """How much ``T^2 KL(q || p)`` can change where no teacher's logit is off by more than ``d``.

    On the way z + s e with |e| <= d, q changes by dq = q (e - E_q e) / T, |dq| <= q 2 d / T, and
    dKL = sum dq log(q / p), for sum dq = 0. On it q grows by exp(2 d / T) at most, and log q
    changes by 2 d / T at most. Hence, times T^2,
    |change| <= 2 T d exp(2 d / T) (E_q |log(q / p)| + 2 d / T). ``d`` is ``(N, 1)``.
    """
    log_q, log_p = (teacher / temperature).log_softmax(1), (student / temperature).log_softmax(1)
    away = (log_q.exp() * (log_q - log_p).abs()).sum(1, keepdim=True)
    step = 2 * d / temperature
    return (temperature * 2 * d * step.exp() * (away + step)).mean()


def bound_of(loss: str, student: Tensor, teacher: Tensor, labels: Tensor, d: Tensor) -> Tensor:
    """The same for each loss, at T = 3 and the weights that are set by default."""
    if loss == "kd":
        return kd_bound(student, teacher, d, T)
    if loss == "dkd":
        # Two divergences of logits that are off by d too: of the target and of all others as one,
        # whose logit is their logsumexp, and of the others.
        own = torch.nn.functional.one_hot(labels, CLASSES).bool()
        bounds = []
        for pair in (True, False):
            both = []
            for logits in (student, teacher):
                rest = logits[~own].view(-1, CLASSES - 1)
                one = T * (rest / T).logsumexp(1)
                both.append(torch.stack((logits[own], one), 1) if pair else rest)
            bounds.append(kd_bound(both[0], both[1], d, T))
        return bounds[0] + 8 * bounds[1]
    if loss == "logit_standardized":
        # z - mean(z) is off by 2 d, its deviation s by c d, and so their quotient f by this.
        c = (CLASSES / (CLASSES - 1)) ** 0.5
        ours, f = (
            (z - z.mean(1, keepdim=True)) / z.std(1, keepdim=True) for z in (student, teacher)
        )
        deviation = teacher.std(1, keepdim=True)
        largest = f.abs().amax(1, keepdim=True)
        return kd_bound(ours, f, (2 * d + largest * c * d) / (deviation - c * d), T)
    # A correlation is a product of unit vectors; that of q is off by twice |dq| in units of what q
    # deviates by, and |dq| <= q (exp(2 d / T) - 1).
    grows = (2 * d.max() / T).exp() - 1
    q, bound = (teacher / T).softmax(1), torch.zeros(())
    for vectors in (q, q.T):
        away = (vectors - vectors.mean(1, keepdim=True)).norm(dim=1)
        bound = bound + (2 * grows * vectors.norm(dim=1) / away).mean()
    return T**2 * bound


T = 3.0
LOSSES = ("kd", "dkd", "dist", "logit_standardized")


@pytest.mark.parametrize("loss", LOSSES)
def test_a_training_loses_the_same_by_kept_targets_as_by_live_ones(
    loss: Any, tmp_path: Path
) -> None:
    """At the same weights, step by step: trainings of their own would drift apart."""
    augment = PLAIN if loss == "dkd" else MIXED
    data, teacher = data_with_holes(), make_teacher()
    feed = make_feed(data, augment)
    settings = DistillSettings(loss=loss, ce_weight=0.3, kd_weight=0.7, temperature=T)
    cached, live = both_targets(tmp_path, [teacher], feed, views=augment.views or EPOCHS)
    # And what another picture's targets would make of it.
    kinds = (cached, live, lambda batch: live(batch).roll(1, 0))
    objectives = [distillation(cross_entropy(), targets, settings) for targets in kinds]
    differences: list[float] = []
    others: list[float] = []

    def compared(logits: Tensor, batch: Batch) -> Tensor:
        kept, now, wrong = (objective(logits, batch) for objective in objectives)
        said, student = teacher.logits(batch.views), logits.detach()
        # The worst of a row's logits, and what a batch of another size changes.
        off = (HALF + ROUNDING) * said.abs().amax(1, keepdim=True)
        bound = 0.7 * bound_of(loss, student, said, batch.targets, off) + 1e-6 * now.detach()
        differences.append(float((kept - now).detach().abs() / bound))
        others.append(float((wrong - now).detach().abs() / bound))
        return now

    training = make_training(
        model=Net(5), data=data, augment=augment, objective=compared, epochs=EPOCHS, drop_last=False
    )
    training.run()
    assert len(differences) == EPOCHS * 4
    assert 0 < max(differences) <= 1
    assert max(others) > 10
