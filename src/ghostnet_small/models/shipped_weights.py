"""Weights by name: those shipped in the program's wheel or checkout, and those of the hub."""

from __future__ import annotations

from pathlib import Path

from ghostnet_small.errors import nearest
from ghostnet_small.hub.models import CONFIG, fetch_model, is_hub_name, read_hub_name
from ghostnet_small.models.fit_weights import run_of_fit

_PACKAGE = Path(__file__).resolve().parent.parent
FOLDERS = (_PACKAGE / "weights", _PACKAGE.parent.parent / "results" / "weights")


def shipped_weights() -> dict[str, Path]:
    """Return the folders of shipped weights by name, such as ``ghostnetv3_small_w1.0_cifar10``."""
    for folder in FOLDERS:
        found = sorted(file.parent for file in folder.glob(f"*/{CONFIG}"))
        if found:
            return {path.name: path for path in found}
    return {}


def list_weights() -> list[str]:
    """Return the names of the shipped trained weights, which ``load`` takes."""
    return list(shipped_weights())


def find_weights(path: Path) -> Path:
    """Return the folder of the weights that ``path`` names.

    It is ``path`` itself if it exists, so a user's own folder has precedence over a shipped name
    (of a fit's folder, the run of its last finished student);
    otherwise the folder of the shipped weights of that name; for ``hf-hub:owner/name[@revision]``
    the folder in the hub's cache, fetched if necessary; and ``path`` if it is none of these.

    Raises ``InputError`` where a model of the hub is not available, or no student of a fit has
    finished.
    """
    if is_hub_name(path):
        return fetch_model(read_hub_name(path)).folder
    return run_of_fit(path) if path.exists() else shipped_weights().get(str(path), path)


def known_weights(path: Path) -> str:
    """Return the known names for a message about ``path``, which is neither a folder nor a name."""
    names = list_weights()
    near = nearest(path, names, only_close=True)
    return f"{near and near + ', of '}{', '.join(names) or 'none'}"
