"""What is served: the page's own files, and of the user's what was asked for, made anew."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ghostnet_small.data.pictures import read_picture
from ghostnet_small.demo import site as module
from ghostnet_small.demo.drawings import THINGS
from ghostnet_small.demo.manifest import RESIZE
from ghostnet_small.demo.opened import Bundle
from ghostnet_small.demo.site import read_page, read_pictures, site
from ghostnet_small.deploy.description import Description
from ghostnet_small.errors import InputError

Array = np.ndarray[Any, Any]
DESCRIBED = Description(
    *("resnet18", 1.0, ("a", "b"), (8, 8), (0.5,), (0.5,), "float32", "normalized", {})
)


def test_the_table_is_what_the_page_asks_for() -> None:
    bundle = Bundle("run", DESCRIBED, {"model.onnx": b"network"})
    page = {"index.html": b"page", "page.js": b"script", "icon.svg": b"icon"}
    table = site(bundle, page, {"a.wasm": b"wasm", "LICENSE": b"text"}, {"cat.png": b"picture"})
    assert sorted(table) == [
        *("/", "/assets/LICENSE", "/assets/a.wasm", "/icon.svg", "/model.json", "/model.onnx"),
        *("/page.js", "/pictures/0.png"),
    ]
    assert {path: table[path].type for path in ("/", "/page.js", "/assets/a.wasm")} == {
        "/": "text/html; charset=utf-8",
        "/page.js": "text/javascript; charset=utf-8",
        "/assets/a.wasm": "application/wasm",
    }
    assert table["/"].content == b"page" and table["/pictures/0.png"].content == b"picture"
    about = json.loads(table["/model.json"].content)
    assert about["pictures"] == [{"url": "pictures/0.png", "name": "cat.png"}]
    assert about["drawn"] is False


@pytest.mark.parametrize(
    ("classes", "channels", "names"),
    [
        (("ship", "b", "airplane"), 3, ["ship", "airplane"]),
        (("T - shirt / top", "Coat", "7"), 1, ["T - shirt / top", "7"]),
        # None of its classes can be drawn.
        (("a", "b"), 3, list(THINGS)),
    ],
)
def test_without_pictures_drawings_are_offered(
    classes: tuple[str, ...], channels: int, names: list[str]
) -> None:
    described = replace(DESCRIBED, classes=classes, mean=(0.5,) * channels, std=(0.5,) * channels)
    bundle = Bundle("run", described, {"model.onnx": b"network"})
    table = site(bundle, {"index.html": b"page"}, {}, {})
    about = json.loads(table["/model.json"].content)
    assert about["drawn"] and [one["name"] for one in about["pictures"]] == names
    for number in range(len(names)):
        with Image.open(io.BytesIO(table[f"/pictures/{number}.png"].content)) as image:
            assert image.mode == ("L" if channels == 1 else "RGB") and image.size == (192, 192)


def test_a_page_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="page is not in"):
        read_page(tmp_path / "gone")
    (tmp_path / "index.html").write_text("page")
    (tmp_path / ".hidden.js").write_text("not for the page")
    (tmp_path / "notes.orig").write_text("not for the page")
    (tmp_path / "folder.js").mkdir()
    assert read_page(tmp_path) == {"index.html": b"page"}


def test_pictures_are_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    colours = np.random.default_rng(0).integers(256, size=(6, 10, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    exif[0x010E] = "where I live"
    Image.fromarray(colours).save(tmp_path / "b.png", exif=exif)
    Image.fromarray(colours[:, :, 0]).save(tmp_path / "a.jpg", exif=exif)
    (tmp_path / "more").mkdir()
    Image.new("LA", (3000, 30), (0, 0)).save(tmp_path / "more/b.png")
    said: list[str] = []
    found = read_pictures(tmp_path, said.append)
    assert list(found) == ["a.jpg", "b.png", "b.png (2)"] and said == []
    for name, content in found.items():
        assert content.startswith(b"\x89PNG") and b"where I live" not in content
        with Image.open(io.BytesIO(content)) as image:
            assert image.info == {}
            assert image.size == ((1024, 10) if name == "b.png (2)" else (6, 10))
    for name in ("a.jpg", "b.png"):
        assert read_picture(found[name]).equal(read_picture(tmp_path / name))
    # What was clear is white.
    assert int(read_picture(found["b.png (2)"]).min()) == 255
    monkeypatch.setattr(module, "MOST_PICTURES", 2)
    assert list(read_pictures(tmp_path, said.append)) == ["a.jpg", "b.png"]
    assert len(said) == 1 and "of 3 images" in said[0] and said[0].endswith("the first 2")
    # One that cannot be read does not keep the others from being offered, nor takes a place.
    (tmp_path / "a.jpg").write_text("no picture")
    assert list(read_pictures(tmp_path, said.append)) == ["b.png", "b.png (2)"]
    assert "a.jpg is not a readable picture" in said[-1]
    for name in ("b.png", "more/b.png"):
        (tmp_path / name).write_text("no picture")
    with pytest.raises(InputError, match=r"a\.jpg is not a readable picture"):
        read_pictures(tmp_path, said.append)


# What the manifest says of pictures ------------------------------------------------------------


def as_told(pixels: Array, size: tuple[int, int], grey: bool) -> Array:
    """``(H, W, 3)`` as ``RESIZE`` says that ``read_picture`` brings it to ``(C, h, w)``."""
    values = pixels.astype(np.int64)
    if grey:
        rounding = 1 << RESIZE["grey"]["shift"] - 1
        weighted = values @ np.array(RESIZE["grey"]["weights"]) + rounding
        values = (weighted >> RESIZE["grey"]["shift"])[:, :, None]
    sides = dict(zip("HWhw", (*pixels.shape[:2], *size), strict=True))
    rule = RESIZE["vertical_first"]
    # Tests may evaluate what the code itself says.
    vertical_first = rule is not None and eval(rule, {"max": max}, sides)
    for axis in (0, 1) if vertical_first else (1, 0):
        values = one_pass(values.swapaxes(0, axis), size[axis]).swapaxes(0, axis)
    return values.transpose(2, 0, 1)


def one_pass(values: Array, target: int) -> Array:
    """The first axis brought to ``target`` places by a triangle that is as wide as it must be."""
    source = len(values)
    scale = source / target
    support = max(scale, 1.0)
    bits, out = RESIZE["precision_bits"], []
    for place in range(target):
        centre = (place + 0.5) * scale
        first, last = max(0, int(centre - support + 0.5)), min(source, int(centre + support + 0.5))
        distance = np.abs((np.arange(first, last) - centre + 0.5) / support)
        weights = np.clip(1 - distance, 0, None)
        whole = np.floor(weights / weights.sum() * (1 << bits) + 0.5).astype(np.int64)
        total = np.tensordot(whole, values[first:last], 1) + (1 << bits - 1)
        out.append(np.clip(total >> bits, 0, 255))
    return np.stack(out)


@pytest.mark.parametrize("channels", (1, 3))
@pytest.mark.parametrize(
    "shape", ((40, 57), (9, 5), (32, 32), (300, 20), (96, 64), (97, 64), (64, 300))
)
def test_what_is_said_of_resizing_is_what_is_done(shape: tuple[int, int], channels: int) -> None:
    assert (RESIZE["filter"], RESIZE["antialias"], RESIZE["keeps_ratio"]) == (
        "bilinear",
        True,
        False,
    )
    pixels = np.random.default_rng(0).integers(256, size=(*shape, 3), dtype=np.uint8)
    for size in ((32, 32), (24, 40)):
        found = read_picture(Image.fromarray(pixels), channels=channels, size=size)
        assert np.array_equal(found.numpy(), as_told(pixels, size, channels == 1))
