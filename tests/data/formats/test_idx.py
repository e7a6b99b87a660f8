"""IDX files: every spelling that is in use, and each way in which they can be wrong."""

from __future__ import annotations

import gzip
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostnet_small.data.formats.idx import has_idx, list_idx
from ghostnet_small.data.sources import DataSettings, load_data
from ghostnet_small.errors import InputError
from written_forms import idx_bytes, write_idx

FASHION = Path("/usr/share/datasets/fashion-mnist")


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def error_of(root: Path) -> str:
    with pytest.raises(InputError) as caught:
        list_idx(root)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("channels", [(), (1,), (3,)])
def test_pixels_and_labels(tmp_path: Path, zipped: bool, channels: tuple[int, ...]) -> None:
    pictures = noise(6, 9, 8, *channels)
    write_idx(tmp_path, "train", pictures, [0, 1, 2, 0, 1, 2], zipped=zipped)
    write_idx(tmp_path, "t10k", pictures[:2], [2, 0], zipped=zipped)
    assert has_idx(tmp_path)
    listing = list_idx(tmp_path)
    assert listing.classes == ("0", "1", "2")
    assert set(listing.splits) == {"train", "test"}
    train, test = listing.splits["train"], listing.splits["test"]
    expected = pictures[..., 0] if channels == (1,) else pictures
    assert np.array_equal(np.asarray(train.pictures), expected)
    assert train.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert test.labels.tolist() == [2, 0]
    assert test.names[1].startswith(str(tmp_path / "t10k-images")) and "row 1" in test.names[1]
    # Files that are not zipped are mapped: a large set takes no memory to list.
    assert isinstance(train.pictures, np.memmap) is not zipped

    data = load_data(DataSettings(root=str(tmp_path), validation=0))
    stacked = expected[:, None] if expected.ndim == 3 else expected.transpose(0, 3, 1, 2)
    assert torch.equal(data.train.images, torch.from_numpy(stacked.copy()))


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("train-images.idx3-ubyte", "train-labels.idx1-ubyte"),
        ("emnist-letters-train-images-idx3-ubyte", "emnist-letters-train-labels-idx1-ubyte"),
        ("my-images-train-images-idx3-ubyte", "my-images-train-labels-idx1-ubyte"),
    ],
)
def test_names_in_use(tmp_path: Path, images: str, labels: str) -> None:
    (tmp_path / images).write_bytes(idx_bytes(noise(4, 8, 8)))
    # Zipped or not is seen from the content, and may differ between the two.
    (tmp_path / f"{labels}.gz").write_bytes(gzip.compress(idx_bytes(np.array([1, 2, 1, 26]))))
    listing = list_idx(tmp_path)
    # EMNIST's letters begin at 1: a number that no picture has makes no class.
    assert listing.classes == ("1", "2", "26")
    assert listing.splits["train"].labels.tolist() == [0, 1, 0, 2]


def test_unzipped_file_goes_before_the_zipped_one(tmp_path: Path) -> None:
    write_idx(tmp_path, "train", noise(2, 8, 8), [0, 1])
    write_idx(tmp_path, "train", noise(2, 8, 8), [0, 1], zipped=True)
    # Kaggle's MNIST has each file also in a folder of the file's name.
    (tmp_path / "t10k-images-idx3-ubyte").mkdir()
    listing = list_idx(tmp_path)
    assert list(listing.splits) == ["train"]
    assert isinstance(listing.splits["train"].pictures, np.memmap)


def test_several_sets_or_splits(tmp_path: Path) -> None:
    write_idx(tmp_path / "a", "train", noise(2, 8, 8), [0, 1])
    write_idx(tmp_path / "a", "emnist-train", noise(2, 8, 8), [0, 1])
    assert "several data sets" in error_of(tmp_path / "a")
    write_idx(tmp_path / "b", "train", noise(2, 8, 8), [0, 1])
    write_idx(tmp_path / "b", "train", noise(2, 8, 8, 3), [0, 1])
    assert "several data sets" in error_of(tmp_path / "b")
    write_idx(tmp_path / "d", "t10k", noise(2, 8, 8), [0, 1])
    write_idx(tmp_path / "d", "test", noise(2, 8, 8), [0, 1])
    assert "has both t10k-images-idx3-ubyte and test-images-idx3" in error_of(tmp_path / "d")
    write_idx(tmp_path / "c", "t10k", noise(2, 8, 8), [0, 1])
    assert set(list_idx(tmp_path / "c").splits) == {"test"}  # enough to evaluate on


def test_one_of_several_sets_is_chosen_by_its_file(tmp_path: Path) -> None:
    """EMNIST's folder has six sets; their test files come before their training files."""
    pictures = noise(2, 8, 8)
    for number, name in enumerate(("balanced", "digits", "letters")):
        for split in ("train", "test"):
            shown = pictures + number + 10 * (split == "test")
            write_idx(tmp_path, f"emnist-{name}-{split}", shown, [1, 2], zipped=True)
    message = error_of(tmp_path)
    assert "several data sets in IDX form (emnist-balanced-train-images-idx3-ubyte.gz, " in message
    wanted = tmp_path / "emnist-digits-train-images-idx3-ubyte.gz"
    first = wanted.with_name(wanted.name.replace("digits", "balanced"))
    assert message.endswith(f"give the images file of one as data.root, such as {first}")
    listing = list_idx(wanted)
    assert np.array_equal(np.asarray(listing.splits["train"].pictures), pictures + 1)
    assert np.array_equal(np.asarray(listing.splits["test"].pictures), pictures + 11)
    data = load_data(DataSettings(root=str(wanted), validation=0))
    assert (data.classes, data.origin) == (("1", "2"), {"form": "idx"})


def test_emnist_lies_on_its_side_and_says_so(tmp_path: Path) -> None:
    write_idx(tmp_path / "e", "emnist-letters-train", noise(2, 8, 8), [1, 2])
    (remark,) = list_idx(tmp_path / "e").remarks
    assert "emnist-letters-train-images" in remark and "rows and columns" in remark
    write_idx(tmp_path / "m", "my-emnist-train", noise(2, 8, 8), [1, 2])
    assert list_idx(tmp_path / "m").remarks == ()


def test_labels_of_another_form_are_named(tmp_path: Path) -> None:
    """QMNIST's labels are eight integers of four bytes for each image."""
    write_idx(tmp_path, "qmnist-train", noise(2, 8, 8), [0, 1])
    labels = tmp_path / "qmnist-train-labels-idx1-ubyte"
    labels.rename(tmp_path / "qmnist-train-labels-idx2-int.gz")
    message = error_of(tmp_path)
    assert "its labels in qmnist-train-labels-idx2-int.gz, a form that is not read" in message
    assert "unsigned byte for each image, called qmnist-train-labels-idx1-ubyte" in message


def test_labels_that_do_not_fit(tmp_path: Path) -> None:
    write_idx(tmp_path, "train", noise(3, 8, 8), [0, 1])
    assert "has the shape (2,), but" in error_of(tmp_path) and "3 images" in error_of(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx_bytes(np.zeros((3, 1))))
    assert "has the shape (3, 1), but" in error_of(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    assert "has no labels" in error_of(tmp_path)
    write_idx(tmp_path, "train", noise(3, 8, 8), [0, 1, 1])
    write_idx(tmp_path, "t10k", noise(2, 8, 8), [1, 7])
    message = error_of(tmp_path)
    assert "t10k-images-idx3-ubyte row 1 has the label 7, which no training image" in message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is not an IDX file of unsigned bytes"),
        (b"\0\0\x08", "is not an IDX file"),
        (b"\0\0\x0d\x03" + bytes(12), "is not an IDX file"),  # floats
        (b"\0\0\x08\x05" + bytes(20), "is not an IDX file"),
        (b"\x89PNG\r\n", "is not an IDX file"),
        (struct.pack("<4I", 2051, 2, 8, 8) + bytes(128), "has its header in little-endian order"),
        (b"\0\0\x08\x03\0\0", "ends within its header"),
        (idx_bytes(noise(2, 8, 8, 2)), "images have (N, H, W)"),
        (idx_bytes(noise(2, 8)), "images have (N, H, W)"),
        (idx_bytes(noise(0, 8, 8)), "none of them 0"),
        (idx_bytes(noise(2, 8, 8))[:-1], "promises 2x8x8 bytes and holds only 127"),
        (idx_bytes(noise(2, 8, 8)) + b"\0", "promises 2x8x8 bytes and holds more"),
    ],
)
def test_damaged_files(tmp_path: Path, content: bytes, words: str) -> None:
    write_idx(tmp_path, "train", noise(2, 8, 8), [0, 1])
    file = tmp_path / "train-images-idx3-ubyte"
    file.write_bytes(content)
    assert error_of(tmp_path).startswith(f"{file} ") and words in error_of(tmp_path)
    file.unlink()
    file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(content))
    assert words in error_of(tmp_path)


def test_damaged_gzip(tmp_path: Path) -> None:
    write_idx(tmp_path, "train", noise(20, 8, 8), [0, 1] * 10, zipped=True)
    file = tmp_path / "train-images-idx3-ubyte.gz"
    whole = file.read_bytes()
    file.write_bytes(whole[:-12])
    assert "cannot be unzipped" in error_of(tmp_path)
    file.write_bytes(whole[:40] + bytes([whole[40] ^ 1]) + whole[41:])
    error_of(tmp_path)
    checksum = bytearray(whole)
    checksum[-8] ^= 1
    file.write_bytes(checksum)
    assert "cannot be read (CRC check failed" in error_of(tmp_path)


@pytest.mark.parametrize("zipped", [False, True])
def test_a_header_that_lies_takes_no_memory(tmp_path: Path, zipped: bool) -> None:
    write_idx(tmp_path, "train", noise(2, 8, 8), [0, 1])
    file = tmp_path / "train-images-idx3-ubyte"
    for shape, words in (
        ((30_000, 200, 200), "holds only 128"),
        ((2**32 - 1, 2**32 - 1, 2**32 - 1), "more than the" if zipped else "holds only 128"),
    ):
        head = struct.pack(">HBB3I", 0, 8, 3, *shape)
        content = head + bytes(128)
        file.write_bytes(gzip.compress(content) if zipped else content)
        tracemalloc.start()
        try:
            assert words in error_of(tmp_path)
            assert tracemalloc.get_traced_memory()[1] < 10_000_000
        finally:
            tracemalloc.stop()


def test_a_zip_bomb_is_not_unzipped(tmp_path: Path) -> None:
    write_idx(tmp_path, "train", noise(2, 8, 8), [0, 1])
    head = struct.pack(">HBB3I", 0, 8, 3, 2, 8, 8)
    bomb = gzip.compress(head + bytes(200_000_000), 1)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(bomb)
    tracemalloc.start()
    try:
        assert "promises 2x8x8 bytes and holds more" in error_of(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@settings(max_examples=50, deadline=None)
@given(
    pictures=st.tuples(
        st.integers(1, 5), st.integers(1, 9), st.integers(1, 9), st.sampled_from([0, 3])
    ),
    labels=st.lists(st.integers(0, 255), min_size=5, max_size=5),
    zipped=st.booleans(),
)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    pictures: tuple[int, ...],
    labels: list[int],
    zipped: bool,
) -> None:
    root = tmp_path_factory.mktemp("idx")
    pixels = noise(*(pictures if pictures[3] else pictures[:3]))
    write_idx(root, "train", pixels, labels[: len(pixels)], zipped=zipped)
    listing = list_idx(root)
    train = listing.splits["train"]
    assert np.array_equal(np.asarray(train.pictures), pixels)
    assert [int(listing.classes[label]) for label in train.labels] == labels[: len(pixels)]


@settings(max_examples=60, deadline=None)
@given(
    which=st.sampled_from(["images-idx3", "labels-idx1"]),
    zipped=st.booleans(),
    cut=st.integers(0, 300),
    flips=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255)), max_size=2),
)
def test_damage_gives_a_listing_or_an_input_error(
    tmp_path_factory: pytest.TempPathFactory,
    which: str,
    zipped: bool,
    cut: int,
    flips: list[tuple[int, int]],
) -> None:
    root = tmp_path_factory.mktemp("idx")
    write_idx(root, "train", noise(3, 8, 8), [0, 1, 2], zipped=zipped)
    file = root / f"train-{which}-ubyte{'.gz' if zipped else ''}"
    content = bytearray(file.read_bytes())
    for at, value in flips:
        content[at % len(content)] = value
    file.write_bytes(content[:cut])
    try:
        assert len(list_idx(root).splits["train"].labels) == 3
    except InputError as error:
        assert "\n" not in str(error)


@pytest.mark.skipif(not FASHION.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_fashion_mnist() -> None:
    listing = list_idx(FASHION)
    assert listing.classes == tuple("0123456789")
    assert {name: split.pictures.shape for name, split in listing.splits.items()} == {
        "train": (60_000, 28, 28),
        "test": (10_000, 28, 28),
    }
    assert torch.bincount(listing.splits["train"].labels).tolist() == [6000] * 10
    assert torch.bincount(listing.splits["test"].labels).tolist() == [1000] * 10
    # The published mean of the training pixels, 0.2860 of 255.
    pixels = np.asarray(listing.splits["train"].pictures)
    assert pixels.mean() / 255 == pytest.approx(0.2860, abs=5e-5)
    assert listing.splits["train"].labels[:4].tolist() == [9, 0, 0, 3]
