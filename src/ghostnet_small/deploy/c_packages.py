"""Packages of the C file that an IDE or a build system opens: zips, the same bytes each time."""

from __future__ import annotations

import re
import textwrap
import zipfile
from collections.abc import Iterator, Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ghostnet_small.deploy.c.footprint import flash_of, table_bytes, workspace_bytes
from ghostnet_small.deploy.c.source import read_tag
from ghostnet_small.deploy.c.text import WIDTH, numbers
from ghostnet_small.deploy.description import Description, read_description
from ghostnet_small.deploy.formats import FORMATS, Format, format_of
from ghostnet_small.deploy.session import Array, Session
from ghostnet_small.errors import InputError
from ghostnet_small.version import __version__

URL = "https://arxiv.org/abs/2509.12380"
EARLIEST = (1980, 1, 1, 0, 0, 0)  # that a zip can tell
MODE = 0o100644 << 16  # a file that all may read
# What the example's program and the system need beside the network, in kB.
OTHER_FLASH, OTHER_RAM = 96, 32


class Layout(NamedTuple):
    """The places in a package: its ``root``, and below it the folder of the ``header`` and that of
    the ``example``, which includes the header as ``include``."""

    root: str
    header: str
    example: str
    include: str


_SMALL = ("ghostnet_small", "include/ghostnet_small")
LAYOUTS = {
    "arduino": Layout("GhostNetSmall", "src", "examples/Classify", "GhostNetSmall.h"),
    "esp-idf": Layout(*_SMALL, "examples/classify/main", "ghostnet_small/model.h"),
    "zephyr": Layout(*_SMALL, "samples/classify/src", "ghostnet_small/model.h"),
    "cmake": Layout(*_SMALL, "examples/classify", "ghostnet_small/model.h"),
}


def pack(source: str, header: str, path: Path) -> None:
    """Write ``path``, a package of a C file's ``source`` and its ``header``."""
    name = _form(path).name
    layout, description = LAYOUTS[name], read_description(read_tag(source), "model.c")
    room = resources.files("ghostnet_small.deploy") / "packages"
    common, words = room / "common", _words(name, description, source, header)
    words["MORE"] = _filled((common / "README.md").read_text(), words).rstrip()
    texts = {
        "LICENSE": (common / "LICENSE").read_text(),
        f"{layout.example}/classify.h": (common / "classify.h").read_text(),
        f"{layout.example}/input.h": (common / description.input / "input.h").read_text(),
        **dict(_texts(room / name)),
    }
    files = {place: _filled(text, words) for place, text in texts.items()}
    files[f"{layout.example}/image.h"] = _image(description)
    files["src/model.c"], files[f"{layout.header}/model.h"] = source, header
    with zipfile.ZipFile(path, "w") as packed:
        for place in sorted(files):
            info = zipfile.ZipInfo(f"{layout.root}/{place}", EARLIEST)
            info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, MODE
            info.create_system = 3  # Unix, whose modes these are
            packed.writestr(info, files[place], compresslevel=9)


def packed_c(path: Path) -> tuple[str, str]:
    """Return the C file in the package ``path``, and its header."""
    layout = LAYOUTS[_form(path).name]
    with zipfile.ZipFile(path) as packed:
        places = ("src/model.c", f"{layout.header}/model.h")
        source, header = (packed.read(f"{layout.root}/{place}").decode() for place in places)
    return source, header


def flash(path: Path) -> tuple[int, str]:
    """Return the bytes of flash of the C file in ``path``, and how they were counted."""
    return flash_of(packed_c(path)[0])


def working_memory(path: Path) -> int:
    """Return the bytes of the workspace of the C file in ``path``."""
    return workspace_bytes(packed_c(path)[1])


def open_file(path: Path, threads: int) -> Session:
    """Raise ``InputError``: a package is for another program to open."""
    c_file = path.name.removesuffix(_form(path).suffix) + FORMATS["c"].suffix
    raise InputError(
        f"{path} is a package for other programs; its network is that of {c_file}: write it with "
        "export --formats c, and give that"
    )


def _form(path: Path) -> Format:
    form = format_of(path)
    assert form is not None and form.package
    return form


def drawing(description: Description) -> Array:
    """Return an image ``(C, H, W)``, uint8: a bright disc on a shaded ground."""
    height, width = description.size
    rows, columns = np.mgrid[:height, :width]
    across, down = 2 * columns + 1 - width, 2 * rows + 1 - height
    disc = 4 * (across**2 + down**2) < min(height, width) ** 2
    planes = [
        np.where(disc, 240 - 50 * (c % 3), (40 + 60 * (c % 3)) + 100 * rows // height)
        for c in range(description.channels)
    ]
    return np.stack(planes).astype(np.uint8)


def _image(description: Description) -> str:
    height, width = description.size
    rows = textwrap.fill(", ".join(map(str, drawing(description).flat)), WIDTH - 4)
    return (
        "/* A drawing: planes of one byte a pixel, row after row. */\n"
        f"static const unsigned char ghostnet_image[{description.channels} * {height} * {width}]"
        f" = {{\n{textwrap.indent(rows, '    ')}\n}};\n"
    )


def _words(name: str, description: Description, source: str, header: str) -> dict[str, str]:
    """Return what stands in the templates between two ``@``."""
    height, width = description.size
    whole, pixels = description.precision == "int8", description.input == "pixels"
    tables, workspace = table_bytes(source), workspace_bytes(header)
    image = 0 if pixels else 4 * description.channels * height * width
    words = {
        "ARCHITECTURE": description.architecture,
        "WIDTH": f"{description.width:g}",
        "PRECISION": description.precision,
        "VERSION": __version__,
        "URL": URL,
        "CHANNELS": str(description.channels),
        "HEIGHT": str(height),
        "COLUMNS": str(width),
        "CLASSES": str(len(description.classes)),
        "TAKES": "pixels of 0 .. 255" if pixels else "normalised floats",
        "GIVES": "probabilities" if pixels else "logits",
        "SCALE": ", ".join(numbers(1 / (255 * std) for std in description.std)),
        "SHIFT": ", ".join(
            numbers(-m / s for m, s in zip(description.mean, description.std, strict=True))
        ),
        "INCLUDE": LAYOUTS[name].include,
        "CONTRACT": "off" if whole else "fast",
        "TABLES": str(tables),
        "WORKSPACE": str(workspace),
        "MIN_FLASH": str(OTHER_FLASH + -(-tables // 1024)),
        "MIN_RAM": str(OTHER_RAM + -(-(workspace + image) // 1024)),
        "FUSED": " The IDE's\ncompiler may fuse multiplications and additions, so that last bits "
        "differ from other machines'."
        if whole and name == "arduino"
        else "",
    }
    words["ABOUT"] = (
        f"Classifies images of {height} x {width} pixels: {description.architecture} of width "
        f"{words['WIDTH']} in {description.precision}, for {words['CLASSES']} classes. Written by "
        f"ghostnet-small {__version__}."
    )
    return words


def _filled(text: str, words: Mapping[str, str]) -> str:
    return re.sub(r"@([A-Z_]+)@", lambda found: words[found[1]], text)


def _texts(folder: Traversable, before: str = "") -> Iterator[tuple[str, str]]:
    """Yield the place and the text of each file below ``folder``."""
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _texts(entry, f"{before}{entry.name}/")
        else:
            yield f"{before}{entry.name}", entry.read_text()
