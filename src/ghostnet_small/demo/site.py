"""The files that the server serves: the page, the runtime, the network's, images to try."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from ghostnet_small.data.image_files import find_pictures
from ghostnet_small.data.pictures import read_picture
from ghostnet_small.demo.drawings import examples
from ghostnet_small.demo.manifest import manifest
from ghostnet_small.demo.opened import Bundle
from ghostnet_small.demo.server import Resource, Table
from ghostnet_small.errors import InputError, printable
from ghostnet_small.files import read_bytes

PAGE = Path(__file__).parent / "page"
INDEX = "index.html"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".wasm": "application/wasm",
    ".onnx": "application/octet-stream",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    "": "text/plain; charset=utf-8",
}
MOST_PICTURES = 24
MOST_SIDE = 1024  # pixels

Say = Callable[[str], None]


def read_page(folder: Path | None = None) -> dict[str, bytes]:
    """Return the page's files by name; raises ``InputError`` where there is none."""
    folder = PAGE if folder is None else folder
    files = sorted(file for file in folder.glob("*") if file.suffix in TYPES and file.is_file())
    if INDEX not in [file.name for file in files]:
        raise InputError(f"the demo's page is not in {folder}; install ghostnet-small again")
    return {file.name: read_bytes(file) for file in files if not file.name.startswith(".")}


def read_pictures(folder: Path, say: Say) -> dict[str, bytes]:
    """Return the first images of ``folder`` as PNG by name, upright, over white, without any other
    content of their files; large ones are reduced.

    One that cannot be read is left out, and reported to ``say``.

    Raises ``InputError`` where there is none, or none can be read.
    """
    files = find_pictures(folder, say)
    if len(files) > MOST_PICTURES:
        say(f"of {len(files)} images of {folder} the page offers the first {MOST_PICTURES}")
    found: dict[str, bytes] = {}
    reasons = []
    for file in files:
        if len(found) == MOST_PICTURES:
            break
        try:
            pixels = read_picture(file)
        except InputError as error:
            reasons.append(str(error))
            continue
        channels = pixels.permute(1, 2, 0).numpy()
        picture = Image.fromarray(channels[:, :, 0] if len(pixels) == 1 else channels)
        picture.thumbnail((MOST_SIDE, MOST_SIDE), Image.Resampling.BILINEAR, reducing_gap=None)
        text = io.BytesIO()
        picture.save(text, "PNG")
        name = printable(file.name)
        # Two folders may each have one of that name.
        number = 2
        while name in found:
            name, number = f"{printable(file.name)} ({number})", number + 1
        found[name] = text.getvalue()
    if not found:
        raise InputError(reasons[0])
    for reason in reasons[:MOST_PICTURES]:
        say(reason)
    return found


def site(
    bundle: Bundle,
    page: dict[str, bytes],
    assets: dict[str, bytes],
    pictures: dict[str, bytes],
) -> Table:
    """Return every address that is served; without user's ``pictures``, drawings are offered."""
    table = {f"/{name}": _resource(name, content) for name, content in page.items()}
    table["/"] = table.pop(f"/{INDEX}")
    table |= {f"/assets/{name}": _resource(name, content) for name, content in assets.items()}
    table |= {f"/{name}": _resource(name, content) for name, content in bundle.files.items()}
    described = bundle.description
    files = pictures or examples(described.classes, described.channels)
    offered = []
    for number, (name, content) in enumerate(files.items()):
        url = f"pictures/{number}.png"
        table[f"/{url}"] = _resource(url, content)
        offered.append({"url": url, "name": name})
    about = json.dumps(manifest(bundle, offered, drawn=not pictures)).encode()
    return {**table, "/model.json": _resource("model.json", about)}


def _resource(name: str, content: bytes) -> Resource:
    return Resource(content, TYPES[Path(name).suffix])
