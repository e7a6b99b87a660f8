"""A network of one block, whose ONNX files are made in seconds, and a page of a few bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from ghostnet_small.demo import runtime, site
from ghostnet_small.models.ghostnetv3 import Architecture, Block
from ghostnet_small.models.registry import ARCHITECTURES

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
