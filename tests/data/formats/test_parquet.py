"""Parquet files as strangers write them: which column is the label, and what its values mean."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image

from ghostnet_small.data.dataset import ImageData
from ghostnet_small.data.formats.parquet import has_parquet
from ghostnet_small.data.sources import DataSettings, load_data
from ghostnet_small.errors import InputError
from makers import class_label, make_folder, png_bytes, write_parquet

IMAGE = {"_type": "Image"}


def load(root: Path, **settings: Any) -> ImageData:
    return load_data(DataSettings(root=str(root), validation=0, cache="off", **settings))


def error_of(root: Path, **settings: Any) -> str:
    with pytest.raises(InputError) as caught:
        load(root, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def write(
    file: Path,
    labels: Any,
    names: Sequence[str] | None = None,
    *,
    column: str = "label",
    **more: Any,
) -> Path:
    """``file`` with a grey image, as bright as its row, for each label.

    ``names`` make the labels a ClassLabel.
    """
    images = [png_bytes(Image.new("L", (8, 8), row)) for row in range(len(labels))]
    features = None if names is None else {"img": IMAGE, column: class_label(names)}
    write_parquet(file, images, {column: labels, **more}, features)
    return file


def named(data: ImageData, split: str = "train") -> list[str]:
    """The class names of a split's images."""
    return [data.classes[label] for label in data.split(split).labels.tolist()]


# -- what the numbers of a file mean -----------------------------------------------------------


def test_files_that_number_the_same_classes_differently_are_mapped_by_name(tmp_path: Path) -> None:
    write(tmp_path / "train-0.parquet", [0, 1, 1], ["cat", "dog"])
    write(tmp_path / "train-1.parquet", [0, 0, 1], ["dog", "cat"])
    write(tmp_path / "test-0.parquet", [0, 1], ["dog", "cat"])
    data = load(tmp_path)
    assert data.classes == ("cat", "dog")
    assert named(data) == ["cat", "dog", "dog", "dog", "dog", "cat"]
    assert named(data, "test") == ["dog", "cat"]


def test_files_with_other_classes_are_refused_with_both_lists(tmp_path: Path) -> None:
    first = write(tmp_path / "train-0.parquet", [0, 1], ["cat", "dog"])
    second = write(tmp_path / "test-0.parquet", [0, 1], ["cat", "cow"])
    message = error_of(tmp_path)
    assert f"the classes of {second} are cat, cow, but those of {first} are cat, dog" in message
    assert "save all files with the same class names" in message


def test_text_and_numbers_beside_a_class_label_mean_its_names(tmp_path: Path) -> None:
    write(tmp_path / "train-0.parquet", [0, 1], ["dog", "cat"])
    write(tmp_path / "train-1.parquet", ["cat", "dog"])
    write(tmp_path / "test-0.parquet", [1, 1, 0])
    data = load(tmp_path)
    assert data.classes == ("dog", "cat")
    assert named(data) == ["dog", "cat", "cat", "dog"]
    assert named(data, "test") == ["cat", "cat", "dog"]


@pytest.mark.parametrize(
    ("card", "classes", "labels"),
    [
        (["Cat", "Dog"], ("Cat", "Dog"), ["Cat", "Dog"]),  # renamed: the numbers stay
        (["dog", "cat"], ("dog", "cat"), ["cat", "dog"]),  # another order: the file's own names
    ],
)
def test_class_names_of_the_card(
    tmp_path: Path, card: list[str], classes: tuple[str, ...], labels: list[str]
) -> None:
    write(tmp_path / "train.parquet", [0, 1], ["cat", "dog"])
    names = "".join(f"          '{number}': {name}\n" for number, name in enumerate(card))
    (tmp_path / "README.md").write_text(
        "---\ndataset_info:\n  features:\n  - name: img\n    dtype: image\n  - name: label\n"
        f"    dtype:\n      class_label:\n        names:\n{names}---\n"
    )
    data = load(tmp_path)
    assert (data.classes, named(data)) == (classes, labels)


def test_numbers_in_one_file_and_text_in_another_are_refused(tmp_path: Path) -> None:
    first = write(tmp_path / "train.parquet", [0, 1])
    second = write(tmp_path / "test.parquet", ["0", "1"])
    message = error_of(tmp_path)
    assert f"column label holds numbers in {first} and text in {second}" in message


def test_names_without_images_are_left_out_with_a_remark(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "train.parquet", [3, 1, 1, -1], ["bird", "cat", "cow", "dog"])
    write(tmp_path / "test.parquet", [3], ["bird", "cat", "cow", "dog"])
    with caplog.at_level(logging.WARNING):
        data = load(tmp_path, on_error="skip")
    assert data.classes == ("cat", "dog")
    assert (named(data), named(data, "test")) == (["dog", "cat", "cat"], ["dog"])
    assert "2 of 4 classes have no image and are left out: bird, cow" in caplog.text


# -- columns of other types --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        ([False, True, True], ("0", "1")),
        ([0.0, 1.0, 1.0], ("0", "1")),
        (pa.array(["cat", "dog", "dog"]).dictionary_encode(), ("cat", "dog")),
        (pa.array(["cat", "dog", "dog"], pa.large_string()), ("cat", "dog")),
        (pa.array([7, 9, 9], pa.uint8()), ("7", "9")),
    ],
)
def test_types_of_a_label_column(tmp_path: Path, values: Any, classes: tuple[str, ...]) -> None:
    write(tmp_path / "train.parquet", values)
    data = load(tmp_path)
    assert data.classes == classes
    assert data.train.labels.tolist() == [0, 1, 1]


def test_numbers_that_are_not_whole_and_gaps_among_them(tmp_path: Path) -> None:
    file = write(tmp_path / "train.parquet", [0.0, 1.0, 0.5])
    assert error_of(tmp_path).startswith(f"{file} row 2: label 0.5 is not a whole number")
    write(file, [0.0, 1.0, float("nan")])
    assert error_of(tmp_path).startswith(f"{file} row 2: label None is not one of")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([[1, 0], [0, 1]], "label (list of int64)"),
        ([{"a": 1}, {"a": 2}], "label (struct)"),
        (pa.array([0, 1], pa.timestamp("ms")), "label (timestamp[ms])"),
    ],
)
def test_a_column_that_cannot_be_the_label_is_named_with_its_type(
    tmp_path: Path, values: Any, words: str
) -> None:
    write(tmp_path / "train.parquet", values, number=[4, 5])
    message = error_of(tmp_path)
    # The column called label is meant, so that no other takes its place.
    assert f"has no label column: the columns beside the image are {words}, number" in message
    assert "--data.label_column number" in message
    assert load(tmp_path, label_column="number").classes == ("4", "5")
    assert "'label' is not a label column" in error_of(tmp_path, label_column="label")


# -- which column is the label -----------------------------------------------------------------


def test_what_was_taken_is_said(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", ["a", "b", "a"], column="kind", __index_level_0__=[2, 1, 0])
    origin = {"form": "parquet", "image_column": "img", "label_column": "kind"}
    assert load(tmp_path).origin == origin


def test_a_class_label_of_another_name_and_a_column_called_label(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", [0, 1], ["f", "m"], column="sex", label=["cat", "dog"])
    message = error_of(tmp_path)
    assert "has the ClassLabel sex and a column called label" in message
    assert "--data.label_column label" in message
    assert load(tmp_path, label_column="label").classes == ("cat", "dog")
    assert load(tmp_path, label_column="sex").classes == ("f", "m")
    # A ClassLabel that is called so itself goes before what is beside it.
    write(tmp_path / "train.parquet", [0, 1], ["a", "b"], label_text=["cat", "dog"])
    assert load(tmp_path).classes == ("a", "b")


def test_a_column_whose_values_all_differ_is_not_the_label(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", [5, 7, 6], column="id")
    message = error_of(tmp_path)
    assert "column id has a different value in each of the 3 training rows" in message
    assert load(tmp_path, label_column="id").classes == ("5", "6", "7")


# -- splits and files without rows or labels ---------------------------------------------------


@pytest.mark.parametrize("on_error", ["stop", "skip"])
@pytest.mark.parametrize(
    ("labels", "lacks"),
    [
        ([-1, -1], "labels"),
        (pa.array([None, None], pa.int64()), "labels"),
        (pa.array([None, None], pa.null()), "labels"),
        (pa.array([], pa.int64()), "rows"),
        (pa.array([], pa.null()), "rows"),
    ],
)
def test_a_split_without_labels_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, labels: Any, lacks: str, on_error: Any
) -> None:
    write(tmp_path / "train.parquet", [0, 1], ["a", "b"])
    write(tmp_path / "test.parquet", labels)
    with caplog.at_level(logging.WARNING):
        assert load(tmp_path, on_error=on_error).test is None
    assert f"the test split of {tmp_path} has no {lacks} and is left out" in caplog.text


def test_minus_one_that_training_has_is_a_label(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", [-1, 1, 1])
    write(tmp_path / "test.parquet", [-1, -1])
    assert named(load(tmp_path), "test") == ["-1", "-1"]


def test_a_shard_without_rows(tmp_path: Path) -> None:
    write(tmp_path / "train-0.parquet", pa.array([], pa.null()))
    write(tmp_path / "train-1.parquet", ["a", "b"])
    data = load(tmp_path)
    assert (named(data), data.train.images[:, 0, 0, 0].tolist()) == (["a", "b"], [0, 1])
    write(tmp_path / "train-1.parquet", pa.array([], pa.string()))
    assert "the training split of" in error_of(tmp_path) and "no rows" in error_of(tmp_path)


def test_skip_where_no_row_has_a_known_label(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", ["a", "b"])
    file = write(tmp_path / "test.parquet", ["c", "d"])
    message = error_of(tmp_path, on_error="skip")
    assert f"no row of the test split has a label that can be used: {file} row 0" in message


# -- files that lie in the way -----------------------------------------------------------------


def test_a_parquet_file_beside_a_folder_set(tmp_path: Path) -> None:
    make_folder(tmp_path, train=2, test=1)
    write(tmp_path / "embeddings/features.parquet", [0, 1])
    assert not has_parquet(tmp_path)
    assert load(tmp_path).classes == ("apple", "leaf", "plum")
    # Hugging Face's own layout may have a folder for each split.
    write(tmp_path / "set/train/0.parquet", ["a", "b"])
    assert has_parquet(tmp_path / "set") and load(tmp_path / "set").classes == ("a", "b")


def test_a_pointer_of_git_lfs(tmp_path: Path) -> None:
    file = tmp_path / "train.parquet"
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1234\n")
    assert error_of(tmp_path).startswith(f"{file} is a pointer of Git LFS")
