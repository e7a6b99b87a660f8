"""Folders of images as strangers have them: what is read, what is refused, and what is said."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from cache_kit import load_set
from ghostnet_small.data.formats.folder import list_folder
from ghostnet_small.errors import InputError
from makers import make_folder


def error_of(root: Path) -> str:
    with pytest.raises(InputError) as caught:
        list_folder(root)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_lies_beside_classes_and_splits_is_told(tmp_path: Path) -> None:
    make_folder(tmp_path, train=2, test=1, classes=("a", "b"))
    image = tmp_path / "train/a/000.png"
    for number in range(3):
        shutil.copy(image, tmp_path / f"train/{number}.png")
    for junk in ("__MACOSX/._a", "train/__MACOSX/._a"):
        (tmp_path / junk).parent.mkdir()
        (tmp_path / junk).touch()
    (tmp_path / "train/labels.csv").touch()
    (tmp_path / "notes").mkdir()
    (tmp_path / "dev/a").mkdir(parents=True)
    shutil.copy(image, tmp_path / "dev/a/0.png")
    listing = list_folder(tmp_path)
    assert listing.classes == ("a", "b")
    assert listing.remarks == (
        f"passed over in {tmp_path}: the folders dev, which are not splits; those are called "
        "train, validation (or valid, val) and test",
        f"passed over in {tmp_path / 'train'}: 3 .png outside of class folders; images need an "
        "ending such as .png or .jpg",
    )


def test_a_link_to_a_folder_is_read(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "set", train=2, test=1, classes=("a", "b"))
    more = make_folder(tmp_path / "more", train=3, test=1, classes=("a", "b"))
    (root / "train/a/more").symlink_to(more / "train/a")
    assert list_folder(root).splits["train"].labels.tolist() == [0, 0, 0, 0, 0, 1, 1]


def test_a_link_to_nothing_is_refused_or_left_out(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "set", train=3, test=1, classes=("a", "b"))
    link = root / "train/a/0.png"
    link.symlink_to("/gone/0.png")
    said = f"{link} is a link to /gone/0.png, which is not there; correct or remove it"
    with pytest.raises(InputError) as caught:
        load_set(root, validation=0)
    assert str(caught.value) == said
    data = load_set(root, validation=0, on_error="skip")
    assert data.skipped == (said,)
    assert data.left_out == f"left out 1 of 9 images, such as: {said}"
    assert data.train.index.tolist() == [0, 1, 2, 3, 4, 5]
    for gone in ("train/c", "val"):
        link.unlink()
        link = root / gone
        link.symlink_to("/gone/c")
        assert (
            error_of(root)
            == f"{link} is a link to /gone/c, which is not there; correct or remove it"
        )


def test_normal_forms_of_a_name_are_one_class(tmp_path: Path) -> None:
    make_folder(tmp_path, train=2, test=1, classes=("caf\u00e9", "tea"))
    (tmp_path / "test/caf\u00e9").rename(tmp_path / "test/cafe\u0301")
    listing = list_folder(tmp_path)
    assert listing.classes == ("caf\u00e9", "tea")
    assert listing.splits["test"].labels.tolist() == [0, 1]
    (tmp_path / "test/tea").rename(tmp_path / "test/Tea ")
    assert "does not have; 'Tea ' looks like 'tea'; that has 2 classes" in error_of(tmp_path)


def test_classes_one_folder_deeper(tmp_path: Path) -> None:
    inner, root = make_folder(tmp_path / "x", train=1, test=1), tmp_path / "set"
    for split in ("test", "train"):
        (root / split).mkdir(parents=True)
        (inner / split).rename(root / split / split)
    assert error_of(root) == (
        f"the classes of {root / 'train'} lie one folder deeper, in {root / 'train/train'}: "
        f"3 classes (apple, leaf, plum); move them to {root / 'train/<class>'}"
    )


def test_classes_without_a_split(tmp_path: Path) -> None:
    root = make_folder(tmp_path, train=1, test=0, classes=("cat", "dog")) / "train"
    assert error_of(root).endswith(
        f"2 classes (cat, dog); where they are the classes: mkdir {root}/train && mv {root}/cat "
        f"{root}/dog {root}/train"
    )
    (root / "dog").rename(root / "Training")
    assert "name the splits train, validation" in error_of(root)


def tiny_imagenet(root: Path) -> Path:
    """The layout of the archive: two classes, two images of validation, one of test."""
    for place in ("train/n1/images/n1_0", "train/n2/images/n2_0", "val/images/val_0"):
        file = root / f"{place}.JPEG"
        file.parent.mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(file, "JPEG")
    shutil.copytree(root / "val", root / "test")
    shutil.copy(root / "val/images/val_0.JPEG", root / "val/images/val_1.JPEG")
    (root / "val/val_annotations.txt").write_text(
        "val_0.JPEG\tn2\t0\t0\t7\t7\nval_1.JPEG\tn1\t0\t0\t7\t7\n"
    )
    (root / "wnids.txt").write_text("n1\nn2\n")
    return root


def test_tiny_imagenet_as_it_is_published(tmp_path: Path) -> None:
    root = tiny_imagenet(tmp_path)
    listing = list_folder(root)
    assert listing.classes == ("n1", "n2")
    assert sorted(listing.splits) == ["train", "validation"]
    validation = listing.splits["validation"]
    assert validation.labels.tolist() == [0, 1]
    assert [Path(name).name for name in validation.names] == ["val_1.JPEG", "val_0.JPEG"]
    assert listing.remarks == (
        f"the test split is left out: its images in {root / 'test'} lie in no class folders and "
        "have no labels",
    )
    file = root / "val/val_annotations.txt"
    file.write_text("val_0.JPEG\tn2\nval_7.JPEG\tn1\n")
    assert "names 1 images that are not in" in error_of(root)
    file.write_text("val_0.JPEG\tn3\n")
    assert "val_annotations.txt line 1 names no class of the training split" in error_of(root)
    file.write_text("val_0.JPEG\tn2\n")
    assert "1 without a label in val_annotations.txt" in list_folder(root).remarks[-1]
