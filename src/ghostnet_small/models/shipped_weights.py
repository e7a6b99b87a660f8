"""Weights by name: those that come with the program, in a wheel within it and in a checkout beside
it, and those of the hub."""

from __future__ import annotations

from pathlib import Path

from ghostnet_small.errors import nearest
from ghostnet_small.hub.models import CONFIG, fetch_model, is_hub_name, read_hub_name

_PACKAGE = Path(__file__).resolve().parent.parent
FOLDERS = (_PACKAGE / "weights", _PACKAGE.parent.parent / "results" / "weights")


def shipped_weights() -> dict[str, Path]:
    """Folders of the shipped weights by name, such as ``ghostnetv3_small_w1.0_cifar10``."""
    for folder in FOLDERS:
        found = sorted(file.parent for file in folder.glob(f"*/{CONFIG}"))
        if found:
            return {path.name: path for path in found}
    return {}


def list_weights() -> list[str]:
    """Names of the trained weights that come with the program; ``load`` takes them."""
    return list(shipped_weights())


def find_weights(path: Path) -> Path:
    """``path`` itself where something is there, else the folder of the shipped weights of that
    name, or, of ``hf-hub:owner/name[@revision]``, the one in the hub's cache, where it is fetched
    to; ``path`` again where it is none of these.

    A user's own folder goes before a shipped name.

    Raises ``InputError`` where a model of the hub cannot be had.
    """
    if is_hub_name(path):
        return fetch_model(read_hub_name(path)).folder
    return path if path.exists() else shipped_weights().get(str(path), path)


def known_weights(path: Path) -> str:
    """For a message about ``path``, which is neither a folder nor a name: the names that are."""
    names = list_weights()
    near = nearest(path, names, only_close=True)
    return f"{near and near + ', of '}{', '.join(names) or 'none'}"
