"""Splits that stay in a file: the same answers as a tensor's, and batches read ahead."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch
from torch import Tensor

from engine_kit import MemoryStore, made_data, make_training
from ghostnet_small.data.dataset import ImageData, Split
from ghostnet_small.data.decoded.mapped import MappedImages
from ghostnet_small.data.reader import batches
from makers import uneven_pictures


def mapped(images: Tensor, folder: Path, rows: Tensor | None = None) -> MappedImages:
    file = folder / "pixels"
    file.write_bytes(images.numpy().tobytes())
    return MappedImages(file, tuple(images.shape), rows, images.shape[1])


def test_indexing_gives_what_a_tensor_gives(tmp_path: Path) -> None:
    images = uneven_pictures(30, height=9, width=11)
    rows = torch.tensor([4, 0, 29, 7, 8, 9, 21])
    for found, expected in (
        (mapped(images, tmp_path), images),
        (mapped(images, tmp_path, rows), images[rows]),
    ):
        assert found.shape == expected.shape and len(found) == len(expected)
        assert found.dtype == expected.dtype and found.device == expected.device
        for key in (
            0,
            -1,
            slice(None),
            slice(2, 5),
            slice(None, None, 3),
            slice(5, 100),
            torch.tensor([3, 3, -2]),
            torch.tensor([], dtype=torch.int64),
            expected[:, 0, 0, 0] > 100,
        ):
            assert torch.equal(found[key], expected[key])
        parts = list(found.split(4))
        assert [len(part) for part in parts] == [len(part) for part in expected.split(4)]
        assert torch.equal(torch.cat(parts), expected)
        with pytest.raises(IndexError):
            found[torch.tensor([len(expected)])]


def test_channels(tmp_path: Path) -> None:
    grey = uneven_pictures(5, channels=1, height=8, width=8)
    mapped(grey, tmp_path)
    wide = MappedImages(tmp_path / "pixels", tuple(grey.shape), None, 3)
    assert wide.shape == (5, 3, 8, 8)
    assert torch.equal(wide[:], grey.expand(-1, 3, -1, -1))
    colour = uneven_pictures(5, height=8, width=8)
    mapped(colour, tmp_path)
    narrow = MappedImages(tmp_path / "pixels", tuple(colour.shape), None, 1)
    assert torch.equal(narrow[torch.tensor([2, 0])], colour[[2, 0], :1])


def test_what_is_given_is_a_copy(tmp_path: Path) -> None:
    images = uneven_pictures(6, height=8, width=8)
    found = mapped(images, tmp_path)
    found[:].zero_()
    found[torch.tensor([1])].zero_()
    assert torch.equal(found[:], images)
    assert (tmp_path / "pixels").read_bytes() == images.numpy().tobytes()


def to_file(split: Split, folder: Path) -> Split:
    """``split`` out of a file that has other pictures between its own."""
    folder.mkdir()
    assert isinstance(split.images, Tensor)
    spread = split.images.repeat_interleave(2, 0)
    spread[1::2] = 255
    rows = 2 * torch.arange(len(split))
    return Split(mapped(spread, folder, rows), split.labels, split.index)


@pytest.mark.parametrize("in_memory", [True, False])
def test_batches_are_those_asked_for(tmp_path: Path, in_memory: bool) -> None:
    split = made_data().train
    source = split if in_memory else to_file(split, tmp_path / "a")
    assert source.in_memory == in_memory
    order = [torch.tensor([3, 1]), torch.tensor([0]), torch.tensor([2, 2, 27])]
    found = list(batches(source, iter(order)))
    assert len(found) == 3
    for rows, batch in zip(order, found, strict=True):
        expected = split.take(rows)
        assert torch.equal(batch.images, expected.images)
        assert torch.equal(batch.labels, expected.labels)
        assert torch.equal(batch.index, expected.index)
    assert list(batches(source, [])) == []


def test_one_batch_is_read_ahead_by_a_thread_that_ends(tmp_path: Path) -> None:
    source = to_file(made_data().train, tmp_path / "a")
    asked: list[int] = []

    def order() -> list[Tensor]:
        for number in range(5):
            asked.append(number)
            yield torch.tensor([number])

    before = threading.active_count()
    reading = batches(source, order())
    next(reading)
    assert asked == [0, 1]
    next(reading)
    assert asked == [0, 1, 2]
    reading.close()
    assert threading.active_count() == before


def test_a_failed_read_is_raised_where_it_is_used(tmp_path: Path) -> None:
    source = to_file(made_data().train, tmp_path / "a")
    reading = batches(source, [torch.tensor([0]), torch.tensor([99])])
    next(reading)
    with pytest.raises(IndexError):
        next(reading)


def test_training_from_a_file_ends_with_the_same_weights(tmp_path: Path) -> None:
    data = made_data()
    assert data.validation is not None
    there = ImageData(
        train=to_file(data.train, tmp_path / "a"),
        validation=to_file(data.validation, tmp_path / "b"),
        test=None,
        classes=data.classes,
        mean=data.mean,
        std=data.std,
        fingerprint=data.fingerprint,
    )
    ends = []
    for source in (data, there):
        store = MemoryStore()
        make_training(store, data=source).run()
        ends.append(store)
    first, second = ends
    assert [row["validation_loss"] for row in first.rows] == [
        row["validation_loss"] for row in second.rows
    ]
    assert all(
        torch.equal(tensor, second.weights["last"][name])
        for name, tensor in first.weights["last"].items()
    )
