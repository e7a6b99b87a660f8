"""CIFAR's original archives: the pixels and labels of the set, from every form of it."""

from __future__ import annotations

import gzip
import io
import pickle
import tarfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostnet_small.data.formats.cifar import has_cifar, is_cifar_archive, list_cifar
from ghostnet_small.data.formats.find import list_root
from ghostnet_small.data.pictures import read_picture
from ghostnet_small.data.sources import DataSettings, load_data
from ghostnet_small.errors import InputError
from written_forms import cifar_files, python2_pickle, write_files, write_tar

FORMS = ("cifar-10-batches-py", "cifar-10-batches-bin", "cifar-100-python", "cifar-100-binary")
NAMES = tuple(f"class {number}" for number in range(10))


def pictures(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


TRAIN = (pictures(13), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 9])
TEST = (pictures(3, 1), [9, 0, 4])


def files_of(form: str, protocol: int | None = None) -> dict[str, bytes]:
    return cifar_files(form, TRAIN, TEST, NAMES, protocol)


def error_of(path: Path, label_column: str | None = None) -> str:
    with pytest.raises(InputError) as caught:
        list_cifar(path, label_column)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def check(path: Path, label_column: str | None = None) -> None:
    listing = list_cifar(path, label_column)
    coarse = label_column == "coarse_labels"
    assert listing.classes == (tuple(f"coarse {k}" for k in range(5)) if coarse else NAMES)
    for split, (pixels, labels) in (("train", TRAIN), ("test", TEST)):
        found = listing.splits[split]
        assert np.array_equal(np.asarray(found.pictures), pixels)
        assert found.labels.tolist() == [label // 2 if coarse else label for label in labels]
        assert len(found.names) == len(pixels)


def test_the_pickles_of_python_2_are_what_python_reads() -> None:
    value = pickle.loads(files_of("cifar-10-batches-py")["data_batch_2"], encoding="bytes")
    assert np.array_equal(
        value[b"data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), TRAIN[0][3:6]
    )
    assert value[b"labels"] == [3, 4, 5]


@pytest.mark.parametrize("form", FORMS)
def test_folder_folder_above_and_archive(tmp_path: Path, form: str) -> None:
    folder = write_files(tmp_path / form, files_of(form))
    archive = write_tar(tmp_path / "set.tar.gz", form, files_of(form))
    plain = write_tar(tmp_path / "set.tar", form, files_of(form), "w")
    assert has_cifar(folder) and has_cifar(tmp_path) and is_cifar_archive(archive)
    before = sorted(tmp_path.rglob("*"))
    for path in (folder, tmp_path, archive, plain):
        check(path)
        if "100" in form:
            check(path, "fine_labels")
            check(path, "coarse_labels")
    assert sorted(tmp_path.rglob("*")) == before  # nothing is unpacked
    data = load_data(DataSettings(root=str(archive), validation=0))
    assert torch.equal(data.train.images, torch.from_numpy(TRAIN[0]).permute(0, 3, 1, 2))


@pytest.mark.parametrize("protocol", [0, 2, 5])
@pytest.mark.parametrize("form", ["cifar-10-batches-py", "cifar-100-python"])
def test_pickled_anew_by_python_3(tmp_path: Path, form: str, protocol: int) -> None:
    check(write_files(tmp_path / form, files_of(form, protocol)))


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_archives_of_every_kind_of_tar(tmp_path: Path, kind: int) -> None:
    archive = tmp_path / "set.tgz"
    with tarfile.open(archive, "w:gz", format=kind) as tar:
        link = tarfile.TarInfo("cifar/data_batch_1")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        if kind != tarfile.USTAR_FORMAT:
            tar.addfile(tarfile.TarInfo("ü" * 90 + "/" + "x" * 90))  # what describes it is longer
        for name, content in files_of("cifar-10-batches-py").items():
            entry = tarfile.TarInfo(f"./other-name/{name}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    check(archive)


def test_without_test_split(tmp_path: Path) -> None:
    files = files_of("cifar-10-batches-py")
    del files["test_batch"]
    assert set(list_cifar(write_files(tmp_path / "set", files)).splits) == {"train"}


def test_label_columns(tmp_path: Path) -> None:
    ten = write_files(tmp_path / "ten", files_of("cifar-10-batches-bin"))
    assert "it has labels" in error_of(ten, "fine_labels")
    check(ten, "labels")
    hundred = write_files(tmp_path / "hundred", files_of("cifar-100-binary"))
    assert "it has fine_labels, coarse_labels" in error_of(hundred, "label")


def test_several_sets(tmp_path: Path) -> None:
    for form in FORMS[:2]:
        write_files(tmp_path / form, files_of(form))
    assert "holds several data sets: cifar-10-batches-py, cifar-10-batches-bin" in error_of(
        tmp_path
    )
    both = files_of(FORMS[0]) | files_of(FORMS[2])
    message = error_of(write_tar(tmp_path / "both.tar.gz", "both", both))
    assert "has the files of cifar-10-batches-py and cifar-100-python" in message
    message = error_of(write_tar(tmp_path / "none.tar.gz", "none", {"a.png": b""}))
    assert "has the files of neither; unpack it" in message


def test_missing_files(tmp_path: Path) -> None:
    files = files_of("cifar-10-batches-py")
    del files["data_batch_3"], files["data_batch_5"]
    assert "lacks data_batch_3, data_batch_5" in error_of(write_files(tmp_path / "set", files))
    assert "lacks data_batch_3" in error_of(write_tar(tmp_path / "set.tar", "set", files, "w"))
    files = files_of("cifar-100-binary")
    del files["coarse_label_names.txt"]
    folder = write_files(tmp_path / "hundred", files)
    check(folder)
    assert "lacks coarse_label_names.txt" in error_of(folder, "coarse_labels")


def batch(**changes: object) -> bytes:
    value = {"data": np.zeros((2, 3072), np.uint8), "labels": [0, 1]} | changes
    return pickle.dumps({key: item for key, item in value.items() if item is not None})


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("data_batch_2", batch(data=np.zeros((2, 3071), np.uint8)), "no 'data' of uint8"),
        ("data_batch_2", batch(data=np.zeros((2, 3072), np.int8)), "no 'data' of uint8"),
        ("data_batch_2", batch(data=np.zeros((0, 3072), np.uint8), labels=[]), "no 'data'"),
        ("data_batch_2", batch(data=[0] * 6144), "no 'data' of uint8"),
        ("data_batch_2", batch(data=None), "no 'data' of uint8"),
        ("data_batch_2", batch(labels=None), "no 'labels' with a number"),
        ("data_batch_2", batch(labels=[0]), "no 'labels' with a number for each of its 2"),
        ("data_batch_2", batch(labels=[0, -1]), "no 'labels' with a number"),
        ("data_batch_2", batch(labels=[0, 2**70]), "no 'labels' with a number"),
        ("data_batch_2", batch(labels=[0, "1"]), "no 'labels' with a number"),
        ("data_batch_2", batch(labels=[0, 10]), "row 1 has the label 10, but there are 10"),
        ("data_batch_2", b"\x80\x02", "it ends too early"),
        ("data_batch_2", python2_pickle([1]), "a list and not a dictionary"),
        ("batches.meta", python2_pickle({b"label_names": 3}), "does not list distinct"),
        ("batches.meta", python2_pickle({b"names": [b"a"]}), "does not list distinct"),
        ("batches.meta", python2_pickle({b"label_names": [b"a", b"a"]}), "does not list distinct"),
        ("batches.meta", python2_pickle({b"label_names": [b"\x1b[31m"]}), "does not list distinct"),
        ("batches.meta", python2_pickle({b"label_names": [b"\xff"]}), "does not list distinct"),
    ],
)
def test_wrong_pickles(tmp_path: Path, file: str, content: bytes, words: str) -> None:
    folder = write_files(tmp_path / "set", files_of("cifar-10-batches-py") | {file: content})
    message = error_of(folder)
    assert message.startswith(f"{folder / file} ") and words in message


def test_labels_as_an_array(tmp_path: Path) -> None:
    changed = batch(labels=np.array([7, 8], ">i4"))
    folder = write_files(tmp_path / "set", files_of(FORMS[0]) | {"data_batch_1": changed})
    assert list_cifar(folder).splits["train"].labels[:2].tolist() == [7, 8]


def test_wrong_binary_files(tmp_path: Path) -> None:
    files = files_of("cifar-10-batches-bin")
    folder = write_files(tmp_path / "set", files)
    file = folder / "data_batch_4.bin"
    for content in (b"", files["data_batch_4.bin"][:-1]):
        file.write_bytes(content)
        assert f"{file} has {len(content)} bytes, which is not a multiple of 3073" in error_of(
            folder
        )
    file.write_bytes(bytes([10]) + bytes(3072))
    assert f"{file} row 0 has the label 10, but there are 10 classes" in error_of(folder)


def test_damaged_archives(tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "set.tar.gz", "set", files_of("cifar-10-batches-py"))
    whole = archive.read_bytes()
    plain = gzip.decompress(whole)

    def changed(content: bytes) -> str:
        archive.write_bytes(content)
        return error_of(archive)

    assert "cannot be unzipped" in changed(whole[:-20])
    assert "CRC check failed" in changed(whole[:-8] + bytes(8))
    assert "ends too early" in changed(gzip.compress(plain[:5000]))
    assert "ends too early" in changed(gzip.compress(plain[:700]))
    assert "is not a tar archive or is damaged" in changed(b"hello" * 1000)
    assert "is not a tar archive or is damaged" in changed(plain[:1] + b"?" + plain[2:])
    assert "goes on after its end" in changed(gzip.compress(plain + bytes(1 << 20)))
    assert "has data_batch_1 twice" in changed(
        plain.rstrip(b"\0") + bytes(-len(plain.rstrip(b"\0")) % 512) + plain
    )
    assert "has the files of neither" in changed(b"")


def tar_head(name: str, size: int) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size = size
    return entry.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("name", ["data_batch_1", "other"])
@pytest.mark.parametrize("size", [1 << 27, (1 << 28) + 1, 8**11 - 1, 8**11 + 1])
def test_sizes_that_lie_take_no_memory(tmp_path: Path, name: str, size: int) -> None:
    archive = tmp_path / "set.tar"
    archive.write_bytes(tar_head(name, size) + bytes(2000))
    tracemalloc.start()
    try:
        error_of(archive)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_a_zip_bomb_stops_at_the_bound(tmp_path: Path) -> None:
    archive = tmp_path / "set.tar.gz"
    with gzip.open(archive, "wb", 1) as file:
        for _ in range(6):
            file.write(tar_head("other", 100 << 20))
            for _ in range(100):
                file.write(bytes(1 << 20))
    assert "has more than 536870912 bytes unzipped" in error_of(archive)


SMALL = cifar_files(
    "cifar-10-batches-py", (pictures(5), [0, 1, 0, 1, 0]), (pictures(1), [1]), ("a", "b")
)
BINARY = cifar_files("cifar-100-binary", (pictures(3), [0, 1, 0]), (pictures(1), [1]), ("a", "b"))


@settings(max_examples=60, deadline=None)
@given(data=st.data(), packed=st.booleans(), binary=st.booleans())
def test_damage_gives_a_listing_or_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, packed: bool, binary: bool
) -> None:
    root = tmp_path_factory.mktemp("cifar")
    files = dict(BINARY if binary else SMALL)
    if packed:
        file = path = write_tar(root / "set.tar", "set", files, "w")
    else:
        path = write_files(root / "set", files)
        file = path / data.draw(st.sampled_from(sorted(files)))
    content = bytearray(file.read_bytes())
    # Where the structure is: at the start of the file and after the pixels.
    at = st.integers(0, min(400, len(content) - 1)) | st.integers(0, len(content) - 1)
    for place in data.draw(st.lists(at, max_size=3)):
        content[place] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del content[data.draw(at) :]
    file.write_bytes(content)
    try:
        splits = list_cifar(path).splits
        assert len(splits["train"].labels) == (3 if binary else 5) or not packed
    except InputError as error:
        assert "\n" not in str(error)


def test_equals_the_parquet_form(tmp_path: Path, cifar10_root: Path) -> None:
    """Rows of CIFAR-10 itself, written as both archives, give the pixels of its parquet files."""
    wanted = list_root(str(cifar10_root), None, "data.root")
    splits = []
    for split in (wanted.splits["train"], wanted.splits["test"]):
        rows = [read_picture(split.picture(row)).permute(1, 2, 0).numpy() for row in range(50)]
        splits.append((np.stack(rows), split.labels[:50].tolist()))
    for form in FORMS[:2]:
        files = cifar_files(form, *splits, wanted.classes)
        found = list_cifar(write_tar(tmp_path / f"{form}.tar.gz", form, files))
        assert found.classes == wanted.classes
        for split, (pixels, labels) in zip(("train", "test"), splits, strict=True):
            assert np.array_equal(np.asarray(found.splits[split].pictures), pixels)
            assert found.splits[split].labels.tolist() == labels
