"""Named data sets against a local server that speaks the hub's protocol, failures included.

The order of the tests does not matter: each has a repository of its own where it changes one.
They are in one file so as to share one process, whose start is most of their time.
"""

from __future__ import annotations

import os
import resource
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from ghostnet_small.data.hub.named import ArrowPictures, is_name
from ghostnet_small.data.listing import RowNames
from ghostnet_small.data.sources import DataSettings, load_data
from ghostnet_small.errors import InputError
from hub_client import HubClient
from hub_server import HubServer, Repository, Switches
from makers import CIFAR10_CLASSES, class_label, make_folder, make_parquet, write_parquet

TOKEN = "hf_thisIsASecret"
TRAIN = "plain_text/train-00000-of-00001.parquet"
TEST = "plain_text/test-00000-of-00001.parquet"


def files_of(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def cifar(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A repository's files in CIFAR-10's layout: 40 training and 20 test pictures."""
    root = make_parquet(tmp_path_factory.mktemp("cifar"), train=40, test=20)
    return {"README.md": b"---\nlicense: mit\n---\n# CIFAR\n", **files_of(root)}


@pytest.fixture(scope="module")
def server(cifar: dict[str, bytes]) -> Iterator[HubServer]:
    with HubServer({"uoft-cs/cifar10": Repository(cifar)}) as found:
        yield found


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache of most tests."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def client(
    server: HubServer, home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HubClient]:
    """A process that sees the server as a mirror, has a token, and a cache of its own."""
    folder = tmp_path_factory.mktemp("work")
    place = {"HF_HOME": str(home), "HF_ENDPOINT": server.url}
    with HubClient(folder, HF_TOKEN=TOKEN, **place) as found:
        yield found


@pytest.fixture(autouse=True)
def reset(server: HubServer) -> None:
    server.switches = Switches()
    server.requests.clear()


def make_rows(root: Path, name: str, **columns: list[Any]) -> None:
    """A parquet file of as many pictures as a column has values."""
    (count,) = {len(values) for values in columns.values()}
    pictures = make_pictures(count)
    features: dict[str, Any] = {"image": {"_type": "Image"}}
    for column in columns:
        features[column] = class_label(("a", "b"))
    write_parquet(root / name, pictures, columns, features, picture_column="image")


def make_pictures(count: int) -> list[bytes]:
    from makers import make_picture, png_bytes

    random = np.random.default_rng(0)
    return [
        png_bytes(make_picture(row % 2, 2, size=8, random=random, grey=True))
        for row in range(count)
    ]


# -- what is read ------------------------------------------------------------------------------


def test_a_short_name_is_fetched_once_with_the_token_and_counted(
    server: HubServer, client: HubClient, cifar: dict[str, bytes]
) -> None:
    answer = client.data("cifar10")
    found = answer.value  # nothing but JSON on standard output
    assert found["classes"] == list(CIFAR10_CLASSES)
    assert found["images"] == {"train": 40, "test": 20}
    assert set(map(str, found["images_by_class"].values())) == {"{'train': 4, 'test': 2}"}
    assert found["repository"] == "uoft-cs/cifar10"
    assert found["commit"] == server.repositories["uoft-cs/cifar10"].revisions["main"]
    assert answer.err == ""
    # The mirror was asked, with the token, which is shown nowhere.
    asked = [request for request in server.requests if "cifar10" in request[1]]
    assert {authorization for _, _, authorization, _ in asked} == {f"Bearer {TOKEN}"}
    assert TOKEN not in answer.out + answer.err
    assert server.sent(TRAIN) == len(cifar[TRAIN])
    # A second start asks for the commit and nothing else.
    server.requests.clear()
    again = client.data("uoft-cs/cifar10")
    assert again.value == found
    assert [path for _, path, _, _ in server.requests] == ["/api/datasets/uoft-cs/cifar10"]


def test_the_rows_are_those_of_a_local_copy(
    client: HubClient, cifar: dict[str, bytes], tmp_path: Path
) -> None:
    for name, content in cifar.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    local = client.run("data", "--json", "--data.validation", "0", "--data.root", str(tmp_path))
    assert local.value["fingerprint"] == client.data("cifar10").value["fingerprint"]


def test_the_record_of_a_run_names_the_commit(
    server: HubServer, client: HubClient, tmp_path: Path
) -> None:
    words = ["--data.source", "cifar10", "--model.width", "0.1", "--train.epochs", "1"]
    words += ["--train.batch_size", "20", "--train.device", "cpu", "--out", str(tmp_path / "run")]
    summary = client.run("train", "--json", *words).value
    assert summary["data"]["repository"] == "uoft-cs/cifar10"
    assert summary["data"]["commit"] == server.repositories["uoft-cs/cifar10"].revisions["main"]


def test_splits_that_are_not_used_are_not_fetched(
    server: HubServer, client: HubClient, tmp_path: Path
) -> None:
    card = "---\nconfigs:\n"
    for subset in ("full_numbers", "cropped_digits"):
        card += f"- config_name: {subset}\n  data_files:\n"
        for count, split in enumerate(("train", "test", "extra"), 2):
            card += f"  - split: {split}\n    path: {subset}/{split}-*\n"
            make_rows(tmp_path, f"{subset}/{split}-0.parquet", label=[0, 1] * count)
    (tmp_path / "README.md").write_text(card + "---\n")
    server.repositories["ufldl-stanford/svhn"] = Repository(files_of(tmp_path))
    assert client.data("svhn").value["images"] == {"train": 4, "test": 6}
    fetched = {path for _, path, _, sent in server.requests if sent and "svhn" in path}
    assert {Path(path).name for path in fetched} == {
        *("README.md", "train-0.parquet", "test-0.parquet")
    }
    assert not any("full_numbers/train" in path for path in fetched)
    subsets = "full_numbers, cropped_digits"
    assert subsets in client.data("ufldl-stanford/svhn").error
    assert client.data("ufldl-stanford/svhn", "--data.subset", "full_numbers").status == 0
    error = client.data("svhn", "--data.subset", "digits").error
    assert "data.subset 'digits' is not one of" in error and subsets in error


def test_columns_split_names_and_missing_labels(
    server: HubServer, client: HubClient, tmp_path: Path
) -> None:
    both = {"fine_label": [0, 1] * 4, "coarse_label": [1, 1, 0, 0] * 2}
    make_rows(tmp_path / "c", "data/train-0.parquet", **both)
    server.repositories["uoft-cs/cifar100"] = Repository(files_of(tmp_path / "c"))
    assert (
        client.data("cifar100").value["fingerprint"]
        != (client.data("cifar100", "--data.label_column", "coarse_label").value["fingerprint"])
    )
    assert "--data.label_column" in client.data("uoft-cs/cifar100").error

    make_rows(tmp_path / "t", "data/train-0.parquet", label=[0, 1] * 4)
    make_rows(tmp_path / "t", "data/valid-0.parquet", label=[1, 0] * 2)
    make_rows(tmp_path / "t", "data/test-0.parquet", label=[-1] * 4)
    server.repositories["zh-plus/tiny-imagenet"] = Repository(files_of(tmp_path / "t"))
    answer = client.data("tiny-imagenet")
    assert answer.value["images"] == {"train": 8, "validation": 4}
    assert answer.err == (
        "ghostnet-small: the test split of data set zh-plus/tiny-imagenet has no labels and is "
        "left out\n"
    )
    make_rows(tmp_path / "o", "data/train-0.parquet", label=[0, 1, -1, 1])
    server.repositories["o/outside"] = Repository(files_of(tmp_path / "o"))
    assert "o/outside train row 2: label -1 is not one of" in client.data("o/outside").error


def test_files_that_number_the_classes_differently(
    server: HubServer, client: HubClient, tmp_path: Path
) -> None:
    for split, count, names in (("train", 3, ("a", "b")), ("test", 2, ("b", "a"))):
        features = {"image": {"_type": "Image"}, "label": class_label(names)}
        columns = {"label": [0] * count + [1]}
        file = tmp_path / f"data/{split}-0.parquet"
        write_parquet(file, make_pictures(count + 1), columns, features, picture_column="image")
    server.repositories["o/mixed"] = Repository(files_of(tmp_path))
    found = client.data("o/mixed").value
    assert found["images_by_class"] == {"a": {"train": 3, "test": 1}, "b": {"train": 1, "test": 2}}
    assert [found[key] for key in ("form", "image_column", "label_column")] == [
        *("hub", "image", "label")
    ]


def test_a_set_of_loose_pictures_and_a_revision(
    server: HubServer, client: HubClient, cifar: dict[str, bytes], tmp_path: Path
) -> None:
    pictures = Repository(files_of(make_folder(tmp_path)))
    pictures.revisions["refs/convert/parquet"] = pictures.revisions["main"]
    server.repositories["o/folder"] = pictures
    newest = client.data("o/folder").value
    assert (newest["classes"], newest["images"]["train"]) == (["apple", "leaf", "plum"], 36)
    branch = client.data("o/folder", "--data.revision", "refs/convert/parquet").value
    assert branch == newest
    error = client.data("o/folder", "--data.revision", "v9").error
    assert "data.revision 'v9' is not a branch, tag or commit of data set o/folder" in error


def test_a_directory_of_that_name_goes_before_the_hub(
    server: HubServer, client: HubClient, tmp_path: Path
) -> None:
    folder = Path(client.folder)
    make_rows(folder / "mnist", "data/train-0.parquet", label=[0, 1] * 5)
    answer = client.data("mnist")
    assert answer.value["images"] == {"train": 10} and "commit" not in answer.value
    assert "read from the directory of that name" in answer.err
    assert server.requests == []
    # One that holds no data set does not stand in the way.
    (folder / "fashion_mnist" / "notes").mkdir(parents=True)
    assert "zalando-datasets/fashion_mnist" in client.data("fashion_mnist").error


# -- what goes wrong ---------------------------------------------------------------------------


def test_what_the_server_refuses(
    server: HubServer, client: HubClient, cifar: dict[str, bytes]
) -> None:
    server.repositories |= {
        "o/gated": Repository(cifar, gated=True),
        "o/script": Repository({"README.md": b"# x", "script.py": b"import os"}),
        "o/empty": Repository({"README.md": b"# x"}),
        "o/no-train": Repository({"data/test-0.parquet": cifar[TEST]}),
    }
    wanted = {
        "o/gated": "data set o/gated is gated: accept its terms on its page, then give a token",
        "o/absent": "has no data set o/absent, or it is private",
        "o/script": "made by its own script, which is never run",
        "o/empty": "doesn't contain any data files",
        "o/no-train": "o/no-train has no training split: found test",
    }
    for source, words in wanted.items():
        error = client.data(source).error
        assert words in error and TOKEN not in error
    for status, words in ((401, "the token is not valid"), (500, "status 500"), (403, "the right")):
        server.switches.status = status
        assert words in client.data("o/other").error
    # Nothing was written of them, and what the cache has is used while the server fails.
    server.switches = Switches()
    assert client.data("cifar10").err == ""
    server.switches.status = 503
    answer = client.data("cifar10")
    assert answer.value["images"]["train"] == 40
    assert "the hub does not answer; uoft-cs/cifar10 is taken from the cache" in answer.err


def test_a_misspelt_name_is_refused_without_a_request(server: HubServer, client: HubClient) -> None:
    assert "the nearest is cifar10;" in client.data("cifar01").error
    assert (
        "data.revision 'v1': digits has none"
        in client.data("digits", "--data.revision", "v1").error
    )
    assert server.requests == []


def test_a_cut_connection_is_resumed_within_a_file(
    server: HubServer, client: HubClient, tmp_path: Path
) -> None:
    # huggingface_hub keeps whole blocks of 10 MiB of what came before the cut.
    noise = np.random.default_rng(0).bytes(12 << 20)
    table = pa.table(
        {
            "image": [{"bytes": content, "path": None} for content in make_pictures(8)],
            "label": ["x", "y"] * 4,
            "noise": pa.array([noise, *[b""] * 7], pa.large_binary()),
        }
    )
    parquet.write_table(table, tmp_path / "train-0.parquet")
    content = files_of(tmp_path)
    server.repositories["o/large"] = Repository(content)
    server.switches = Switches(cut="train-0.parquet", cut_after=11 << 20, cuts_left=1)
    assert client.data("o/large", "--data.label_column", "label").value["images"] == {"train": 8}
    size, asked = len(content["train-0.parquet"]), server.sent("train-0.parquet")
    assert asked == (11 << 20) + size - (10 << 20)


def test_after_a_lasting_cut_the_next_start_fetches_only_what_is_missing(
    server: HubServer, client: HubClient, cifar: dict[str, bytes]
) -> None:
    server.repositories["o/cut"] = Repository(cifar)
    server.switches = Switches(cut=TEST, cut_after=1000, cuts_left=100)
    error = client.data("o/cut").error
    assert "was cut or stalled" in error and "files that are complete are kept" in error
    server.switches = Switches()
    server.requests.clear()
    assert client.data("o/cut").value["images"] == {"train": 40, "test": 20}
    assert (server.sent(TRAIN), server.sent(TEST)) == (0, len(cifar[TEST]))


def test_a_wrong_checksum_is_found_at_once_and_later(
    server: HubServer, client: HubClient, cifar: dict[str, bytes]
) -> None:
    server.repositories["o/wrong"] = Repository(cifar)
    server.switches.flip = TRAIN  # of the right size, which is all that the library compares
    for _ in range(2):
        error = client.data("o/wrong").error
        assert f"the cached {TRAIN} of data set o/wrong, is damaged: its checksum is not" in error
    server.switches = Switches()
    blob = Path(error.split(", the cached")[0])
    blob.unlink()
    right = client.data("o/wrong").value
    # A bit that flips in the cache afterwards.
    content = bytearray(blob.read_bytes())
    content[-1] ^= 1
    blob.write_bytes(content)
    assert str(blob) in client.data("o/wrong").error
    blob.unlink()
    assert client.data("o/wrong").value == right


def test_a_mirror_without_digests_is_read(
    server: HubServer, client: HubClient, cifar: dict[str, bytes]
) -> None:
    server.repositories["o/bare"] = Repository(cifar, digests=False)
    assert client.data("o/bare").value["images"] == {"train": 40, "test": 20}


def test_rows_that_were_cut_off_are_named(
    server: HubServer, client: HubClient, home: Path, tmp_path: Path
) -> None:
    make_rows(tmp_path, "data/train-0.parquet", label=[0, 1] * 8)
    server.repositories["o/rows"] = Repository(files_of(tmp_path))
    before = set(home.rglob("*.arrow"))
    right = client.data("o/rows").value
    (arrow,) = set(home.rglob("*.arrow")) - before
    os.truncate(arrow, arrow.stat().st_size // 2)
    error = client.data("o/rows").error
    assert str(arrow.parent) in error and "delete that folder" in error
    for file in arrow.parent.iterdir():
        file.unlink()
    arrow.parent.rmdir()
    assert client.data("o/rows").value == right


def test_without_network_or_offline(
    server: HubServer, client: HubClient, home: Path, tmp_path: Path
) -> None:
    right = client.data("cifar10").value
    nowhere = "http://127.0.0.1:9"  # nothing listens there
    with HubClient(tmp_path, HF_HOME=str(home), HF_ENDPOINT=nowhere) as cut_off:
        answer = cut_off.data("cifar10")
        assert answer.value == right and "is taken from the cache" in answer.err
        error = cut_off.data("o/unknown").error
        assert f"{nowhere} cannot be reached for data set o/unknown" in error
        assert "--data.root DIR, which holds parquet files" in error and "train/<class>" in error
    with HubClient(tmp_path, HF_HOME=str(home), HF_HUB_OFFLINE="1") as offline:
        answer = offline.data("cifar10")
        assert answer.value == right and answer.err == ""
        error = offline.data("o/unknown").error
        assert "HF_HUB_OFFLINE" in error and str(home) in error
        assert "--data.root DIR, which holds parquet files" in error


@pytest.fixture
def little_space(server: HubServer, tmp_path: Path) -> Iterator[HubClient]:
    """A process whose cache is a file system of 256 KiB, or may have files of 64 KiB at most."""
    home = tmp_path / "home"
    home.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(home)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True).returncode == 0
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    if not mounted:
        resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 10, hard))
    try:
        client = HubClient(tmp_path, HF_HOME=str(home), HF_ENDPOINT=server.url)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    try:
        with client:
            yield client
    finally:
        if mounted:
            subprocess.run(["umount", str(home)], check=True)


def test_no_space_names_the_cache(
    server: HubServer, cifar: dict[str, bytes], little_space: HubClient, tmp_path: Path
) -> None:
    # The files fit on the disk, the rows that are written of them do not.
    for _ in range(2):
        error = little_space.data("cifar10").error
        assert f"no space for data set uoft-cs/cifar10 in the cache {tmp_path / 'home'}" in error
        assert "set HF_HOME" in error
    server.repositories["o/second"] = Repository({"data/train-0.parquet": cifar[TRAIN]})
    (tmp_path / "home" / "filler").write_bytes(bytes(32 << 10))
    assert "no space for data set o/second" in little_space.data("o/second").error


# -- parts -------------------------------------------------------------------------------------


def test_names() -> None:
    assert all(map(is_name, ("cifar10", "tiny-imagenet", "owner/name", "a.b/c-d_e")))
    assert not any(map(is_name, ("digits", "cifar", "./cifar10", "a/b/c", "/a", "a/", "../a", "")))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("CIFAR-10", "; the nearest is cifar10; give"),
        ("fashion-mnist", "; the nearest is fashion_mnist; give"),
        ("digit", "; the nearest is digits; give"),
        ("imagenet22k-of-mine", "does not exist; give"),
    ],
)
def test_a_name_that_may_be_misspelt(source: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        load_data(DataSettings(source=source))


def test_rows_are_read_one_at_a_time(tmp_path: Path) -> None:
    contents = make_pictures(6)
    file = tmp_path / "picture.png"
    file.write_bytes(contents[0])
    cells = [{"bytes": content, "path": None} for content in contents]
    cells += [{"bytes": None, "path": str(file)}, {"bytes": None, "path": None}]
    names = RowNames("set train", len(cells))
    dataset = datasets.Dataset.from_dict({"image": cells})
    pictures = ArrowPictures(dataset, "image", names, "hub 0", files={str(file)})
    assert len(pictures) == 8
    assert pictures[5] == contents[5] and pictures[2:4] == contents[2:4]
    assert pictures[6] == contents[0]  # which is a file's
    with pytest.raises(InputError, match="set train row 7: column image holds no image"):
        pictures[7]
    with file.open("wb") as large:
        large.truncate(65 << 20)
    with pytest.raises(InputError, match="is larger than"):
        pictures[6]


@pytest.mark.parametrize("path", ["/etc/hostname", "/dev/zero", "{}/../x.png", "http://x/y.png"])
def test_a_cell_names_no_file_of_this_machine(tmp_path: Path, path: str) -> None:
    (tmp_path / "x.png").write_bytes(b"secret")
    path = path.format(tmp_path / "x.png")
    dataset = datasets.Dataset.from_dict({"image": [{"bytes": None, "path": path}]})
    files = {str(tmp_path / "y.png")}
    pictures = ArrowPictures(dataset, "image", RowNames("set", 1), "hub 0", files=files)
    with pytest.raises(InputError) as caught:
        pictures[0]
    assert f"set row 0: image names {path!r}, which is not a file of the data set" in str(
        caught.value
    )


@pytest.mark.parametrize("cell", [{"bytes": "/etc/hostname"}, {"path": [1]}, {"path": 3}, {"a": 1}])
def test_a_cell_of_other_types_is_no_picture(cell: dict[str, Any]) -> None:
    dataset = datasets.Dataset.from_dict({"image": [cell]})
    pictures = ArrowPictures(dataset, "image", RowNames("set", 1), "hub 0", files=set())
    with pytest.raises(InputError, match=r"set row 0: (column image holds no image|image names)"):
        pictures[0]


def test_a_set_that_names_files_of_this_machine(
    server: HubServer, client: HubClient, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(make_pictures(1)[0])
    table = pa.table(
        {"image": [{"bytes": None, "path": str(secret)}] * 4, "label": ["a", "b", "a", "b"]}
    )
    cells = tmp_path / "cells"
    cells.mkdir()
    parquet.write_table(table, cells / "train-0.parquet")
    server.repositories["o/cells"] = Repository(files_of(cells))
    error = client.data("o/cells", "--data.label_column", "label").error
    assert f"names {str(secret)!r}, which is not a file of the data set" in error

    make_rows(tmp_path / "rows", "train-0.parquet", label=[0, 1, 1])
    rows = files_of(tmp_path / "rows")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0)
        address = f"ftp://127.0.0.1:{listening.getsockname()[1]}/x.parquet"
        cards = {
            "dataset_info: {features: [{name: label, dtype: {class_label: {names: "
            "{'99999999999': a}}}}]}": "a class has the number 99,999,999,999",
            f"configs: [{{config_name: a, data_files: '{address}'}}]": f"card names {address!r}",
            f"configs: [{{config_name: a, data_files: {tmp_path}/cells/*}}]": "its card names",
            "configs: [{config_name: a, data_dir: ../../other}]": "card names '../../other'",
            "configs: [{config_name: a, data_files: hf://datasets/o/cells/*}]": "its card names",
            "a: &a [x]\nb: *a": "the alias *a is not allowed",
        }
        for number, (text, said) in enumerate(cards.items()):
            readme = f"---\n{text}\n---\n".encode()
            server.repositories[f"o/card{number}"] = Repository({**rows, "README.md": readme})
            assert said in client.data(f"o/card{number}").error
        with pytest.raises(BlockingIOError):
            listening.accept()
