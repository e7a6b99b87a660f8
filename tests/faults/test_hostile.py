"""Files made to harm: nothing runs, nothing hangs, and memory stays within what a file holds."""

from __future__ import annotations

import json
import os
import shutil
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import ghostnet_small as gns
from ghostnet_small.cli import main
from ghostnet_small.errors import InputError
from ghostnet_small.recipe.recipe import read_recipe
from ghostnet_small.run.records import read_rows
from ghostnet_small.use.prediction import predict


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = gns.create_model("ghostnetv3_small", width=0.05, num_classes=2, in_channels=1)
    info = gns.ModelInfo(("a", "b"), (8, 8), (0.3,), (0.4,), read_recipe().as_dict())
    folder = tmp_path_factory.mktemp("made") / "weights"
    gns.save_model(model, info, folder)
    return folder


@pytest.fixture
def weights(made: Path, tmp_path: Path) -> Path:
    """A copy to be spoiled."""
    return Path(shutil.copytree(made, tmp_path / "weights"))


CONFIGS: dict[str, dict[str, Any]] = {
    "width beyond a float": {"width": 10**400},
    "width of infinity": {"width": float("inf")},
    "width of 1e300": {"width": 1e300},
    "a wide deployed form": {"width": 90.0, "form": "deployed"},
    "width below 0": {"width": -1},
    "width true": {"width": True},
    "width null": {"width": None},
    "architecture a list": {"architecture": ["ghostnetv3"]},
    "classes beyond number": {"num_classes": 10**12},
    "classes no list": {"classes": "ab"},
    "channels beyond number": {"in_channels": 10**12},
    "a huge size": {"size": [10**9, 10**9]},
    "a size below 0": {"size": [-8, 8]},
    "a size of infinity": {"size": [float("inf"), 8]},
    "no size": {"size": []},
    "mean not a number": {"mean": [float("nan")]},
    "std of 0": {"std": [0.0]},
    "recipe a list": {"recipe": [["train", 1]]},
    "form a list": {"form": ["training"]},
}


@pytest.mark.parametrize("case", CONFIGS)
def test_a_config_that_asks_for_the_impossible(case: str, weights: Path) -> None:
    config = json.loads((weights / "config.json").read_text())
    del config["digest"]
    (weights / "config.json").write_text(json.dumps(config | CONFIGS[case]))
    tracemalloc.start()
    with pytest.raises(InputError):
        gns.load(weights)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "1" * 5_000, "\ud800"])
def test_a_config_that_is_no_object(text: str, weights: Path) -> None:
    (weights / "config.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(InputError, match=r"config\.json"):
        gns.load(weights)


def test_a_header_that_promises_more_than_there_is(weights: Path) -> None:
    file = weights / "model.safetensors"
    for header in (
        b'{"head.weight":{"dtype":"F32","shape":[1000000,1000000],"data_offsets":[0,4000000000000]}}',
        b'{"head.weight":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}',
        b'{"a":' * 50_000,
        b'{"__metadata__":{"values":"' + b"[" * 50_000 + b'"}}',
    ):
        file.write_bytes(struct.pack("<Q", len(header)) + header)
        with pytest.raises(InputError, match=r"model\.safetensors"):
            gns.load(weights)
    file.write_bytes(struct.pack("<Q", 2**63) + b"{}")
    with pytest.raises(InputError, match=r"model\.safetensors"):
        gns.load(weights)


def test_a_sparse_file_of_a_terabyte_is_not_read(weights: Path) -> None:
    """It takes no room on the disk, and would take all of the memory."""
    size = 1 << 40
    header = json.dumps(
        {"head.weight": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}}
    ).encode()
    with (weights / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + size)
    # Where the system grants no such mapping, that is the first to say no.
    with pytest.raises(InputError, match=r"another architecture|unable to mmap"):
        gns.load(weights)
    with (weights / "config.json").open("wb") as file:
        file.truncate(size)
    with pytest.raises(InputError, match="larger than"):
        gns.load(weights)


def test_weights_of_another_type(weights: Path) -> None:
    from safetensors.torch import load_file, save_file

    file = weights / "model.safetensors"
    state = load_file(file)
    save_file({name: tensor.double() for name, tensor in state.items()}, file)
    with pytest.raises(InputError, match="float64"):
        gns.load(weights)


def test_tensors_that_no_model_asked_for_are_not_read(weights: Path) -> None:
    from safetensors.torch import load_file, save_file

    for form in ("training", "deployed"):
        model, info = gns.load(weights)
        gns.save_model(model if form == "training" else gns.reparameterize(model), info, weights)
        state = load_file(weights / "model.safetensors")
        more = {"unknown": torch.zeros(1 << 20)}
        save_file({**state, **more}, weights / "model.safetensors")
        with pytest.raises(InputError, match="more numbers than the model"):
            gns.load(weights)
        save_file(state, weights / "model.safetensors")


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "loop"])
def test_what_is_no_file_is_not_waited_for(kind: str, name: str, weights: Path) -> None:
    file = weights / name
    file.unlink()
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "device":
        file.symlink_to("/dev/zero")
    elif kind == "folder":
        file.mkdir()
    else:
        file.symlink_to(file)
    with pytest.raises(InputError):
        gns.load(weights)


@pytest.mark.timeout(30)
def test_pictures_and_recipes_that_never_end(weights: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    for path in (Path("/dev/zero"), pipe):
        with pytest.raises(InputError):
            predict(weights, [path], say=print)
        with pytest.raises(InputError):
            read_recipe(path)
        with pytest.raises((InputError, OSError)):
            read_rows(path)


def test_weights_for_pictures_that_no_file_holds(tmp_path: Path) -> None:
    model = gns.create_model("ghostnetv3_small", width=0.05, num_classes=2, in_channels=2)
    info = gns.ModelInfo(("a", "b"), (8, 8), (0.3,) * 2, (0.4,) * 2, {})
    gns.save_model(model, info, tmp_path)
    with pytest.raises(InputError, match="2 channels"):
        predict(tmp_path, [tmp_path], say=print)


def test_a_large_size_is_predicted_a_few_at_a_time(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights that ask for pictures of 2048 x 2048 get one at a time, not five hundred."""
    from ghostnet_small.use import classifier, image_inputs

    config = json.loads((weights / "config.json").read_text())
    del config["digest"]
    (weights / "config.json").write_text(json.dumps(config | {"size": [16, 32]}))
    monkeypatch.setattr(image_inputs, "BATCH_PIXELS", 2 * 16 * 32)
    shapes = []
    real = classifier.normalize

    def normalize(images: torch.Tensor, *rest: Any) -> torch.Tensor:
        shapes.append(tuple(images.shape))
        return real(images, *rest)

    monkeypatch.setattr(classifier, "normalize", normalize)
    for number in range(5):
        Image.new("L", (4, 4)).save(tmp_path / f"{number}.png")
    files = sorted(tmp_path.glob("*.png"))
    assert len(predict(weights, files, say=lambda remark: None)) == 5
    assert shapes == [(2, 1, 16, 32), (2, 1, 16, 32), (1, 1, 16, 32)]


def test_a_picture_of_a_thousand_million_pixels(weights: Path, tmp_path: Path) -> None:
    """A decompression bomb: 1 kB of PNG that says it is 30,000 x 30,000."""
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    picture = tmp_path / "bomb.png"
    picture.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(bytes(1 << 20)))
        + chunk(b"IEND", b"")
    )
    with pytest.raises(InputError, match=r"bomb\.png"):
        predict(weights, [picture], say=print)


RECIPES = {
    "aliases of aliases": "a: &a [x, x]\nb: &b [*a, *a]\nname: [*b, *b]\n",
    "deep": "name: " + "[" * 20_000,
    "a date that is none": "name: 2001-99-99\n",
    "a truth that is none": "train:\n  shuffle: !!bool maybe\n",
    "an empty number": "train:\n  epochs: !!int ''\n",
    "a number too long": "train:\n  epochs: " + "9" * 5_000 + "\n",
    "code": "name: !!python/object/apply:os.system [touch sprung]\n",
    "no epochs": "train:\n  epochs: null\n",
    "a key of lists": "? [a]\n: 1\n",
    "bytes": "name: !!binary aGVsbG8=\n",
    "not UTF-8": "name: \udcff\n",
    "large": "#" * (2 << 20),
}


@pytest.mark.parametrize("case", RECIPES)
def test_a_recipe_that_harms(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "recipe.yaml"
    file.write_bytes(RECIPES[case].encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError) as raised:
        read_recipe(file)
    assert len(str(raised.value)) < 2_000
    assert not (tmp_path / "sprung").exists()


def test_names_that_command_a_terminal_are_spelt_out(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = tmp_path / "a\n\x1b[2J\udcff.png"
    name.write_bytes(b"no picture")
    assert main(["predict", str(weights), str(name)]) == 2
    err = capsys.readouterr().err
    assert "\x1b" not in err and err.count("\n") == 1 and r"\n\x1b[2J\udcff.png" in err
    Image.new("L", (8, 8)).save(name, "PNG")
    assert main(["predict", str(weights), str(name)]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out and out.count("\n") == 1 and r"\n\x1b[2J\udcff.png" in out
