"""Which form a path has, and what is said of one that has none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ghostnet_small.data.formats.find import holds_data_set, list_root
from ghostnet_small.data.listing import Listing
from ghostnet_small.errors import InputError
from makers import make_folder, make_parquet
from written_forms import cifar_files, write_files, write_idx, write_tar

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
LABELS = [0, 1, 2, 0, 1, 2]
CIFAR = cifar_files("cifar-100-python", (PIXELS, LABELS), (PIXELS[:2], [0, 2]), ("a", "b", "c"))


def find(path: Path | str, label_column: str | None = None) -> Listing:
    return list_root(str(path), label_column, "data.root")


def error_of(path: Path | str, label_column: str | None = None) -> str:
    with pytest.raises(InputError) as caught:
        find(path, label_column)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def make(form: str, root: Path) -> Path:
    """A data set of this form, and the path to give."""
    if form == "parquet":
        return make_parquet(root, train=6, test=3, classes=("a", "b", "c"))
    if form == "folder":
        return make_folder(root, train=2, test=1, classes=("a", "b", "c"))
    if form == "idx":
        write_idx(root, "train", PIXELS, LABELS, zipped=True)
    elif form == "cifar":
        write_files(root, CIFAR)
    else:
        root.mkdir(parents=True)
        if form == "archive":
            return write_tar(root / "cifar-100-python.tar.gz", "cifar-100-python", CIFAR)
        np.savez(root / "set.npz", images=PIXELS, labels=LABELS)
        if form == "npz file":
            return root / "set.npz"
    return root


FORMS = ("parquet", "folder", "idx", "cifar", "archive", "npz", "npz file")


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_found(tmp_path: Path, form: str) -> None:
    path = make(form, tmp_path / "set")
    listing = find(path)
    assert len(listing.classes) == 3
    assert len(listing.splits["train"].labels) == 6
    if path.is_dir():
        assert holds_data_set(path)
    if form in ("folder", "idx", "npz", "npz file"):
        assert "has no columns; leave it out" in error_of(path, "label")
    else:
        assert "data.label_column 'kind' is not a label column" in error_of(path, "kind")


@pytest.mark.parametrize("form", [form for form in FORMS if form not in ("parquet", "npz file")])
def test_one_level_too_high(tmp_path: Path, form: str) -> None:
    path = make(form, tmp_path / "set" / "inner" if form != "archive" else tmp_path / "set")
    (tmp_path / "set" / "notes").mkdir()
    message = error_of(tmp_path / "set")
    assert f"holds no data set itself, but one lies in it; give {path}" in message


def test_a_data_set_two_folders_deeper(tmp_path: Path) -> None:
    """As torchvision keeps MNIST."""
    path = make("idx", tmp_path / "MNIST" / "raw")
    assert f"one lies in it; give {path}" in error_of(tmp_path)


def test_several_data_sets_below(tmp_path: Path) -> None:
    for name in ("one", "two"):
        make("idx", tmp_path / name)
    assert f"give {tmp_path / 'one'} or {tmp_path / 'two'}" in error_of(tmp_path)


def test_npz_files_beside_a_folder_of_pictures(tmp_path: Path) -> None:
    make("folder", tmp_path / "set")
    np.savez(tmp_path / "set" / "statistics.npz", mean=np.zeros(3))
    assert find(tmp_path / "set").classes == ("a", "b", "c")


def test_parquet_files_beside_a_folder_of_pictures(tmp_path: Path) -> None:
    root = make("folder", tmp_path / "set")
    for place in ("a.parquet", "vectors/b.parquet"):
        (root / place).parent.mkdir(exist_ok=True)
        (root / place).write_bytes(b"of another program")
        listing = find(root)
        assert listing.classes == ("a", "b", "c")
        assert f"passed over is {root / place}: move it out" in listing.remarks[0]
        (root / place).unlink()
    # A folder train/ with parquet files in it is Hugging Face's layout.
    made = make("parquet", tmp_path / "other")
    (made / "plain_text").rename(made / "train")
    (made / "train/assets").mkdir()
    assert find(made).classes == ("a", "b", "c")


def test_names_that_hold_backslashes(tmp_path: Path) -> None:
    (tmp_path / r"train\cat\0.png").touch()
    assert "unpack the archive again with a program that makes folders" in error_of(tmp_path)


def test_every_form_is_named_where_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    for path in (tmp_path / "nowhere", tmp_path, tmp_path / "a.txt"):
        message = error_of(path)
        assert repr(str(path)) in message
        for words in ("parquet", "idx3-ubyte", "CIFAR", ".npz", "train/<class>/*.png", ".tar.gz"):
            assert words in message
    (tmp_path / "empty").mkdir()
    assert "is an empty directory" in error_of(tmp_path / "empty")


@pytest.mark.parametrize("path", ["", "~nobody-of-this-name/set", "a\0b", "x" * 5000])
def test_paths_that_cannot_be(path: str) -> None:
    message = error_of(path)
    assert message.startswith(f"data.root {path!r} ")
    assert "does not exist" in message or "File name too long" in message


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (["ds/dataset_dict.json", "ds/train/state.json"], "load_from_disk({root}/ds').items()"),
        (["dataset_dict.json", "train/data-00000-of-00001.arrow"], "was written by save_to_disk"),
        (["state.json", "data-00000-of-00001.arrow"], "load_from_disk({root}').to_parquet("),
        (["stl10_binary/train_X.bin", "stl10_binary/class_names.txt"], "holds STL-10's binary"),
        (["train_32x32.mat"], "SVHN is --data.source svhn"),
        (["images.npy", "labels.npy"], "save them in one: np.savez('set.npz', x_train="),
        (["a/usps.bz2"], "holds files of another program (a/usps.bz2)"),
    ],
)
def test_forms_that_are_not_read(tmp_path: Path, files: list[str], words: str) -> None:
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    message = error_of(tmp_path)
    assert message.startswith(f"data.root {str(tmp_path)!r} ")
    assert "a form that is not read" in message
    assert words.replace("{root}", f"'{tmp_path}") in message


def test_arrays_beside_a_folder_of_pictures(tmp_path: Path) -> None:
    make("folder", tmp_path / "set")
    (tmp_path / "set" / "features.npy").touch()
    assert find(tmp_path / "set").classes == ("a", "b", "c")
    (tmp_path / "set" / "train").rename(tmp_path / "set" / "training")
    assert "has no training split" in error_of(tmp_path / "set")


def test_an_address(tmp_path: Path) -> None:
    message = error_of("https://example.org/cats")
    assert message.startswith("data.root 'https://example.org/cats' is an address; only files of")
    assert "--data.source OWNER/NAME" in message
