"""Whole data sets from each source, the cuts, and each error a user can make."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from pyarrow import parquet

from ghostnet_small.data.dataset import Fit, ImageData
from ghostnet_small.data.formats.parquet_rows import ParquetPictures
from ghostnet_small.data.listing import FileRowNames
from ghostnet_small.data.sources import DataSettings, OneSplit, load_data, load_split
from ghostnet_small.errors import InputError
from makers import class_label, make_folder, make_parquet, make_picture, png_bytes, write_parquet

IMAGE = {"_type": "Image"}


def load(root: Path | None = None, **settings: Any) -> ImageData:
    return load_data(DataSettings(root=None if root is None else str(root), **settings))


def error_of(root: Path | None = None, **settings: Any) -> str:
    with pytest.raises(InputError) as caught:
        load(root, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def flat(value: int, size: int = 8) -> bytes:
    return png_bytes(Image.new("L", (size, size), value))


def tree(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


# -- the three sources -------------------------------------------------------------------------


def test_digits() -> None:
    from sklearn.datasets import load_digits

    data = load()
    assert data.classes == tuple("0123456789")
    assert data.validation is not None and data.test is not None
    assert (len(data.train), len(data.validation), len(data.test)) == (1294, 144, 359)
    assert data.train.images.shape == (1294, 1, 8, 8)
    assert data.train.images.max() == 255
    # Every picture is in one split, with its own label: 8 / 16 is 127.5, rounded to 128.
    expected = sorted(
        (np.round(picture * 255 / 16).astype(np.uint8).tobytes(), int(label))
        for picture, label in zip(*load_digits(return_X_y=True), strict=True)
    )
    assert expected == sorted(
        (image.numpy().tobytes(), int(label))
        for split in (data.train, data.validation, data.test)
        for image, label in zip(split.images, split.labels, strict=True)
    )


def test_digits_test_split_is_fixed() -> None:
    one, other = load(split_seed=0), load(split_seed=1)
    assert one.test is not None and other.test is not None
    assert one.test.digest() == other.test.digest()
    assert one.train.digest() != other.train.digest()


def test_parquet(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    make_parquet(tmp_path / "set", train=40, test=20, shards=3)
    before = tree(tmp_path)
    data = load(tmp_path / "set", validation=0.25)
    assert tree(tmp_path) == before  # nothing is left in the user's directory
    assert capfd.readouterr().out == ""
    assert data.classes[0] == "airplane" and data.classes[9] == "truck"
    assert data.validation is not None and data.test is not None
    assert torch.bincount(data.train.labels).tolist() == [3] * 10
    assert torch.bincount(data.validation.labels).tolist() == [1] * 10
    assert data.test.index.tolist() == list(range(20))
    # The same rows, in the file's order, whether or not some are held out.
    whole = load(tmp_path / "set", validation=0)
    for part in (data.train, data.validation):
        assert torch.equal(part.images, whole.train.images[part.index])
        assert torch.equal(part.labels, whole.train.labels[part.index])


def test_parquet_pixels_are_those_of_the_files(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    pictures = [make_picture(k, 2, size=9, random=random) for k in (0, 1)]
    contents = [png_bytes(picture) for picture in pictures]
    # No metadata, no split in the name, labels that are strings: still a data set.
    write_parquet(tmp_path / "all.parquet", contents, {"kind": ["pear", "fig"]}, None)
    data = load(tmp_path, validation=0)
    assert data.classes == ("fig", "pear")
    assert data.train.labels.tolist() == [1, 0]
    assert data.test is None and data.validation is None
    expected = torch.stack([torch.from_numpy(np.array(p)).permute(2, 0, 1) for p in pictures])
    assert torch.equal(data.train.images, expected)


def test_parquet_integer_labels(tmp_path: Path) -> None:
    write_parquet(
        tmp_path / "train.parquet", [flat(0)] * 3, {"id": [7, 8, 9], "label": [0, 2, 1]}, None
    )
    data = load(tmp_path, validation=0)
    assert data.classes == ("0", "1", "2")
    assert data.train.labels.tolist() == [0, 2, 1]


def test_parquet_brings_its_own_validation(tmp_path: Path) -> None:
    data = load(make_parquet(tmp_path, train=20, test=0, validation=10), validation=0.5)
    assert len(data.train) == 20
    assert data.validation is not None and len(data.validation) == 10


def test_parquet_label_column(tmp_path: Path) -> None:
    features = {
        "img": IMAGE,
        "fine_label": class_label(["cat", "dog", "oak"]),
        "coarse_label": class_label(["animal", "plant"]),
    }
    columns = {"fine_label": [0, 1, 2], "coarse_label": [0, 0, 1]}
    write_parquet(tmp_path / "train-00000-of-00001.parquet", [flat(0)] * 3, columns, features)
    data = load(tmp_path, validation=0, label_column="coarse_label")
    assert data.classes == ("animal", "plant")
    assert data.train.labels.tolist() == [0, 0, 1]
    message = error_of(tmp_path)
    assert "several label columns: fine_label, coarse_label" in message
    assert "--data.label_column" in message
    message = error_of(tmp_path, label_column="colour")
    assert "'colour'" in message and "it has fine_label, coarse_label" in message


@pytest.mark.parametrize("extension", ["png", "jpg", "bmp", "webp"])
def test_folder(tmp_path: Path, extension: str) -> None:
    make_folder(tmp_path, train=3, test=2, validation=1, extension=extension)
    (tmp_path / "train/apple/notes.txt").write_text("not a picture")
    (tmp_path / "train/.cache").mkdir()
    data = load(tmp_path)
    assert data.classes == ("apple", "leaf", "plum")
    assert data.train.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert data.validation is not None and data.validation.labels.tolist() == [0, 1, 2]
    assert data.test is not None and len(data.test) == 6
    # Apples are red: the first channel is the strongest.
    assert data.train.images[0].float().mean(dim=(1, 2)).argmax() == 0


def test_folder_without_test_and_by_source(tmp_path: Path) -> None:
    make_folder(tmp_path, train=4, test=0)
    data = load(source=str(tmp_path), validation=0.25)
    assert data.test is None
    assert data.validation is not None and data.validation.labels.tolist() == [0, 1, 2]


def test_root_overrides_source(tmp_path: Path) -> None:
    make_folder(tmp_path)
    assert load(tmp_path, source="digits").classes == ("apple", "leaf", "plum")


# -- shape, colour, statistics -----------------------------------------------------------------


def test_grey_set_has_one_channel_and_one_coloured_picture_makes_three(tmp_path: Path) -> None:
    make_folder(tmp_path, train=2, test=1, grey=True)
    grey = load(tmp_path, validation=0)
    assert grey.channels == 1
    Image.new("RGB", (16, 16), (9, 0, 0)).save(tmp_path / "test/plum/000.png")
    colour = load(tmp_path, validation=0)
    assert colour.channels == 3 and colour.test is not None
    assert torch.equal(colour.train.images, grey.train.images.expand(-1, 3, -1, -1))
    assert load(tmp_path, validation=0, channels=1).channels == 1


def test_mixed_sizes(tmp_path: Path) -> None:
    make_folder(tmp_path, train=2, test=1)
    odd = tmp_path / "train/leaf/000.png"
    Image.new("RGB", (20, 10)).save(odd)
    message = error_of(tmp_path)
    assert "000.png is 16x16" in message and f"{odd} is 20x10" in message
    assert "--data.size" in message
    assert load(tmp_path, size=12).size == (12, 12)


def test_too_small(tmp_path: Path) -> None:
    make_folder(tmp_path, size=7)
    message = error_of(tmp_path)
    assert "7x7" in message and "8x8" in message and "--data.size 8" in message
    assert load(tmp_path, size=8).size == (8, 8)


def flat_set(root: Path) -> Path:
    """Two grey classes, two pictures each: values 0, 51, 102, 255."""
    columns = {"label": [0, 1, 0, 1]}
    features = {"img": IMAGE, "label": class_label(["a", "b"])}
    contents = [flat(value) for value in (0, 51, 102, 255)]
    write_parquet(root / "train.parquet", contents, columns, features)
    return root


def test_mean_and_std(tmp_path: Path) -> None:
    data = load(flat_set(tmp_path), validation=0)
    # In units of 51: 0, 1, 2, 5 have mean 2 and variance (4 + 1 + 0 + 9) / 4 = 3.5.
    assert data.mean == pytest.approx([0.4], rel=1e-15)
    assert data.std == pytest.approx([3.5**0.5 / 5], rel=1e-15)


def test_mean_and_std_are_of_what_is_left_for_training(tmp_path: Path) -> None:
    data = load(flat_set(tmp_path), validation=0.5)
    assert len(data.train) == 2
    values = data.train.images[:, 0, 0, 0].double() / 255
    assert data.mean == pytest.approx([values.mean().item()], rel=1e-15)
    assert data.std == pytest.approx([values.std(correction=0).item()], rel=1e-14)


def test_mean_and_std_given(tmp_path: Path) -> None:
    data = load(flat_set(tmp_path), validation=0, mean=(0.5,), std=(0.25,))
    assert (data.mean, data.std) == ((0.5,), (0.25,))
    message = error_of(tmp_path, validation=0, mean=(0.1, 0.2, 0.3))
    assert "data.mean" in message and "1 channels; give 1" in message


def test_a_constant_channel_has_the_std_of_one_grey_step(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", [flat(9)] * 2, {"label": [0, 1]}, None)
    assert load(tmp_path, validation=0).std == (1 / 255,)


# -- cuts and the fingerprint ------------------------------------------------------------------


def test_limit_is_taken_before_validation_and_keeps_source_rows(tmp_path: Path) -> None:
    make_parquet(tmp_path, train=100, test=10)
    data = load(tmp_path, limit=40, validation=0.25)
    assert data.validation is not None and data.test is not None
    assert torch.bincount(data.train.labels).tolist() == [3] * 10
    assert torch.bincount(data.validation.labels).tolist() == [1] * 10
    assert len(data.test) == 10
    rows = [*data.train.index.tolist(), *data.validation.index.tolist()]
    assert len(set(rows)) == 40 and max(rows) < 100
    whole = load(tmp_path, validation=0)
    assert torch.equal(data.train.images, whole.train.images[data.train.index])


def test_fingerprint_changes_with_any_part(tmp_path: Path) -> None:
    settings = DataSettings(root=str(flat_set(tmp_path / "set")), validation=0.5)
    first = load_data(settings)
    assert load_data(settings).fingerprint == first.fingerprint
    prints = {
        first.fingerprint,
        load_data(replace(settings, validation=0)).fingerprint,
        load_data(replace(settings, size=9)).fingerprint,
    }
    features = {"img": IMAGE, "label": class_label(["a", "c"])}
    contents = [flat(value) for value in (0, 51, 102, 255)]
    file = tmp_path / "set/train.parquet"
    write_parquet(file, contents, {"label": [0, 1, 0, 1]}, features)
    prints.add(load_data(settings).fingerprint)
    write_parquet(file, contents, {"label": [1, 0, 0, 1]}, features)
    prints.add(load_data(settings).fingerprint)
    write_parquet(file, [*contents[:3], flat(254)], {"label": [1, 0, 0, 1]}, features)
    prints.add(load_data(settings).fingerprint)
    assert len(prints) == 6


# -- what bad input gets -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"limit": 0}, "data.limit 0"),
        ({"limit": -3}, "data.limit -3"),
        ({"size": 7}, "data.size 7"),
        ({"channels": 2}, "data.channels 2"),
        ({"validation": 1.0}, "data.validation 1.0"),
        ({"validation": -0.1}, "data.validation -0.1"),
        ({"validation": float("nan")}, "data.validation nan"),
        ({"split_seed": -1}, "data.split_seed -1"),
        ({"mean": (0.5, 120.0, 0.5)}, "data.mean [0.5, 120.0, 0.5]"),
        ({"std": (0.0,)}, "data.std [0.0]"),
        ({"cache": ""}, "data.cache ''"),
        ({"memory_gib": -1.0}, "data.memory_gib -1.0"),
        ({"memory_gib": float("nan")}, "data.memory_gib nan"),
    ],
)
def test_settings_are_checked_before_the_source(settings: dict[str, Any], words: str) -> None:
    message = error_of(Path("/no/such/directory"), **settings)
    assert message.startswith(words)
    assert "give" in message


def test_limit_against_the_set() -> None:
    assert "choose 10 to 1438" in error_of(limit=2000)
    assert "choose 10 to 1438" in error_of(limit=9)


def test_missing_file_empty_and_unknown(tmp_path: Path) -> None:
    assert "nowhere' does not exist" in error_of(tmp_path / "nowhere")
    error = error_of(source="cifar")
    assert "'cifar' does not exist; the nearest is cifar10; give digits, cifar10" in error
    assert "--data.root DIR" in error
    (tmp_path / "empty").mkdir()
    assert "empty' is an empty directory" in error_of(tmp_path / "empty")
    file = tmp_path / "file.parquet"
    file.touch()
    assert "file.parquet' is a file; give the directory" in error_of(file)
    (tmp_path / "loose").mkdir()
    (tmp_path / "loose/a.png").touch()
    assert "holds no data set; give a directory with" in error_of(tmp_path / "loose")


def test_folder_mistakes(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "set", train=2, test=1)
    (root / "train/pear").mkdir()
    assert f"{root / 'train/pear'} holds no image" in error_of(root)
    (root / "train/pear").rmdir()
    (root / "test/pear").mkdir()
    message = error_of(root)
    assert f"{root / 'test/pear'} is a class that" in message and "apple, leaf, plum" in message
    (root / "test/pear").rmdir()
    (root / "val").mkdir()
    assert f"{root / 'val'} has no class folders" in error_of(root)
    (root / "valid").mkdir()
    assert "has both" in error_of(root)
    assert "no columns" in error_of(make_folder(tmp_path / "b"), label_column="label")
    assert "found apple" in error_of(make_folder(tmp_path / "c", classes=("apple",)) / "train")


def test_one_class_only(tmp_path: Path) -> None:
    assert "1 class" in error_of(make_folder(tmp_path / "folder", classes=("apple",)))
    write_parquet(tmp_path / "p/train.parquet", [flat(0)] * 2, {"label": [4, 4]}, None)
    assert "at least two" in error_of(tmp_path / "p")


def test_class_without_training_picture(tmp_path: Path) -> None:
    features = {"img": IMAGE, "label": class_label(["a", "b", "c"])}
    write_parquet(tmp_path / "train.parquet", [flat(0)] * 2, {"label": [0, 2]}, features)
    write_parquet(tmp_path / "test.parquet", [flat(0)] * 2, {"label": [0, 1]}, features)
    assert "class 'b' has no training image" in error_of(tmp_path)


def test_corrupt_picture_in_a_folder(tmp_path: Path) -> None:
    make_folder(tmp_path, train=2, test=1)
    broken = tmp_path / "test/leaf/000.png"
    broken.write_bytes(broken.read_bytes()[:100])
    assert error_of(tmp_path).startswith(f"{broken} is not a readable picture")


def test_corrupt_rows_in_parquet_are_named_by_file_and_row(tmp_path: Path) -> None:
    make_parquet(tmp_path, train=20, test=0, shards=2, classes=("a", "b"))
    file = tmp_path / "plain_text/train-00001-of-00002.parquet"
    features = {"img": IMAGE, "label": class_label(["a", "b"])}

    def rewrite(pictures: list[bytes | None], labels: list[int | None]) -> str:
        write_parquet(file, pictures, {"label": labels}, features)
        return error_of(tmp_path)

    good = flat(0, 32)
    assert f"{file} row 1 is not a readable" in rewrite([good, good[:40]], [0, 1])
    assert f"{file} row 1: column img holds no image bytes" in rewrite([good, None], [0, 1])
    assert f"{file} row 1: label 2 is not one of" in rewrite([good, good], [0, 2])
    assert f"{file} row 0: label -1 is not one of" in rewrite([good, good], [-1, 0])
    assert f"{file} row 0: label None is not one of" in rewrite([good, good], [None, 0])


@pytest.mark.parametrize("form", ["parquet", "folder", "npz"])
def test_a_set_without_a_training_split(form: str, tmp_path: Path) -> None:
    if form == "parquet":
        next(make_parquet(tmp_path / "made").rglob("train*")).unlink()
    elif form == "folder":
        make_folder(tmp_path / "made", train=2, test=2)
        (tmp_path / "made/train").rename(tmp_path / "made/training")
    else:
        (tmp_path / "made").mkdir()
        np.savez(tmp_path / "made/test.npz", images=np.zeros((2, 8, 8), np.uint8), labels=[0, 1])
    assert "has no training split: found test" in error_of(tmp_path / "made")


def test_damaged_parquet_file_is_named(tmp_path: Path) -> None:
    make_parquet(tmp_path, train=20, test=10)
    file = tmp_path / "plain_text/test-00000-of-00001.parquet"
    file.write_bytes(file.read_bytes()[:-50])
    assert error_of(tmp_path).startswith(f"{file} is not a readable parquet file")


def test_test_labels_that_training_lacks(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", [flat(0)] * 2, {"label": ["a", "b"]}, None)
    write_parquet(tmp_path / "test.parquet", [flat(0)] * 2, {"label": ["a", "z"]}, None)
    message = error_of(tmp_path)
    assert "test.parquet row 1: label 'z'" in message and "(a, b)" in message


def test_columns_that_cannot_be_told(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a/train.parquet", [flat(0)] * 2, {}, None)
    assert "no label column" in error_of(tmp_path / "a")
    (tmp_path / "b").mkdir()
    parquet.write_table(pa.table({"label": [0, 1]}), tmp_path / "b/train.parquet")
    assert "no image column among label (int64)" in error_of(tmp_path / "b")
    write_parquet(tmp_path / "c/test.parquet", [flat(0)] * 2, {"label": [0, 1]}, None)
    assert "no training split: found test" in error_of(tmp_path / "c")


def test_several_data_sets_in_one_directory(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_parquet(tmp_path / name / "train.parquet", [flat(0)] * 2, {"label": [0, 1]}, None)
    configs = "".join(
        f"- config_name: {name}\n  data_files: {name}/train.parquet\n" for name in ("one", "two")
    )
    (tmp_path / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    message = error_of(tmp_path)
    assert "holds several data sets" in message and "'one', 'two'" in message
    assert load(tmp_path / "one", validation=0).classes == ("0", "1")


def test_splits_with_other_columns(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", [flat(0)] * 2, {"label": [0, 1]}, None)
    write_parquet(tmp_path / "test.parquet", [flat(0)] * 2, {"target": [0, 1]}, None)
    message = error_of(tmp_path)
    assert f"{tmp_path}/test.parquet has no column label, which {tmp_path}/train.parquet" in message
    assert "its columns are img, target" in message


def test_skip_in_parquet(tmp_path: Path) -> None:
    """Pictures that cannot be read, cells without one and labels that are none."""
    features = {"img": IMAGE, "label": class_label(["a", "b"])}
    contents = [flat(0), None, flat(2), flat(3)[:40], flat(4), flat(5)]
    columns = {"label": [0, 1, None, 1, 1, 7]}
    write_parquet(tmp_path / "train.parquet", contents, columns, features)
    write_parquet(tmp_path / "test.parquet", [flat(6)] * 2, {"label": [-1, 1]}, features)
    file = tmp_path / "train.parquet"
    assert error_of(tmp_path).startswith(f"{file} row 2: label None is not one of")
    data = load(tmp_path, validation=0, on_error="skip")
    assert data.train.index.tolist() == [0, 4]
    assert data.train.images[:, 0, 0, 0].tolist() == [0, 4]
    assert data.train.labels.tolist() == [0, 1]
    assert data.test is not None and data.test.index.tolist() == [1]
    said = sorted(message.removeprefix(f"{tmp_path}/")[:24] for message in data.skipped)
    assert said == [
        "test.parquet row 0: labe",
        "train.parquet row 1: col",
        "train.parquet row 2: lab",
        "train.parquet row 3 is n",
        "train.parquet row 5: lab",
    ]


def test_parquet_rows_in_any_order_and_many_groups(tmp_path: Path) -> None:
    pictures = [{"bytes": bytes([row]) * 9, "path": None} for row in range(25)]
    for name, part in (("a", pictures[:7]), ("b", []), ("c", pictures[7:])):
        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        table = pa.table({"img": pa.array(part, type=kind)})
        parquet.write_table(table, tmp_path / f"{name}.parquet", row_group_size=4)
    names = FileRowNames([str(tmp_path / f"{name}.parquet") for name in "abc"], [7, 0, 18])
    rows = ParquetPictures(names, "img")
    assert len(rows) == len(names) == 25
    order = [*range(25), 24, 0, 6, 7, 3, 23, 8, 8, -1]
    assert [rows[row][0] for row in order] == [row % 25 for row in order]
    assert [content[0] for content in rows[5:9]] == [5, 6, 7, 8]
    assert names[6:8] == [f"{tmp_path}/a.parquet row 6", f"{tmp_path}/c.parquet row 0"]
    with pytest.raises(IndexError):
        rows[25]


# -- one split ---------------------------------------------------------------------------------


def fit(channels: int = 3) -> Fit:
    return Fit("the model", (16, 16), channels, ("apple", "leaf", "plum"))


def one(root: Path, name: str, channels: int = 3, **settings: Any) -> OneSplit:
    return load_split(DataSettings(root=str(root), **settings), name, fit(channels))


def test_one_split_is_that_of_the_whole(tmp_path: Path) -> None:
    root = make_folder(tmp_path, train=8)
    whole = load(root, validation=0.25)
    prints = set()
    for name in ("train", "validation", "test"):
        found, expected = one(root, name, validation=0.25), whole.split(name)
        assert torch.equal(found.split.images[:], expected.images[:])
        assert torch.equal(found.split.labels, expected.labels)
        assert torch.equal(found.split.index, expected.index)
        assert (found.classes, found.channels, found.size) == (whole.classes, 3, whole.size)
        assert found.held_out == (name == "validation")
        assert found.fingerprint == whole.fingerprints[name]
        prints.add(found.fingerprint)
    assert len(prints) == 3


def test_the_other_splits_are_not_read(tmp_path: Path) -> None:
    root = make_folder(tmp_path, train=2, test=1)
    (root / "train/leaf/000.png").write_bytes(b"broken")
    assert len(one(root, "test", validation=0).split) == 3
    with pytest.raises(InputError, match="not a readable picture"):
        one(root, "train", validation=0)
    with pytest.raises(InputError, match="has no validation split; it has test, train"):
        one(root, "validation", validation=0)
    with pytest.raises(InputError, match="split 'all' is not known"):
        one(root, "all")


def test_a_grey_split_of_a_coloured_set(tmp_path: Path) -> None:
    root = make_folder(tmp_path, train=2, test=1, grey=True)
    Image.new("RGB", (16, 16), (9, 0, 0)).save(root / "train/plum/000.png")
    assert load(root, validation=0).channels == 3
    assert one(root, "test", validation=0).channels == 3
    assert one(root, "test", channels=1, validation=0).channels == 1
    settings = DataSettings(root=str(root), validation=0, channels=1)
    assert load_split(settings, "test", fit(1)).channels == 1


# -- the real one ------------------------------------------------------------------------------


def test_cifar10(cifar10_root: Path) -> None:
    """Every pixel and label of CIFAR-10, against the digests published beside it."""
    data = load(cifar10_root, validation=0)
    assert data.test is not None
    assert data.train.digest() == "bc96444cbab07e6fdf1908df46c9ecea8a6b4575f981fe41d8dbfb43d592c6d7"
    assert data.test.digest() == "ec9d3358b47adc1916a33b7966f8f03113ce91d4e0fc6e40d3c6b313a9a74503"
    assert data.mean == pytest.approx([0.49140, 0.48216, 0.44653], abs=5e-6)
    assert data.std == pytest.approx([0.24703, 0.24349, 0.26159], abs=5e-6)
    held = load(cifar10_root)
    assert held.validation is not None
    assert torch.bincount(held.validation.labels).tolist() == [500] * 10
    assert torch.bincount(held.train.labels).tolist() == [4500] * 10
