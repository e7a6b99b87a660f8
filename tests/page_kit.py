"""The demo served and opened in headless Chromium, with everything that it asks for on record."""

from __future__ import annotations

import base64
import io
import os
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from PIL import Image
from pyarrow import parquet

from ghostnet_small.demo.chosen import ACTIVATION, FILES, FLOAT32, INT8, RECORD, Chosen
from ghostnet_small.demo.opened import Bundle, open_bundle
from ghostnet_small.demo.server import DemoServer, Resource
from makers import make_picture

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Locator, Page, Playwright

MODEL = "ghostnetv3_small_w1.0_cifar10"
CHROMIUM = next((one for one in map(shutil.which, ("chromium", "chromium-browser")) if one), None)
WATCH = """
    window.moved = [];
    new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) window.moved.push(entry.value);
    }).observe({type: "layout-shift", buffered: true});
"""
# What looks like the network at large is not there, and the camera is a moving test picture.
SWITCHES = (
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)
READY_MS = 60_000


def small_bundle(folder: Path) -> Bundle:
    """The shipped CIFAR-10 network with all three files.

    Those that come with the weights where they do. Else they are made in ``folder``, without the
    comparisons that take most of the time of ``demo``, and int8 for random pictures.
    """
    chosen = Chosen.read(Path(MODEL), "last")
    if (chosen.folder / RECORD).is_file():
        bundle = open_bundle(Path(MODEL), say=print)
        if set(bundle.files) == set(FILES):
            return bundle
    if not (folder / ACTIVATION).is_file():
        _write_files(chosen, folder)
    return Bundle(
        MODEL,
        chosen.description(),
        {name: (folder / name).read_bytes() for name in FILES},
        config=chosen.model.config,
        method="Grad-CAM",
        test_top1={"top1": 86.7, "correct": 8670, "pictures": 10000},
        trained_on=chosen.trained_on(),
    )


def _write_files(chosen: Chosen, folder: Path) -> None:
    # These take seconds to import.
    from ghostnet_small.demo.activation import activation_maps
    from ghostnet_small.deploy.deployable import Deployable
    from ghostnet_small.deploy.onnx_file import content, export, onnx_model, without_history
    from ghostnet_small.deploy.quantize_onnx import quantized_model
    from ghostnet_small.nn.fold import reparameterize

    about = chosen.description()
    folded: Any = reparameterize(chosen.model)
    export(Deployable(folded.whole(), about).eval().requires_grad_(False), about, folder / FLOAT32)
    pictures = np.random.default_rng(0).standard_normal((20, *chosen.picture)).astype(np.float32)
    int8 = quantized_model(without_history(onnx.load(folder / FLOAT32)), pictures, [])
    (folder / INT8).write_bytes(content(int8, replace(about, precision="int8")))
    maps = activation_maps(folded, chosen.picture)
    assert maps is not None
    (folder / ACTIVATION).write_bytes(content(onnx_model(maps.requires_grad_(False), about), about))


def made_picture(label: int) -> Image.Image:
    """Of the network's size."""
    return make_picture(label, 10, size=32, random=np.random.default_rng(label))


def cifar10_pictures(root: Path, count: int) -> list[Image.Image]:
    """The first of CIFAR-10's test split in the folder ``root``."""
    (file,) = root.rglob("test-*.parquet")
    rows = next(parquet.ParquetFile(file).iter_batches(count, columns=["img"])).to_pylist()
    return [Image.open(io.BytesIO(row["img"]["bytes"])) for row in rows]


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    """The content of a file of ``image``."""
    content = io.BytesIO()
    image.save(content, form, **options)
    return content.getvalue()


@contextmanager
def running(table: Mapping[str, Resource]) -> Iterator[DemoServer]:
    """A server of ``table`` at work."""
    stop = threading.Event()
    with DemoServer("127.0.0.1", 0) as server:
        server.timeout = 0.02
        server.table = table
        thread = threading.Thread(target=server.serve, args=(stop.is_set,))
        thread.start()
        try:
            yield server
        finally:
            stop.set()
            thread.join()


@contextmanager
def serving(table: Mapping[str, Resource]) -> Iterator[str]:
    """The address at which ``table`` is served."""
    with running(table) as server:
        yield server.url


def start_chromium(playwright: Playwright) -> Browser:
    """Without its sandbox where the tests are run by root, for whom it has none."""
    sandbox = [] if os.geteuid() else ["--no-sandbox"]
    return playwright.chromium.launch(executable_path=CHROMIUM, args=[*SWITCHES, *sandbox])


@dataclass
class Demo:
    """The page, open; ``requests`` and ``complaints`` are all that it made.

    ``moved``: how far what was shown moved until the first answer was whole.
    """

    page: Page
    url: str
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    moved: float = 0.0

    @classmethod
    def open(cls, context: BrowserContext, url: str, *, ready: bool = True) -> Demo:
        demo = cls(context.new_page(), url)
        context.on("request", lambda request: demo.requests.append(request.url))
        demo.page.on("requestfailed", lambda request: demo.complaints.append(request.url))
        demo.page.on("console", lambda message: demo.complaints.append(message.text))
        demo.page.on("pageerror", lambda error: demo.complaints.append(str(error)))
        demo.page.goto(url)
        if ready:
            demo.page.wait_for_selector("body[data-ready]", timeout=READY_MS)
        return demo

    def first_answer(self) -> None:
        self.give(encoded(made_picture(0)))
        self.page.wait_for_selector("#time-text:has-text('Median')", timeout=READY_MS)
        self.moved = sum(self.page.evaluate("window.moved"))

    def outside(self) -> list[str]:
        """Requests for other addresses; ``blob:`` ones are of this page's own memory."""
        own = (self.url, f"blob:{self.url}", "data:")
        return [url for url in self.requests if not url.startswith(own)]

    def answered(self) -> int:
        """How many answers the page has shown."""
        return int(self.page.locator("body").get_attribute("data-answered") or 0)

    def wait(self, before: int) -> None:
        """Until another answer is shown than the first ``before``."""
        for _ in range(400):
            if self.answered() > before:
                return
            self.page.wait_for_timeout(25)
        raise AssertionError(f"no answer: {self.text('#failure')!r}")

    def text(self, selector: str) -> str:
        return self.page.locator(selector).text_content() or ""

    def locate(self, selector: str) -> Locator:
        return self.page.locator(selector)

    def tab(self, name: str) -> None:
        """Choose "file", "draw" or "camera"."""
        self.page.click(f"#tab-{name}")

    def give(self, content: bytes, name: str = "picture.png", kind: str = "image/png") -> None:
        """Choose a file, and wait for its answer."""
        before = self.answered()
        self.page.set_input_files("#file", {"name": name, "mimeType": kind, "buffer": content})
        self.wait(before)

    def all_classes(self) -> None:
        """Open the rest of the table."""
        if self.locate("#more").get_attribute("aria-expanded") == "false":
            self.page.click("#more")

    def probabilities(self) -> dict[str, list[float]]:
        """By class, of every precision, in the order of the table's rows."""
        rows: Sequence[tuple[str, list[str]]] = self.page.evaluate(
            """() => [...document.querySelectorAll("#classes tbody tr")].map((row) => [
                row.querySelector("th").textContent,
                [...row.querySelectorAll("td")].map((cell) => cell.dataset.probability)])"""
        )
        return {name: [float(value) for value in values] for name, values in rows}

    def pixels(self, selector: str) -> np.ndarray:
        """RGB of a canvas, ``(H, W, 3)``."""
        width, height, data = self.page.evaluate(
            """(selector) => {
                const canvas = document.querySelector(selector);
                const {width, height} = canvas;
                const image = canvas.getContext("2d").getImageData(0, 0, width, height);
                let text = "";
                for (const value of image.data) text += String.fromCharCode(value);
                return [width, height, btoa(text)];
            }""",
            selector,
        )
        found = np.frombuffer(base64.b64decode(data), np.uint8)
        return found.reshape(height, width, 4)[:, :, :3]

    def bring(self, event: str, content: bytes, name: str, kind: str) -> None:
        """Drop ("drop") or paste ("paste") a file; nothing where ``kind`` is empty."""
        self.page.evaluate(
            """([event, text, name, kind]) => {
                const carried = new DataTransfer();
                const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
                if (kind) carried.items.add(new File([bytes], name, {type: kind}));
                const common = {bubbles: true, cancelable: true};
                document.querySelector("main").dispatchEvent(event === "drop"
                    ? new DragEvent(event, {...common, dataTransfer: carried})
                    : new ClipboardEvent(event, {...common, clipboardData: carried}));
            }""",
            [event, base64.b64encode(content).decode(), name, kind],
        )
