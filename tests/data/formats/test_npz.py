"""Data sets in .npz files: the names that are in use, and what a file may not do."""

from __future__ import annotations

import io
import os
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostnet_small.data.formats.npz import has_npz, list_npz
from ghostnet_small.data.sources import DataSettings, load_data
from ghostnet_small.errors import InputError


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def error_of(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        list_npz(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


TRAIN, TEST = noise(6, 9, 8), noise(6, 9, 8)[3:]
TRAIN_LABELS, TEST_LABELS = [0, 1, 2, 0, 1, 2], [2, 2, 0]


def arrays(images: str, labels: str, train: str = "train", test: str = "test") -> dict[str, Any]:
    """The two splits under these names; ``*`` stands for the split's."""
    return {
        images.replace("*", train): TRAIN,
        labels.replace("*", train): np.array(TRAIN_LABELS),
        images.replace("*", test): TEST,
        labels.replace("*", test): np.array(TEST_LABELS),
    }


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("images", "labels"),
    [("x_*", "y_*"), ("*_images", "*_labels"), ("X_*", "y_*"), ("*_x", "*_y")],
)
def test_names_in_one_file(tmp_path: Path, images: str, labels: str, compressed: bool) -> None:
    file = tmp_path / "set.npz"
    save = np.savez_compressed if compressed else np.savez
    save(file, other=np.zeros(3), **arrays(images, labels))
    assert has_npz(tmp_path)
    for path in (file, tmp_path):
        listing = list_npz(path)
        assert listing.classes == ("0", "1", "2")
        train, test = listing.splits["train"], listing.splits["test"]
        assert np.array_equal(np.asarray(train.pictures), TRAIN)
        assert np.array_equal(np.asarray(test.pictures), TEST)
        assert (train.labels.tolist(), test.labels.tolist()) == (TRAIN_LABELS, TEST_LABELS)
        assert "row 2" in test.names[2]
        assert isinstance(train.pictures, np.memmap) is not compressed
        data = load_data(DataSettings(root=str(path), validation=0))
        assert torch.equal(data.train.images, torch.from_numpy(TRAIN[:, None]))


def test_validation_split_and_column_of_labels(tmp_path: Path) -> None:
    named = arrays("*_images", "*_labels", test="val")
    labels = {
        key: value[:, None].astype(np.uint8) for key, value in named.items() if "labels" in key
    }
    np.savez_compressed(tmp_path / "pathmnist.npz", **(named | labels))
    listing = list_npz(tmp_path)
    assert set(listing.splits) == {"train", "validation"}
    assert listing.splits["validation"].labels.tolist() == TEST_LABELS


def test_a_file_for_each_split(tmp_path: Path) -> None:
    np.savez(tmp_path / "train.npz", images=TRAIN, labels=np.array(TRAIN_LABELS))
    np.savez(tmp_path / "valid.npz", x=TEST, y=np.array(TEST_LABELS))
    listing = list_npz(tmp_path)
    assert set(listing.splits) == {"train", "validation"}
    assert listing.splits["validation"].labels.tolist() == TEST_LABELS
    # One of the files alone is a set without test pictures.
    assert set(list_npz(tmp_path / "train.npz").splits) == {"train"}
    (tmp_path / "train.npz").unlink()
    # Enough to evaluate on; ``load_data`` refuses it.
    assert set(list_npz(tmp_path).splits) == {"validation"}


@pytest.mark.parametrize("shape", [(6, 9, 8, 1), (6, 9, 8, 3)])
def test_channels(tmp_path: Path, shape: tuple[int, ...]) -> None:
    pixels = noise(*shape)
    np.savez(tmp_path / "a.npz", images=np.asfortranarray(pixels), labels=TRAIN_LABELS)
    found = np.asarray(list_npz(tmp_path).splits["train"].pictures)
    assert np.array_equal(found, pixels[..., 0] if shape[3] == 1 else pixels)


@pytest.mark.parametrize("kind", [">i8", "<u2", "i1", "U", "S", ">U9"])
def test_labels_of_every_kind(tmp_path: Path, kind: str) -> None:
    values = np.array([7, 5, 5, 7, 9, 7]).astype(kind)
    np.savez(tmp_path / "a.npz", images=TRAIN, labels=values)
    listing = list_npz(tmp_path)
    assert listing.classes == ("5", "7", "9")
    assert listing.splits["train"].labels.tolist() == [1, 0, 0, 1, 2, 1]


def test_class_names(tmp_path: Path) -> None:
    file, names = tmp_path / "a.npz", ["pear", "fig", "plum"]
    np.savez(file, images=TRAIN, labels=TRAIN_LABELS, classes=names)
    assert list_npz(file).classes == tuple(names)
    text = np.array(names)[TRAIN_LABELS]
    np.savez(file, images=TRAIN, labels=text, class_names=names)
    assert list_npz(file).splits["train"].labels.tolist() == TRAIN_LABELS
    np.savez(file, images=TRAIN, labels=text)
    assert list_npz(file).classes == ("fig", "pear", "plum")
    np.savez(file, images=TRAIN, labels=TRAIN_LABELS, classes=names[:2])
    assert "has the label '2', but its 2 classes are pear, fig" in error_of(file)
    np.savez(file, images=TRAIN, labels=text, classes=["pear", "fig", "kiwi"])
    assert "has the label 'plum', but its 3 classes" in error_of(file)
    np.savez(file, images=TRAIN, labels=TRAIN_LABELS, classes=["a", "a", "b"])
    assert "does not list distinct, readable class names" in error_of(file)
    np.savez(file, images=TRAIN, labels=TRAIN_LABELS, classes=[1, 2, 3])
    assert "class names are text" in error_of(file)
    np.savez(file, images=TRAIN, labels=np.array([b"\xff", b"a"] * 3))
    assert "is not UTF-8 text" in error_of(file)
    np.savez(file, images=TRAIN, labels=np.array(["\x1b[0m", "a"] * 3))
    assert "does not list distinct, readable class names" in error_of(file)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"x_train": noise(6, 72)}, "has the shape (6, 72); images have"),
        ({"x_train": noise(0, 9, 8), "y_train": []}, "none of them 0"),
        ({"y_train": TRAIN_LABELS[:5]}, "y_train holds int64 of shape (5,); the labels of x_train"),
        ({"y_train": np.eye(6, dtype=int)}, "of shape (6, 6); the labels of x_train are integers"),
        ({"y_train": np.zeros(6)}, "y_train holds float64 of shape (6,)"),
        ({"y_test": [2, 2, 8]}, "x_test row 2 has the label 8, which no training image has"),
        ({"y_test": ["a", "b", "a"]}, "labels of several kinds"),
        ({"y_train": None}, "which are not images and labels of its train split"),
        ({"x_valid": TEST, "y_valid": TEST_LABELS, "x_val": TEST, "y_val": [0]}, "has both"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    file = tmp_path / "a.npz"
    wanted = arrays("x_*", "y_*") | changes
    np.savez(file, **{key: value for key, value in wanted.items() if value is not None})
    assert words in error_of(file)


SQUARE = noise(6, 9, 9, 3)


@pytest.mark.parametrize(
    ("save", "cure"),
    [
        (lambda x: x / 255, "(x * 255).round().astype('uint8')"),
        (lambda x: x / 127.5 - 1, "((x + 1) * 127.5).round().astype('uint8')"),
        (lambda x: x.astype("float32"), "x.round().astype('uint8')"),
        (lambda x: x.astype(int), "x.astype('uint8')"),
        (lambda x: x.astype("uint16") * 16, "(x // 16).astype('uint8')"),
        (lambda x: x.astype(">u2") * 257, "(x // 257).astype('uint8')"),
        (lambda x: x.transpose(0, 3, 1, 2), "x.transpose(0, 2, 3, 1)"),
        (lambda x: x.transpose(1, 2, 3, 0), "x.transpose(3, 0, 1, 2)"),
        (lambda x: x.transpose(1, 2, 0, 3), "x.transpose(2, 0, 1, 3)"),
        (lambda x: x.reshape(6, -1), "x.reshape(-1, 9, 9, 3)"),
        (lambda x: np.concatenate([x, x[..., :1]], 3), "x[..., :3]"),
    ],
)
def test_the_cure_of_an_array_makes_the_images_of_it(
    tmp_path: Path, save: Callable[[np.ndarray], np.ndarray], cure: str
) -> None:
    saved = save(SQUARE)
    np.savez(tmp_path / "a.npz", x_train=saved, y_train=TRAIN_LABELS)
    assert error_of(tmp_path / "a.npz").endswith(f": save {cure}")
    assert np.array_equal(eval(cure, {"x": saved}), SQUARE)


@pytest.mark.parametrize(
    ("labels", "cure"),
    [
        (np.eye(6, dtype=np.uint8), "y.argmax(1)"),
        (np.ones((6, 3), int), "one column, such as y[:, 0]; several labels for an image are not"),
        (np.array([0.0, 1, 2, 0, 1, 2]), "y.astype('int64')"),
        (np.array([0.5, 1, 2, 0, 1, 2]), "whole numbers; measured values are not classes"),
    ],
)
def test_the_cure_of_labels(tmp_path: Path, labels: np.ndarray, cure: str) -> None:
    np.savez(tmp_path / "a.npz", x_train=SQUARE, y_train=labels)
    assert f": save {cure}" in error_of(tmp_path / "a.npz")


def test_black_and_white_and_volumes(tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    np.savez(file, x_train=SQUARE > 100, y_train=TRAIN_LABELS)
    assert error_of(file).endswith(
        "holds bool from 0 to 1; images are uint8, 0 to 255: save x.astype('uint8') * 255"
    )
    np.savez(file, x_train=noise(6, 9, 9, 9), y_train=TRAIN_LABELS)
    assert "volumes are not read" in error_of(file)


def test_arrays_in_files_of_their_own(tmp_path: Path) -> None:
    """As KMNIST is published."""
    np.savez(tmp_path / "kmnist-train-imgs.npz", TRAIN)
    np.savez(tmp_path / "kmnist-train-labels.npz", TRAIN_LABELS)
    message = error_of(tmp_path)
    assert "kmnist-train-imgs.npz, kmnist-train-labels.npz), a form that is not read" in message
    assert "np.savez('train.npz', images=" in message


def test_names_without_images_are_left_out_with_a_remark(tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    np.savez(file, images=TRAIN, labels=[3, 1, 1, 3, 1, 1], classes=["bird", "cat", "cow", "dog"])
    listing = list_npz(file)
    assert listing.classes == ("cat", "dog")
    assert listing.splits["train"].labels.tolist() == [1, 0, 0, 1, 0, 0]
    assert "2 of 4 classes have no image and are left out: bird, cow" in listing.remarks[0]


def test_several_files_and_no_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=TRAIN, labels=TRAIN_LABELS)
    np.savez(tmp_path / "b.npz", a=1)
    assert "holds several data sets: a.npz, b.npz; give one" in error_of(tmp_path)
    assert "has the arrays a, which are not" in error_of(tmp_path / "b.npz")


class Runs:
    """Makes a folder where it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    np.savez(file, images=TRAIN, labels=np.array([Runs(tmp_path / "ran")] * 6, dtype=object))
    assert "not a plain array: objects, which would have to be unpickled" in error_of(file)
    assert not (tmp_path / "ran").exists()
    np.load(file, allow_pickle=True)["labels"]
    assert (tmp_path / "ran").exists()  # the file does what this test is about


def member(header: bytes, values: bytes = b"") -> bytes:
    """An array's file, by the text of its header."""
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + values


def write_zip(file: Path, images: bytes, kind: int = zipfile.ZIP_STORED) -> None:
    labels = io.BytesIO()
    np.save(labels, np.array([0, 1]))
    with zipfile.ZipFile(file, "w", kind) as archive:
        archive.writestr("images.npy", images)
        archive.writestr("labels.npy", labels.getvalue())


def plain(shape: str = "2, 8, 8", descr: str = "'|u1'") -> bytes:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': ({shape}), }}\n".encode()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (member(plain(), bytes(127)), "(2, 8, 8), which is 128 bytes of uint8, but 127 are there"),
        (member(plain(), bytes(129)), "which is 128 bytes of uint8, but 129 are there"),
        (member(plain("2, 999999999999, 8")), "but 0 are there"),
        (member(plain("2, 9999999999999999999, 8")), "unknown dtype or shape"),
        (member(plain("2, 8, 8, 1, 1, 1, 1, 1, 1")), "unknown dtype or shape"),
        (member(plain(descr="'|u7'")), "unknown dtype or shape"),
        (member(plain(descr="'|U0'")), "unknown dtype or shape"),
        (member(plain(descr="[('a', '|u1')]")), "not a plain array"),
        (member(plain("__import__('os').mkdir('ran'),")), "not a plain array"),
        (member(b"(" * 9000), "not a plain array"),
        (member(plain())[:-9], "not a plain array"),
        (b"\x93NUMPY\x09\x00" + bytes(50), "not a numpy array"),
        (b"", "not a numpy array"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff", "not a plain array"),
    ],
)
def test_headers_that_lie(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "a.npz"
    for kind in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        write_zip(file, content, kind)
        tracemalloc.start()
        try:
            assert words in error_of(file)
            assert tracemalloc.get_traced_memory()[1] < 10_000_000
        finally:
            tracemalloc.stop()


def test_headers_of_other_writers(tmp_path: Path) -> None:
    """Python 2's long integers, no spaces, the second version of the format."""
    values = noise(2, 8, 8)
    for content in (
        member(plain("2L, 8L, 8L"), values.tobytes()),
        member(plain().replace(b" ", b""), values.tobytes()),
        member(plain(), values.tobytes()).replace(
            b"\1\0" + struct.pack("<H", len(plain())), b"\2\0" + struct.pack("<I", len(plain()))
        ),
    ):
        write_zip(tmp_path / "a.npz", content)
        found = list_npz(tmp_path).splits["train"].pictures
        assert np.array_equal(np.asarray(found), values)


def test_compression_that_cannot_be_bounded(tmp_path: Path) -> None:
    for kind in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        write_zip(tmp_path / "a.npz", member(plain(), bytes(128)), kind)
        assert "in a way that cannot be bounded" in error_of(tmp_path)


def test_a_zip_bomb_is_not_unzipped(tmp_path: Path) -> None:
    """First headers that say so, then such as promise little: zeros unzip to 200 MB in both."""
    file = tmp_path / "a.npz"
    for shape, promised in (("2, 1000000, 1000000", 200_000_000), ("2, 1000, 1000", 2_000_000)):
        header = plain(shape)
        write_zip(file, member(header, bytes(200_000_000)), zipfile.ZIP_DEFLATED)
        # The size stands before the content and in the list at the end.
        old, new = (
            struct.pack("<I", len(member(header)) + size) for size in (200_000_000, promised)
        )
        content = file.read_bytes()
        assert content.count(old) == 2
        file.write_bytes(content.replace(old, new))
        tracemalloc.start()
        try:
            error_of(file)
            assert tracemalloc.get_traced_memory()[1] < 20_000_000
        finally:
            tracemalloc.stop()


def test_more_than_is_held_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ghostnet_small.data.formats.unzipped.MOST_UNZIPPED", 3000)
    values = {"images": noise(20, 9, 9), "labels": np.arange(20) % 2}
    np.savez_compressed(tmp_path / "a.npz", **values)
    assert "save it with np.savez, which does not compress" in error_of(tmp_path)
    np.savez(tmp_path / "a.npz", **values)
    assert len(list_npz(tmp_path).splits["train"].names) == 20
    monkeypatch.setattr("ghostnet_small.data.formats.unzipped.MOST_UNZIPPED", 1000)
    assert "labels takes 640 bytes unzipped" in error_of(tmp_path)  # integers are not mapped


def test_a_flipped_bit_is_found(tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    for save in (np.savez, np.savez_compressed):
        save(file, images=noise(20, 9, 9), labels=np.arange(20) % 2)
        content = bytearray(file.read_bytes())
        content[1000] ^= 1
        file.write_bytes(content)
        assert f"{file} is not a readable .npz file" in error_of(file)


def test_no_zip_file(tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    for content in (b"", b"hello", b"PK\x03\x04" + bytes(100)):
        file.write_bytes(content)
        assert "is not a readable .npz file (File is not a zip file)" in error_of(file)


@settings(max_examples=50, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 6)] * 3, st.sampled_from([0, 1, 3])),
    labels=st.lists(st.integers(-(2**40), 2**40) | st.integers(0, 3), min_size=6, max_size=6),
    text=st.booleans(),
    compressed=st.booleans(),
)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    shape: tuple[int, ...],
    labels: list[int],
    text: bool,
    compressed: bool,
) -> None:
    file = tmp_path_factory.mktemp("npz") / "a.npz"
    pixels = noise(*(shape if shape[3] else shape[:3]))
    values = np.array(labels[: len(pixels)])
    save = np.savez_compressed if compressed else np.savez
    save(file, images=pixels, labels=values.astype("U") if text else values)
    listing = list_npz(file)
    train = listing.splits["train"]
    assert np.array_equal(np.asarray(train.pictures).reshape(pixels.shape), pixels)
    assert [int(listing.classes[label]) for label in train.labels] == values.tolist()


@settings(max_examples=100, deadline=None)
@given(data=st.data(), compressed=st.booleans(), text=st.booleans())
def test_damage_gives_a_listing_or_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, compressed: bool, text: bool
) -> None:
    file = tmp_path_factory.mktemp("npz") / "a.npz"
    labels = np.array([0, 1, 0])
    save = np.savez_compressed if compressed else np.savez
    save(file, images=noise(3, 8, 8), labels=labels.astype("U") if text else labels)
    content = bytearray(file.read_bytes())
    at = st.integers(0, len(content) - 1)
    for place in data.draw(st.lists(at, max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del content[data.draw(at) :]
    file.write_bytes(content)
    try:
        assert len(list_npz(file).splits["train"].labels) == 3
    except InputError as error:
        assert "\n" not in str(error)
