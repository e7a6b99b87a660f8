"""A network of one block, whose ONNX files are made in seconds, and a page of a few bytes."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import torch

import ghostnet_small as gns
from ghostnet_small.demo import runtime, site
from ghostnet_small.files import signed_json
from ghostnet_small.models.ghostnetv3 import ARCHITECTURES, Architecture, Block

TINY = Architecture(blocks=(Block(3, 32, 20, 0.25, 2),), stem=16, last=160, groups=(1,))


@contextmanager
def tiny_networks() -> Iterator[None]:
    """``ghostnetv3_small`` has one block."""
    with patch.dict(ARCHITECTURES, {"ghostnetv3_small": TINY}):
        yield


@contextmanager
def tiny_page(folder: Path) -> Iterator[None]:
    """The page and the runtime's files are small ones in ``folder``."""
    page, assets = folder / "page", folder / "assets"
    page.mkdir()
    assets.mkdir()
    (page / "index.html").write_text("<!doctype html><title>A page</title>")
    (page / "page.js").write_text("export {};")
    sums = {}
    for name in runtime.SUMS:
        (assets / name).write_text(name)
        sums[name] = hashlib.sha256(name.encode()).hexdigest()
    with (
        patch.object(site, "PAGE", page),
        patch.object(runtime, "ASSETS", assets),
        patch.dict(runtime.SUMS, sums),
    ):
        yield


def other_weights(weights: Path) -> None:
    """Weights that were trained on."""
    model, info = gns.load(weights)
    with torch.no_grad():
        model.classifier.bias += 1  # type: ignore[union-attr, operator]
    gns.save_model(model, info, weights)


def other_classes(weights: Path) -> None:
    """The same weights, for classes of other names."""
    model, info = gns.load(weights)
    gns.save_model(model, replace(info, classes=tuple("abcdefghij")), weights)


def other_file(weights: Path) -> None:
    """A file in the place of another."""
    shutil.copy(weights / "model.onnx", weights / "model.int8.onnx")


def other_record(weights: Path) -> None:
    """A record that was edited by hand."""
    text = (weights / "bundle.json").read_text()
    (weights / "bundle.json").write_text(text.replace("Grad-CAM", "Guesses"))


def other_name(weights: Path) -> None:
    """A record that names a file of the user's."""
    record = json.loads((weights / "bundle.json").read_text())
    del record["digest"]
    record["files"]["../config.json"] = record["files"]["model.onnx"]
    (weights / "bundle.json").write_text(signed_json(record))
