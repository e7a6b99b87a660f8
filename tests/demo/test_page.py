"""The demo's page in a browser: it answers as ``predict`` does, whichever way a picture comes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ghostnet_small.demo.chosen import INT8
from ghostnet_small.demo.opened import Bundle
from ghostnet_small.use.prediction import predict
from page_kit import MODEL, Demo, cifar10_pictures, encoded, made_picture

RED, BLUE = made_picture(0), made_picture(6)
CLOSE = 1e-3


@pytest.fixture(scope="module")
def twenty(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Test pictures of CIFAR-10 where it is at hand, otherwise made ones."""
    folder = tmp_path_factory.mktemp("twenty")
    root = os.environ.get("GHOSTNET_CIFAR10")
    pictures = cifar10_pictures(Path(root), 20) if root else [made_picture(n) for n in range(20)]
    files = [folder / f"{number:02}.png" for number in range(20)]
    for file, picture in zip(files, pictures, strict=True):
        picture.save(file)
    return files


def named(model: Path, files: list[Path]) -> list[dict[str, float]]:
    """What ``predict`` gives each picture: the classes, likeliest first."""
    answers = predict(model, files, top=10, say=print)
    return [{one["label"]: one["probability"] for one in answer["topk"]} for answer in answers]


def test_twenty_pictures_are_named_as_predict_names_them(
    demo: Demo, bundle: Bundle, twenty: list[Path], tmp_path: Path
) -> None:
    (tmp_path / INT8).write_bytes(bundle.files[INT8])
    float32, int8 = named(Path(MODEL), twenty), named(tmp_path / INT8, twenty)
    demo.all_classes()
    for file, exact, rounded in zip(twenty, float32, int8, strict=True):
        demo.give(file.read_bytes(), file.name)
        shown = demo.probabilities()
        assert next(iter(shown)) == next(iter(exact)) == demo.text("#winner")
        assert shown.keys() == exact.keys()
        for name, (first, second) in shown.items():
            assert first == pytest.approx(exact[name], abs=CLOSE)
            # Two builds of a runtime may round a value of 8 bits to either side.
            assert second == pytest.approx(rounded[name], abs=0.1)
    assert len({next(iter(answer)) for answer in float32}) > 2


def test_everything_is_loaded_from_the_server_by_name(demo: Demo) -> None:
    """The record of requests holds those of the worker, so that it could show any other."""
    asked = {url.removeprefix(demo.url) for url in demo.requests}
    assert {"", "model.json", "model.onnx", "model.int8.onnx", "activation.onnx"} <= asked
    assert "assets/ort-wasm-simd-threaded.wasm" in asked


def chooser(demo: Demo, content: bytes) -> None:
    with demo.page.expect_file_chooser() as opened:
        demo.page.click("#choose")
    opened.value.set_files({"name": "blue.png", "mimeType": "image/png", "buffer": content})


def clipboard(demo: Demo, content: bytes) -> None:
    demo.page.evaluate(
        """(data) => navigator.clipboard.write([new ClipboardItem({
            "image/png": new Blob([new Uint8Array(data)], {type: "image/png"})})])""",
        list(content),
    )
    demo.page.click("#paste")


@pytest.mark.parametrize(
    "way",
    [
        chooser,
        clipboard,
        lambda demo, content: demo.bring("drop", content, "blue.png", "image/png"),
        lambda demo, content: demo.bring("paste", content, "", "image/png"),
    ],
    ids=["chooser", "clipboard", "drop", "paste"],
)
def test_a_picture_comes(demo: Demo, way: Callable[[Demo, bytes], None]) -> None:
    demo.give(encoded(RED))
    if way is not chooser and way is not clipboard:
        demo.tab("draw")
    before = demo.answered()
    way(demo, encoded(BLUE))
    demo.wait(before)
    assert (demo.pixels("#seen") == np.asarray(BLUE)).all()
    assert demo.locate("#panel-file").is_visible()
    assert "32 \N{MULTIPLICATION SIGN} 32 pixels" in demo.text("#given")


@pytest.mark.parametrize("way", ["mouse", "keyboard"])
def test_an_example_comes(demo: Demo, way: str) -> None:
    demo.give(encoded(BLUE))
    before = demo.answered()
    example = demo.page.get_by_role("button", name="red.png")
    example.click() if way == "mouse" else example.press("Enter")
    demo.wait(before)
    assert (demo.pixels("#seen") == np.asarray(RED)).all()


def test_the_size_shown_is_that_of_the_very_file(demo: Demo) -> None:
    content = encoded(made_picture(3).resize((200, 150)), "BMP")
    demo.give(content, "large.bmp", "image/bmp")
    assert demo.locate(f"#sizes [data-bytes='{len(content)}']").count() == 1
    assert "large.bmp" in demo.text("#sizes")
    assert demo.locate("#sizes [data-bytes='36000000']").count() == 1
    assert "36\N{NO-BREAK SPACE}MB" in demo.text("#sizes")


def test_drawing_by_mouse_is_answered_and_undone(demo: Demo) -> None:
    demo.tab("draw")
    demo.page.click("#clear")
    box = demo.locate("#board").bounding_box()
    assert box is not None
    empty = demo.pixels("#board")
    before = demo.answered()
    demo.page.check("#colours input[value='#d62828']", force=True)
    demo.page.mouse.move(box["x"] + 50, box["y"] + 50)
    demo.page.mouse.down()
    demo.page.mouse.move(box["x"] + 200, box["y"] + 180, steps=5)
    demo.page.mouse.up()
    demo.wait(before)
    drawn = demo.pixels("#board")
    red = (drawn == (0xD6, 0x28, 0x28)).all(2)
    # Along the line, and nowhere else.
    assert red[150, 160:200].any() and not red[300:].any()
    demo.page.wait_for_timeout(200)
    assert demo.pixels("#seen")[13, 12:17, 1].min() < 100
    demo.page.click("#undo")
    assert (demo.pixels("#board") == empty).all()
    demo.page.click("#fill")
    assert (demo.pixels("#board") == (0xD6, 0x28, 0x28)).all()


def test_drawing_by_touch(demo: Demo) -> None:
    demo.tab("draw")
    demo.page.click("#clear")
    demo.page.check("#colours input[value='#000000']", force=True)
    box = demo.locate("#board").bounding_box()
    assert box is not None
    fingers = demo.page.context.new_cdp_session(demo.page)
    for kind, places in (
        ("touchStart", [{"x": box["x"] + 60, "y": box["y"] + 100}]),
        ("touchMove", [{"x": box["x"] + 160, "y": box["y"] + 100}]),
        ("touchEnd", []),
    ):
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})
    dark = (demo.pixels("#board") == 0).all(2)
    assert 60 < dark.any(0).sum() < 250


def test_drawing_by_keyboard(demo: Demo) -> None:
    press = demo.page.keyboard.press
    demo.locate("#tab-file").focus()
    press("ArrowRight")
    assert demo.locate("#panel-draw").is_visible()
    demo.page.click("#clear")
    demo.locate("#board").focus()
    before = demo.answered()
    press("Space")
    demo.wait(before)
    dot = (demo.pixels("#board") < 128).all(2)
    for key in ("Enter", "Shift+ArrowRight", "ArrowRight", "Enter", "Shift+ArrowDown"):
        press(key)
    line = (demo.pixels("#board") < 128).all(2)
    assert dot.any() and line.sum() > 2 * dot.sum()
    # The pen was lifted before it went down.
    assert line.any(1).sum() == dot.any(1).sum()
    assert line.any(0).sum() - dot.any(0).sum() == 48
    press("Control+z")
    press("Control+z")
    press("Control+z")
    assert ((demo.pixels("#board") < 128).all(2) == dot).all()


def test_the_camera_is_named_and_stops(demo: Demo) -> None:
    demo.tab("camera")
    demo.page.click("#camera-start")
    before = demo.answered()
    demo.page.click("#camera-take")
    demo.wait(before)
    # Chromium's test picture is green.
    assert demo.pixels("#seen").reshape(-1, 3).mean(0).argmax() == 1
    tracks = demo.page.evaluate_handle("document.getElementById('video').srcObject.getTracks()")
    demo.page.click("#camera-live")
    for _ in range(5):
        demo.wait(demo.answered())
    # A frame has no file.
    assert demo.locate("#sizes [data-bytes]").count() == 3
    demo.page.wait_for_selector("#camera-rate:has-text('images a second')")
    demo.tab("draw")
    assert tracks.evaluate("(tracks) => tracks.map((track) => track.readyState)") == ["ended"]
    demo.tab("camera")
    assert "off" in demo.text("#camera-text")


def test_the_camera_stops_when_the_page_is_hidden(demo: Demo) -> None:
    demo.tab("camera")
    demo.page.click("#camera-start")
    demo.page.wait_for_selector("#camera-take")
    demo.page.evaluate(
        """() => {
            Object.defineProperty(document, "hidden", {value: true, configurable: true});
            document.dispatchEvent(new Event("visibilitychange"));
            delete document.hidden;
        }"""
    )
    assert demo.page.evaluate("document.getElementById('video').srcObject") is None
    assert demo.locate("#camera-start").is_visible()


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        ("() => Promise.reject(new DOMException('', 'NotAllowedError'))", "Allow it"),
        ("() => Promise.reject(new DOMException('', 'NotFoundError'))", "no camera"),
        ("undefined", "no camera to offer"),
    ],
)
def test_a_refused_camera_is_told(demo: Demo, refusal: str, words: str) -> None:
    demo.tab("camera")
    demo.page.evaluate(f"void (navigator.mediaDevices.getUserMedia = {refusal})")
    try:
        demo.page.click("#camera-start")
        demo.page.wait_for_selector(f"#camera-text:has-text('{words}')")
    finally:
        demo.page.evaluate("void delete navigator.mediaDevices.getUserMedia")


def test_a_page_from_elsewhere_is_told_why_it_has_no_camera(demo: Demo) -> None:
    demo.tab("camera")
    demo.page.evaluate(
        """() => {
            Object.defineProperty(window, "isSecureContext", {value: false, configurable: true});
            Object.defineProperty(navigator, "mediaDevices", {value: null, configurable: true});
        }"""
    )
    try:
        demo.page.click("#camera-start")
        demo.page.wait_for_selector("#camera-text:has-text('localhost')")
    finally:
        demo.page.evaluate(
            """() => {
                Object.defineProperty(window, "isSecureContext", {value: true, configurable: true});
                delete navigator.mediaDevices;
            }"""
        )


def test_maps_are_of_the_class_that_is_chosen(demo: Demo) -> None:
    demo.give(encoded(Image.blend(RED, BLUE, 0.5)))
    seen = {}
    for name in ("cat", "ship", "truck"):
        demo.page.select_option("#looked-class", label=name)
        assert name in demo.text("#looked-text")
        label = demo.locate("#looked").get_attribute("aria-label") or ""
        assert name in label
        seen[name] = demo.pixels("#looked").tobytes()
    assert len(set(seen.values())) == 3
    demo.page.select_option("#looked-class", label="The likeliest")
    assert demo.text("#winner") in demo.text("#looked-text")


def test_time_is_a_median_of_many(demo: Demo) -> None:
    demo.give(encoded(RED))
    demo.page.wait_for_selector("#time-text:has-text('Median of 21')", timeout=60_000)
    for name in ("float32", "int8"):
        assert demo.text(f"#time-{name}").split("\N{NO-BREAK SPACE}")[0].replace(".", "").isdigit()
