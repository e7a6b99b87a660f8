"""What a step sees, and that a training stopped amid it ends the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from engine_kit import (
    Linear,
    MemoryStore,
    Polls,
    assert_same_end,
    made_data,
    made_split,
    make_training,
)
from ghostnet_small.data.augment import Augmentation
from ghostnet_small.data.dataset import ImageData, Split
from ghostnet_small.data.decoded.mapped import MappedImages
from ghostnet_small.data.sampling import epoch_rows
from ghostnet_small.train import feed as feed_module
from ghostnet_small.train.feed import Feed
from ghostnet_small.train.interfaces import Interrupted
from ghostnet_small.train.objective import Batch, class_weights, cross_entropy
from ghostnet_small.train.processes import ALONE, Processes
from ghostnet_small.train.settings import TrainSettings

MIXED = Augmentation(mixup=0.4, cutmix=1.0, crop_padding=1, flip="random", view_seed=3)


def unequal() -> Split:
    """28 pictures, of which three classes have few."""
    split = made_split(28, 1, first=100)
    labels = torch.tensor([0] * 20 + [1] * 4 + [2] * 2 + [3] * 2)
    return Split(split.images, labels, split.index)


def on_disk(split: Split, folder: Path) -> Split:
    assert isinstance(split.images, Tensor)
    file = folder / "pixels"
    file.write_bytes(split.images.numpy().tobytes())
    images = MappedImages(file, tuple(split.images.shape), None, split.images.shape[1])
    return Split(images, split.labels, split.index)


def feed(
    split: Split, augment: Augmentation, processes: Processes = ALONE, **settings: Any
) -> Feed:
    train = TrainSettings(**{"batch_size": 8, "epochs": 2} | settings)
    data = replace(made_data(), train=split)
    return Feed(data, augment, train, torch.device("cpu"), processes)


class Place(Processes):
    """One of several processes, as far as cutting goes."""

    def __init__(self, rank: int, count: int) -> None:
        self.rank, self.count = rank, count


def assert_equal_batches(found: list[Batch], wanted: list[Batch]) -> None:
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        for name, value in vars(other).items():
            same = getattr(one, name)
            assert torch.equal(same, value) if isinstance(value, Tensor) else same == value, name


@pytest.mark.parametrize("sampler", ["all", "balanced"])
def test_a_step_by_hand(sampler: Any) -> None:
    """Each picture under its own view, mixed with its partner under that view's number."""
    split = unequal()
    fed = feed(split, MIXED, sampler=sampler, seed=5)
    order, repeat = epoch_rows(split.labels, 1, seed=5, shuffle=True, sampler=sampler)
    assert bool(repeat.any()) == (sampler == "balanced")
    for number, step in enumerate(fed.epoch(1, 0)):
        (batch,) = step.parts
        rows = order[8 * number : 8 * number + 8]
        view = 1 + 3 * repeat[8 * number : 8 * number + 8]
        assert step.pictures == 8 and torch.equal(batch.targets, split.labels[rows])
        assert torch.equal(torch.as_tensor(batch.view).expand(8), view)
        own, partners = split.take(rows), split.take(MIXED.partner(split.index[rows], view, 28))
        views, share = MIXED.mix(
            MIXED(own.images, own.index, view, fed.fill),
            MIXED(partners.images, partners.index, view, fed.fill),
            own.index,
            view,
        )
        assert torch.equal(batch.views, views) and torch.equal(batch.index, own.index)
        assert batch.share is not None and torch.equal(batch.share, share)
        assert batch.partner_targets is not None
        assert torch.equal(batch.partner_targets, partners.labels)
    assert number == 2


@pytest.mark.parametrize("augment", [MIXED, Augmentation(flip="alternating")])
@pytest.mark.parametrize("sampler", ["all", "balanced"])
def test_processes_and_parts_only_cut_it(augment: Augmentation, sampler: Any) -> None:
    """Into two parts for each of three processes."""
    whole = feed(unequal(), augment, batch_size=12, accumulate=6, sampler=sampler)
    steps = list(whole.epoch(0, 0))
    assert [len(step.parts) for step in steps] == [6, 6]
    for rank in range(3):
        place = Place(rank, 3)
        share = feed(unequal(), augment, place, batch_size=12, accumulate=2, sampler=sampler)
        for found, step in zip(share.epoch(0, 0), steps, strict=True):
            assert found.pictures == step.pictures == 12
            assert_equal_batches(found.parts, step.parts[2 * rank : 2 * rank + 2])


@pytest.mark.parametrize("augment", [MIXED, Augmentation()])
def test_from_any_step_on_and_from_a_file_it_is_the_same(
    augment: Augmentation, tmp_path: Path
) -> None:
    split = unequal()
    options: dict[str, Any] = {"sampler": "balanced", "drop_last": False}
    steps = list(feed(split, augment, **options).epoch(1, 0))
    assert [step.pictures for step in steps] == [8, 8, 8, 4]
    mapped = feed(on_disk(split, tmp_path), augment, **options)
    for first in range(4):
        for found, step in zip(mapped.epoch(1, first), steps[first:], strict=True):
            assert_equal_batches(found.parts, step.parts)


@pytest.mark.parametrize("augment", [MIXED, Augmentation(crop_padding=1, flip="alternating")])
@pytest.mark.parametrize("sampler", ["all", "balanced"])
@pytest.mark.parametrize("mapped", [False, True])
def test_views_of_many_steps_at_once_are_the_same(
    augment: Augmentation, sampler: Any, mapped: bool, tmp_path: Path
) -> None:
    """As on a GPU, from any step on; in one process and as the second of two."""
    split = on_disk(unequal(), tmp_path) if mapped else unequal()
    for place in (ALONE, Place(1, 2)):
        one = feed(split, augment, place, sampler=sampler, drop_last=False)
        many = feed(split, augment, place, sampler=sampler, drop_last=False)
        assert one.ahead == 1
        for ahead in (2, 3, 9):
            many.ahead = ahead
            for first in range(4):
                wanted = list(one.epoch(1, first))
                found = list(many.epoch(1, first))
                assert [step.pictures for step in found] == [step.pictures for step in wanted]
                for step, other in zip(found, wanted, strict=True):
                    assert_equal_batches(step.parts, other.parts)


def test_on_a_gpu_so_many_are_made_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Split, "to", lambda self, device: self)
    gpu, data = torch.device("cuda"), replace(made_data(), train=unequal())
    train = TrainSettings(batch_size=8, epochs=2)
    # 8x8 pictures are a sixteenth of 32x32.
    assert Feed(data, MIXED, train, gpu, ALONE).ahead == 16 * 8192 // 8
    assert Feed(data, MIXED, train, gpu, Place(0, 2)).ahead == 16 * 8192 // 4
    monkeypatch.setattr(feed_module, "AHEAD_BYTES", 100)
    assert Feed(data, MIXED, train, gpu, ALONE).ahead == 1


def test_what_teachers_are_asked_ahead_goes_with_its_pictures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feed_module, "ASKED", 5)
    asked: list[int] = []

    def ask(batch: Batch) -> Tensor:
        asked.append(len(batch.targets))
        return torch.stack((batch.index, batch.views.float().mean((1, 2, 3))), 1)

    train, data = TrainSettings(batch_size=8, epochs=2), replace(made_data(), train=unequal())
    fed = Feed(data, MIXED, train, torch.device("cpu"), ALONE, ask)
    fed.ahead = 2
    for step in fed.epoch(0, 0):
        (batch,) = step.parts
        said, asked_for = batch.teacher_logits, len(asked)
        assert said is not None and torch.equal(said, ask(batch))
        del asked[asked_for:]
    assert asked == [5, 5, 5, 1, 5, 3]
    # The pages of a cache are filled by what nobody was asked.
    assert next(fed.whole_view(0, 8)).teacher_logits is None


KINDS: dict[str, dict[str, Any]] = {
    "balanced": {"sampler": "balanced", "augment": Augmentation(crop_padding=1, flip="random")},
    "mixed": {"augment": MIXED, "label_smoothing": 0.1},
    "mixed and balanced": {"augment": MIXED, "sampler": "balanced", "accumulate": 2},
    "weighted": {"weights": "balanced", "augment": MIXED},
    "mapped": {"mapped": True, "augment": MIXED, "drop_last": False},
}


def training(kind: str, store: MemoryStore, folder: Path, stop: Polls) -> Any:
    options = dict(KINDS[kind])
    split = unequal()
    weights = class_weights(split.labels, tuple("abcd"), options.pop("weights", "none"))
    if options.pop("mapped", False):
        split = on_disk(split, folder)
    data: ImageData = replace(made_data(), train=split)
    return make_training(
        store,
        model=Linear(),
        data=data,
        objective=cross_entropy(options.get("label_smoothing", 0.0), weights),
        ema_decay=0.9,
        stop_signal=stop,
        **options,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_stopped_in_an_epoch_it_ends_the_same(kind: str, tmp_path: Path) -> None:
    whole = MemoryStore()
    training(kind, whole, tmp_path, Polls()).run()
    # Amid the first epoch, after its validation, and amid the second.
    for at in (1, 4, 6):
        store = MemoryStore()
        with pytest.raises(Interrupted):
            training(kind, store, tmp_path, Polls(at)).run()
        torch.manual_seed(99)
        resumed = training(kind, store, tmp_path, Polls())
        resumed.restore(*store.states[-1])
        resumed.run()
        assert_same_end(store, whole)
