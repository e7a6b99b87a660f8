"""The demo's page reads pictures as ``read_picture`` does, and refuses in words what it cannot."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ghostnet_small.data.pictures import read_picture
from ghostnet_small.demo.manifest import RESIZE
from page_kit import Demo, encoded

READ = """async ([text, kind, shape]) => {
    const {decode, toPixels} = await import("/picture.js");
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const bitmap = await decode(new Blob([bytes], {type: kind}), "it");
    const {width, height} = bitmap;
    return Array.from(toPixels(bitmap, {left: 0, top: 0, width, height}, shape).data);
}"""


def scene(width: int, height: int, seed: int = 0) -> Image.Image:
    """Soft colours with edges and noise, as photographs have them."""
    random = np.random.default_rng(seed)
    rough = Image.fromarray(random.integers(0, 256, (7, 9, 3), np.uint8))
    pixels = np.asarray(rough.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
    pixels[height // 3 : height // 2, width // 4 :] //= 2
    noise = random.integers(-20, 21, (height, width, 1), np.int16)
    return Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8))


def with_alpha() -> Image.Image:
    image = scene(257, 131)
    across = np.linspace(0, 255, 257).astype(np.uint8)
    image.putalpha(Image.fromarray(np.tile(across, (131, 1))))
    return image


def turned(orientation: int) -> dict[str, Any]:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return {"exif": exif.tobytes(), "quality": 90}


def deep() -> Image.Image:
    grey = np.asarray(scene(90, 60).convert("L")).astype(np.uint16)
    return Image.fromarray(grey * 257)


def clear_palette() -> bytes:
    image = scene(60, 60).quantize(16)
    return encoded(image, transparency=3)


CASES = {
    # The two decoders of JPEG may round a value to either side.
    "photograph": (lambda: encoded(scene(2400, 1600), "JPEG", quality=90), 1),
    "jpeg": (lambda: encoded(scene(640, 427), "JPEG", quality=85), 1),
    "turned": (lambda: encoded(scene(320, 200), "JPEG", **turned(6)), 1),
    "mirrored": (lambda: encoded(scene(320, 200), "JPEG", **turned(5)), 1),
    "colour": (lambda: encoded(scene(1023, 517)), 0),
    "tall": (lambda: encoded(scene(33, 901)), 0),
    "tall in strips": (lambda: encoded(scene(700, 1600), compress_level=1), 0),
    "small": (lambda: encoded(scene(9, 14)), 0),
    "grey": (lambda: encoded(scene(300, 200).convert("L")), 0),
    "sixteen bits": (lambda: encoded(deep()), 1),
    "alpha": (lambda: encoded(with_alpha()), 1),
    "clear palette": (clear_palette, 0),
    "webp": (lambda: encoded(scene(200, 140), "WEBP", lossless=True), 0),
    "gif": (lambda: encoded(scene(200, 140).quantize(64), "GIF"), 0),
}
LARGE = ("photograph", "tall in strips")
TALL_FIRST = RESIZE["vertical_first"] is not None
SHAPES = [(3, 32, 32), (1, 28, 28), (3, 64, 48)]


@pytest.mark.parametrize("case", CASES)
def test_pixels_are_those_of_predict(demo: Demo, case: str) -> None:
    make, allowed = CASES[case]
    content = make()
    text = base64.b64encode(content).decode()
    kind = Image.MIME[Image.open(io.BytesIO(content)).format or ""]
    for channels, height, width in SHAPES[:1] if case in LARGE else SHAPES:
        shape = {"channels": channels, "height": height, "width": width, "tallFirst": TALL_FIRST}
        found = np.array(demo.page.evaluate(READ, [text, kind, shape]), int)
        exact = read_picture(content, channels=channels, size=(height, width))
        exact_pixels = exact.permute(1, 2, 0).flatten().numpy().astype(int)
        assert abs(found - exact_pixels).max() <= allowed


def test_the_network_sees_those_pixels(demo: Demo) -> None:
    content = encoded(scene(300, 170))
    demo.give(content)
    exact = read_picture(content, channels=3, size=32).permute(1, 2, 0).numpy()
    assert (demo.pixels("#seen") == exact).all()


@pytest.mark.parametrize(
    ("content", "kind", "words"),
    [
        (b"These are words.", "text/plain", "not an image"),
        (b"", "image/png", "is empty"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml", "not an image"),
        (encoded(scene(60, 60))[:300], "image/png", "not an image"),
        (encoded(Image.new("1", (5001, 5000))), "image/png", "25 million"),
    ],
    ids=["words", "empty", "vector", "cut short", "bomb"],
)
def test_what_is_no_picture_is_told(demo: Demo, content: bytes, kind: str, words: str) -> None:
    demo.give(encoded(scene(40, 40)))
    before = demo.answered()
    demo.bring("drop", content, "given.file", kind)
    demo.page.wait_for_selector(f"#failure:has-text('{words}')")
    assert "given.file" in demo.text("#failure")
    assert demo.answered() == before
    demo.page.click("#failure button")


def test_a_drop_and_a_paste_of_no_file_are_told(demo: Demo) -> None:
    for event, words in (("drop", "no file"), ("paste", "no image in the clipboard")):
        demo.bring(event, b"", "", "")
        demo.page.wait_for_selector(f"#failure:has-text('{words}')")
        demo.page.click("#failure button")
