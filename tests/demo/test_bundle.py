"""The files that the page runs: what is in them, and when they are taken or made."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import ghostnet_small as gns
from demo_kit import (
    other_classes,
    other_file,
    other_name,
    other_record,
    other_weights,
    tiny_networks,
)
from export_kit import FakeFormat, save_digits
from ghostnet_small.demo import bundle as making
from ghostnet_small.demo import opened
from ghostnet_small.demo.activation import activation_maps
from ghostnet_small.demo.activation_file import without_places
from ghostnet_small.demo.bundle import write_bundle
from ghostnet_small.demo.manifest import manifest
from ghostnet_small.demo.opened import Bundle, open_bundle
from ghostnet_small.deploy import onnx_file
from ghostnet_small.deploy.description import Description
from ghostnet_small.deploy.formats import FORMATS, open_file
from ghostnet_small.deploy.onnx_file import content
from ghostnet_small.errors import InputError
from ghostnet_small.files import signed_json

FILES = ["model.onnx", "model.int8.onnx", "activation.onnx"]
MADE = ["activation.onnx", "bundle.json", "model.int8.onnx", "model.onnx"]


@pytest.fixture(scope="module", autouse=True)
def tiny() -> Iterator[None]:
    with tiny_networks():
        yield


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    folder = save_digits(tmp_path_factory.mktemp("runs") / "digits")
    write_bundle(
        folder, folder, test_top1={"top1": 50.0, "correct": 1, "pictures": 2}, say=lambda text: None
    )
    return folder


@pytest.fixture
def weights(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "digits"))


@pytest.fixture
def made_instead(monkeypatch: pytest.MonkeyPatch, saved: Path) -> list[Path]:
    """Where files are made: copies of those of ``saved`` are, and their weights' identity stays."""
    calls: list[Path] = []

    def write(path: Path, out: Path, **options: Any) -> None:
        calls.append(out)
        for name in MADE:
            shutil.copy(saved / name, out / name)
        record = json.loads((out / "bundle.json").read_text())
        del record["digest"]
        record["weights"] = opened.Chosen.read(path, "last").identity()
        (out / "bundle.json").write_text(signed_json(record))

    monkeypatch.setattr(opened, "write_bundle", write)
    return calls


@pytest.fixture
def said() -> list[str]:
    return []


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


# What is made ---------------------------------------------------------------------------------


def test_the_files_of_weights(saved: Path) -> None:
    assert names(saved) == sorted([*MADE, "config.json", "model.safetensors"])
    model, info = gns.load(saved)
    network, pictures = model.double(), torch.randn(5, 1, 8, 8, dtype=torch.float64)
    with torch.no_grad():
        expected = network(pictures)
    maps = activation_maps(network, (1, 8, 8))
    assert maps is not None
    shown = pictures.float().numpy()
    for name, precision in (("model.onnx", "float32"), ("model.int8.onnx", "int8")):
        session = open_file(saved / name)
        assert session.description.precision == precision
        assert session.description.classes == info.classes
        bound = 1e-4 if precision == "float32" else 0.5
        assert np.abs(session(shown) - expected.numpy()).max() < bound * expected.abs().max()
    session = onnxruntime.InferenceSession(saved / "activation.onnx")
    answers = np.concatenate([session.run(None, {"pictures": one[None]})[0] for one in shown])
    exact = maps(pictures).detach().numpy()
    assert answers.shape == exact.shape == (5, 10, 4, 4)
    assert np.abs(answers - exact).max() < 1e-4 * np.abs(exact).max()


def test_ready_files_are_taken(
    weights: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Neither onnx nor the data are needed.
    monkeypatch.setitem(FORMATS, "onnx", replace(FORMATS["onnx"], modules=("no_such_module",)))
    found = open_bundle(weights, say=said.append)
    assert said == [] and list(found.files) == FILES
    assert all(found.files[name] == (weights / name).read_bytes() for name in FILES)
    assert (found.name, found.method, found.trained_on) == ("digits", "Grad-CAM", "digits")
    assert found.test_top1 == {"top1": 50.0, "correct": 1, "pictures": 2}


@pytest.mark.parametrize(
    ("change", "reason"),
    (
        (other_weights, "made of other weights"),
        (other_classes, "made of other weights"),
        (other_file, "model.int8.onnx is not the file"),
        (other_record, "its digest is not that"),
        (other_name, "'../config.json' is no file"),
        (lambda weights: (weights / "model.onnx").unlink(), "No such file"),
        (lambda weights: (weights / "bundle.json").write_text("{}"), "no 'weights'"),
        (lambda weights: (weights / "bundle.json").write_bytes(b"\xff"), "can't decode"),
    ),
)
def test_ready_files_that_do_not_belong_to_the_weights(
    weights: Path, said: list[str], made_instead: list[Path], change: Any, reason: str
) -> None:
    change(weights)
    found = open_bundle(weights, say=said.append)
    assert len(said) == 1 and reason in said[0] and "others are made" in said[0]
    (place,) = made_instead
    # The temporary folder is gone, and what was there is as it was.
    assert not place.exists() and place != weights and list(found.files) == FILES


def test_an_interrupt_leaves_no_temporary_folder(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = []

    def write(path: Path, out: Path, **options: Any) -> None:
        places.append(out)
        (out / "half").write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(opened, "write_bundle", write)
    with pytest.raises(KeyboardInterrupt):
        open_bundle(weights, overrides=["--data.limit", "32"], say=print)
    assert len(places) == 1 and not places[0].exists()


@pytest.fixture
def copies(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of an export, the graphs of ``saved``, whose network all weights here have."""

    def export(network: Any, description: Description, path: Path) -> None:
        path.write_bytes(content(onnx.load(saved / "model.onnx"), description))

    module = SimpleNamespace(export=export, open_file=onnx_file.open_file)
    monkeypatch.setitem(FORMATS, "onnx", FakeFormat("onnx", ".onnx", "", int8="fake", made=module))
    monkeypatch.setattr(
        "ghostnet_small.demo.activation_file.onnx_model",
        lambda maps, description: onnx.load(saved / "activation.onnx"),
    )


def test_no_data_no_int8(copies: None, tmp_path: Path, said: list[str]) -> None:
    gone = str(tmp_path / "gone")
    weights = save_digits(tmp_path / "weights", ("--data.root", gone))
    out = tmp_path / "out"
    out.mkdir()
    (out / "model.int8.onnx").write_text("of other weights")
    found = write_bundle(weights, out, say=said.append)
    assert names(out) == ["activation.onnx", "bundle.json", "model.onnx"]
    assert list(found["files"]) == list(found["compared"]) == ["model.onnx", "activation.onnx"]
    about = [remark for remark in said if "int8" in remark]
    assert len(about) == 1 and "name the folder of the data with --data.root" in about[0]
    for name in names(out):
        assert str(tmp_path).encode() not in (out / name).read_bytes()
    assert open_file(out / "model.onnx").description.data["root"] is None
    before = {name: (out / name).read_bytes() for name in names(out)}
    with pytest.raises(InputError, match=r"--int8 has no training images .*gone2"):
        write_bundle(weights, out, overrides=["--data.root", gone + "2"], say=said.append)
    assert {name: (out / name).read_bytes() for name in names(out)} == before


def test_a_missing_extra_is_named(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMATS, "onnx", replace(FORMATS["onnx"], modules=("no_such_module",)))
    (weights / "bundle.json").unlink()
    with pytest.raises(InputError, match=r"no_such_module.*pip install 'ghostnet-small\[onnx\]'"):
        open_bundle(weights, say=print)


def test_a_network_without_maps(
    weights: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def export(chosen: Any, out: Path, *rest: Any) -> dict[str, Any]:
        out.mkdir()
        shutil.copy(weights / "model.onnx", out)
        return {"model.onnx": {}}

    monkeypatch.setattr(making, "_export", export)
    monkeypatch.setattr(making, "activation_maps", lambda *words: None)
    assert write_bundle(weights, weights, say=said.append)["activation"] is None
    assert said == ["no activation file: the maps of ghostnetv3_small are not known"]
    assert not (weights / "activation.onnx").exists()
    found = open_bundle(weights, say=said.append)
    assert list(found.files) == ["model.onnx"] and found.method is None
    assert manifest(found, [])["activation"] is None


# A file ---------------------------------------------------------------------------------------


def test_an_exported_file_alone(saved: Path, said: list[str], tmp_path: Path) -> None:
    found = open_bundle(saved / "model.onnx", say=said.append)
    assert list(found.files) == ["model.onnx"] and found.name == "model.onnx" and said == []
    about = manifest(found, [])
    assert about["files"]["int8"] is None and about["activation"] is None
    assert about["files"]["float32"] == {
        "url": "model.onnx",
        "bytes": len(found.files["model.onnx"]),
    }
    int8 = open_bundle(saved / "model.int8.onnx", say=said.append)
    assert list(int8.files) == ["model.int8.onnx"]
    assert manifest(int8, [])["files"]["float32"] is None
    assert about["params"] == manifest(int8, [])["params"]


def test_files_that_are_refused(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"--weights has no meaning for .*model\.onnx"):
        open_bundle(saved / "model.onnx", weights="best", say=print)
    with pytest.raises(InputError, match=r"--data\.root has no meaning for .*model\.onnx"):
        open_bundle(saved / "model.onnx", overrides=["--data.root=x"], say=print)
    for name in ("config.json", "model.pt2"):
        with pytest.raises(InputError, match=rf"{name} is no \.onnx file"):
            open_bundle(saved / name, say=print)
    with pytest.raises(InputError, match=r"nowhere is not a folder; give a run's folder"):
        open_bundle(saved / "nowhere", say=print)
    described = replace(open_file(saved / "model.onnx").description, input="pixels")
    monkeypatch.setattr(opened, "open_file", lambda path: SimpleNamespace(description=described))
    with pytest.raises(InputError, match=r"takes pixels, .* --input normalized"):
        open_bundle(saved / "model.onnx", say=print)


def test_a_file_tells_no_folder(saved: Path, tmp_path: Path) -> None:
    described = open_file(saved / "model.onnx").description
    named = replace(
        described, data={**described.data, "root": "/home/alice/digits", "cache": "alice"}
    )
    file = tmp_path / "model.onnx"
    file.write_bytes(content(onnx.load(saved / "model.onnx"), named))
    assert b"alice" in file.read_bytes()
    without = without_places(file)
    assert b"alice" not in without and without == (saved / "model.onnx").read_bytes()


# What the page is told ------------------------------------------------------------------------


def test_the_manifest(saved: Path) -> None:
    offered = [{"url": "pictures/0.png", "name": "a.png"}]
    about = json.loads(json.dumps(manifest(open_bundle(saved, say=print), offered)))
    model, info = gns.load(saved)
    assert about["name"] == "digits" and about["architecture"] == "ghostnetv3_small"
    assert about["width"] == 0.05 and about["classes"] == list(info.classes)
    assert (about["size"], about["channels"]) == ([8, 8], 1)
    assert (about["mean"], about["std"]) == ([0.3], [0.4])
    assert about["params"]["training"] == sum(part.numel() for part in model.parameters())
    folded = gns.reparameterize(model)
    assert about["params"]["deployed"] == sum(part.numel() for part in folded.parameters())
    assert about["macs"]["training"] > about["macs"]["deployed"] > 0
    for key, name in (("float32", "model.onnx"), ("int8", "model.int8.onnx")):
        assert about["files"][key] == {"url": name, "bytes": (saved / name).stat().st_size}
    assert about["activation"] == {"url": "activation.onnx", "method": "Grad-CAM"}
    assert about["trained_on"] == "digits" and about["test_top1"]["correct"] == 1
    assert about["pictures"] == offered
    assert about["runtime"]["name"] == "onnxruntime-web"


def test_a_teachers_file_says_nothing_of_its_size(saved: Path) -> None:
    described = replace(open_file(saved / "model.onnx").description, architecture="resnet18")
    about = manifest(Bundle("x", described, {"model.onnx": b""}, opened._config_of(described)), [])
    assert about["params"] is None and about["macs"] is None
