"""Cards of strangers: ``README.md`` of a local folder names its own parquet files and no others."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from ghostnet_small.data import dataset_card as cards
from ghostnet_small.data.dataset import ImageData
from ghostnet_small.data.dataset_card import Card, _matches
from ghostnet_small.data.sources import DataSettings, load_data
from ghostnet_small.errors import InputError
from makers import class_label, png_bytes, write_parquet
from memory_kit import at_most


def write(file: Path, labels: Any = (0, 1), features: Any = None) -> Path:
    images = [png_bytes(Image.new("L", (8, 8), row)) for row in range(len(labels))]
    write_parquet(file, images, {"label": list(labels)}, features)
    return file


def load(root: Path) -> ImageData:
    return load_data(DataSettings(root=str(root), validation=0, cache="off"))


def error_of(root: Path) -> str:
    with pytest.raises(InputError) as caught:
        load(root)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 2000
    return str(caught.value)


def describe(root: Path, *lines: str) -> None:
    (root / "README.md").write_text("\n".join(("---", *lines, "---", "# A set", "")))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A good set, beside a file that is none of its own."""
    write(tmp_path / "private" / "x.parquet", ["secret", "other"])
    write(tmp_path / "set" / "data" / "train-0.parquet")
    return tmp_path / "set"


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Addresses that were connected to or looked up, while nothing is reached."""
    asked: list[Any] = []

    def refuse(*words: Any, **_: Any) -> Any:
        asked.append(words)
        raise OSError("no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    yield asked
    assert asked == []


OUTSIDE = (
    "../private/x.parquet",
    "data/../../private/*.parquet",
    "{private}/x.parquet",
    "{private}/*",
    "~/x.parquet",
    "file://{private}/x.parquet",
    "ftp://127.0.0.1:9/x.parquet",
    "http://127.0.0.1:9/x.parquet",
    "https://127.0.0.1:9/*.parquet",
    "hf://datasets/o/private/x.parquet",
    "zip://x.parquet::{private}/x.zip",
    "data/x.parquet::ftp://127.0.0.1:9/x",
    "s3:x",
)


@pytest.mark.parametrize("path", OUTSIDE)
@pytest.mark.parametrize("form", ["{}", "[{}]", "[{{split: train, path: {}}}]", "dir"])
def test_a_card_names_nothing_outside(
    root: Path, path: str, form: str, no_network: list[Any]
) -> None:
    path = path.format(private=root.parent / "private")
    told = f"data_dir: '{path}'" if form == "dir" else "data_files: " + form.format(f"'{path}'")
    describe(root, "configs:", "- config_name: default", f"  {told}")
    message = error_of(root)
    assert f"its card names {path!r}" in message and "only paths below its folder" in message
    # The second file that ``datasets`` reads as a card.
    (root / "README.md").rename(root / ".huggingface.yaml")
    (root / ".huggingface.yaml").write_text(f"configs: [{{config_name: a, {told}}}]")
    assert f"its card names {path!r}" in error_of(root)


def test_links_stay_below_the_folder(root: Path) -> None:
    link = root / "data" / "train-1.parquet"
    link.symlink_to(root.parent / "private" / "x.parquet")
    assert f"{link} is a link to" in error_of(root)
    describe(root, "configs:", "- {config_name: a, data_files: data/train-1.parquet}")
    assert "outside of the data set; copy that file into its place" in error_of(root)
    link.unlink()
    link.symlink_to("train-0.parquet")
    assert len(load(root).train.labels) == 2
    (root / "README.md").unlink()
    (root / "README.md").symlink_to("/etc/hostname")
    assert "README.md is a link to /etc/hostname" in error_of(root)


def test_a_folder_of_the_hubs_cache_is_links(tmp_path: Path) -> None:
    kept = tmp_path / "datasets--o--name"
    write(kept / "blobs" / "abc")
    snapshot = kept / "snapshots" / "sha" / "data"
    snapshot.mkdir(parents=True)
    (snapshot / "train-0.parquet").symlink_to("../../../blobs/abc")
    assert len(load(snapshot.parent).train.labels) == 2
    (snapshot / "train-1.parquet").symlink_to("/etc/hostname")
    assert "train-1.parquet is a link to /etc/hostname" in error_of(snapshot.parent)


def test_a_pipe_is_no_file(root: Path) -> None:
    os.mkfifo(root / "data" / "train-1.parquet")
    assert len(load(root).train.labels) == 2


BOMB = "a: &a [x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 8)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
CARDS = {
    "aliases of aliases": (BOMB, "the alias *a is not allowed"),
    "deep": ("a: " + "[" * 20_000, "levels deep"),
    "no mapping": ("[a]", "is not a mapping"),
    "configs": ("configs: 3", "not a list of sets"),
    "no name": ("configs: [{data_files: a}]", "each with config_name"),
    "files": ("configs: [{config_name: a, data_files: [[[x]]]}]", "neither a path"),
    "a number": ("configs: [{config_name: a, data_files: 3}]", "neither a path"),
    "patterns": (
        "configs: [{config_name: a, data_files: [" + "'*', " * 1001 + "]}]",
        "more than 1,000 patterns",
    ),
    "a file that is not there": (
        "configs: [{config_name: a, data_files: b.parquet}]",
        "there is no parquet file 'b.parquet'",
    ),
    "infos": ("dataset_info: 3", "not a mapping"),
    "columns": ("dataset_info: {features: [[3]]}", "cannot be read"),
    "empty lines": ("\n" * 5000, "empty lines"),
    "gaps": (
        "dataset_info: {features: [{name: label, dtype: {class_label: {names: "
        "{'0': a, '99999999999': b}}}}]}",
        "a class has the number 99,999,999,999",
    ),
    "names that are none": (
        "dataset_info: {features: [{name: label, dtype: {class_label: {names: {'0': {a: b}}}}}]}",
        "class names that are not text",
    ),
    "of a config": (
        "configs: [{config_name: a, features: [{name: label, dtype: {class_label: {names: "
        "{' 9_999_999_999': b}}}}]}]",
        "the number 9,999,999,999",
    ),
}


@pytest.mark.parametrize("case", CARDS)
def test_a_card_that_harms(root: Path, case: str) -> None:
    import datasets  # noqa: F401  # its own memory does not count

    text, said = CARDS[case]
    describe(root, text)
    with at_most(768):
        assert said in error_of(root)


def test_a_large_card_and_a_pipe(root: Path) -> None:
    with (root / "README.md").open("wb") as file:
        file.truncate(65 << 20)
    assert "is larger than" in error_of(root)
    (root / "README.md").unlink()
    os.mkfifo(root / "README.md")
    assert len(load(root).train.labels) == 2


def test_a_parquet_file_whose_class_names_are_no_text(root: Path) -> None:
    file = write(root / "data" / "train-0.parquet")
    features = {"label": {"_type": "ClassLabel", "names": [{"a": "b"}, "c"]}}
    about = {"huggingface": json.dumps({"info": {"features": features}})}
    parquet.write_table(parquet.read_table(file).replace_schema_metadata(about), file)
    # An image column is one by its type alone.
    assert "column label has class names that are not text" in error_of(root)


# -- what is read as before --------------------------------------------------------------------


def test_splits_and_class_names_of_a_card(root: Path) -> None:
    write(root / "data" / "held-out.parquet")
    write(root / "data" / ".hidden.parquet", ["x", "y"])
    write(root / "__cache__" / "train.parquet", ["x", "y"])
    describe(
        root,
        "dataset_info:",
        "- config_name: other",
        "  features: [{name: label, dtype: {class_label: {names: [x, y]}}}]",
        "- config_name: default",
        "  features: [{name: label, dtype: {class_label: {names: {'0': ant, '1': bee}}}}]",
        "configs:",
        "- {config_name: other, data_files: nowhere.parquet}",
        "- config_name: default",
        "  data_dir: data",
        "  data_files: [{split: train, path: ['train-*', './train-0.parquet']},",
        "               {split: test, path: held-out.parquet}]",
    )
    data = load(root)
    assert data.classes == ("ant", "bee")
    assert len(data.train.labels) == 2 and data.test is not None
    describe(root, "license: mit")
    (root / "data" / "held-out.parquet").unlink()
    assert load(root).classes == ("0", "1")
    old = {"o--set": {"features": {"label": class_label(["cat", "cow"])}}}
    (root / "dataset_infos.json").write_text(json.dumps(old))
    assert load(root).classes == ("cat", "cow")


def test_a_folder_whose_name_is_a_pattern(tmp_path: Path) -> None:
    write(tmp_path / "a*[b]" / "train.parquet")
    assert len(load(tmp_path / "a*[b]").train.labels) == 2


def test_files_are_found_as_datasets_finds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datasets.data_files import DataFilesDict, get_data_patterns, sanitize_patterns

    names = (
        *("train-0.parquet", "b/train/x.parquet", "b/c/val_1.parquet", "b/test.parquet"),
        *("data/train-00000-of-00001.parquet", "data/extra-00000-of-00001.parquet"),
        *(".h/train.parquet", "__m/train.parquet", "b/__n.parquet", "train/[x]y.parquet"),
    )
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    start = str(tmp_path) + "/"

    def theirs(patterns: Any) -> dict[str, list[str]]:
        found = DataFilesDict.from_patterns(sanitize_patterns(patterns), str(tmp_path))
        return {
            split: list(dict.fromkeys(file.removeprefix(start) for file in files))
            for split, files in found.items()
        }

    def ours(told: Any, files: list[str]) -> dict[str, list[str]]:
        config = {"config_name": "a", "data_files": told}
        return Card("x", [config], {}, {}).splits(files)

    files = sorted(names)
    for pattern in ("*", "**", "b/*", "b/**", "**/*.parquet", "*/train*", "**/t[er]*.parquet"):
        assert ours(pattern, files) == theirs(pattern), pattern
    for pattern in (
        ".h/*",
        "__m/**",
        "b/t?st.parquet",
        "**/c/*",
        "b/**/x.parquet",
        "train/[[]*",
    ):
        assert ours(pattern, files) == theirs(pattern), pattern
    for left_out in ("data/", "b/", "train", "x"):
        for name in names:
            if name.startswith(left_out):
                (tmp_path / name).unlink(missing_ok=True)
        files = [name for name in sorted(names) if (tmp_path / name).exists()]
        if any("__" not in name and not name.startswith(".") for name in files):
            assert ours(None, files) == theirs(get_data_patterns(str(tmp_path)))


def test_matching_takes_each_part_once() -> None:
    long = "/".join(["a" * 200] * 20) + "/x.parquet"
    assert _matches(long, "/".join(["**"] * 100) + "/x.parquet")
    assert not _matches(long, "**/" * 100 + "*a" * 100 + "b")
    assert cards.MOST_PATTERNS == 1000


def test_a_file_that_tells_another_number_of_rows(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Damaged:
        num_rows = 3

    monkeypatch.setattr(parquet, "read_metadata", lambda _: Damaged)
    assert "it holds 2 rows, but its header says 3" in error_of(root)


def test_a_card_that_calls_an_image_what_is_none(root: Path) -> None:
    describe(root, "dataset_info: {features: [{name: other, dtype: image}]}")
    table = pa.table({"other": [{"a": b"x"}] * 2, "label": ["a", "b"]})
    parquet.write_table(table, root / "data" / "train-0.parquet")
    assert "column other holds no image bytes" in error_of(root)
