"""onnxruntime-web, which runs the network in the browser: one version, its files known by SHA-256.

The files are not in the repository; ``fetch_assets`` makes them, and a wheel carries them.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from ghostnet_small.errors import InputError
from ghostnet_small.files import read_bytes

NAME, VERSION = "onnxruntime-web", "1.30.0"
ASSETS = Path(__file__).parent / "assets"
# The smallest build that computes on the CPU: what the page imports, what that imports, and WASM.
FILES = {
    "ort.wasm.min.mjs": "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b",
    "ort-wasm-simd-threaded.mjs": (
        "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b"
    ),
    "ort-wasm-simd-threaded.wasm": (
        "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2"
    ),
}
# The npm package holds no licence; the same version's package for Python holds both texts.
NOTICES = {
    "LICENSE": "2f07c72751aed99790b8a4869cf2311df85a860b22ded05fa22803587a48922c",
    "ThirdPartyNotices.txt": "143764b952fdb1a7c69ce653bfba74a7744d6a8a573bfb73e235fba356c83de3",
}
SUMS = {**FILES, **NOTICES}
CURE = (
    "make them with: make demo-assets (in a checkout), or: python -m "
    "ghostnet_small.demo.fetch_assets (needs npm)"
)


def read_assets(folder: Path | None = None) -> dict[str, bytes]:
    """Return the content of every file by name.

    Raises ``InputError`` with the command that makes them where one is missing or is not the one
    of this version.
    """
    folder = ASSETS if folder is None else folder
    missing = [name for name in SUMS if not (folder / name).is_file()]
    if missing:
        raise InputError(
            f"the demo's files of {NAME} {VERSION} are not there ({', '.join(missing)}); {CURE}"
        )
    found = {name: read_bytes(folder / name) for name in SUMS}
    for name, content in found.items():
        check_asset(name, content)
    return found


def check_asset(name: str, content: bytes) -> None:
    """Raise ``InputError`` if ``content`` is not that of ``name`` in this version."""
    if hashlib.sha256(content).hexdigest() != SUMS[name]:
        raise InputError(
            f"the demo's {name} is not that of {NAME} {VERSION}: its SHA-256 differs; {CURE}"
        )
