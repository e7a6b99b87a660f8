"""The recipes and studies that come with the program: in a wheel within it, in a checkout beside
it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ghostnet_small.errors import InputError, nearest
from ghostnet_small.files import expanded

_PACKAGE = Path(__file__).resolve().parent.parent
FOLDERS = (_PACKAGE / "recipes", _PACKAGE.parent.parent / "recipes")
STUDIES = "studies"


def shipped_recipes() -> dict[str, Path]:
    """Files of the shipped recipes by name: ``quickstart-digits``, ``teachers/resnet18-cifar10``.

    Studies, which lie in a folder among them, are none.
    """
    return {name: file for name, file in _shipped().items() if not name.startswith(f"{STUDIES}/")}


def shipped_studies() -> dict[str, Path]:
    """Files of the shipped studies by name, without the folder that they lie in."""
    start = f"{STUDIES}/"
    return {
        name.removeprefix(start): file
        for name, file in _shipped().items()
        if name.startswith(start)
    }


def find_recipe(text: str) -> Path:
    """The file that ``text`` names: a path, or a shipped recipe with or without ``recipes/``.

    Raises ``InputError`` with the nearest shipped recipe where it is neither.
    """
    return _find(text, shipped_recipes(), "recipe", "recipes/")


def find_study(text: str) -> Path:
    """The file that ``text`` names: a path, or a shipped study, with or without
    ``recipes/studies/``.

    Raises ``InputError`` with the nearest shipped study where it is neither.
    """
    return _find(text, shipped_studies(), "study", "recipes/", f"{STUDIES}/")


def _shipped() -> dict[str, Path]:
    for folder in FOLDERS:
        files = sorted(folder.rglob("*.yaml"), key=lambda file: (len(file.parts), file))
        if files:
            return {f.relative_to(folder).with_suffix("").as_posix(): f for f in files}
    return {}


def _find(text: str, shipped: Mapping[str, Path], what: str, *starts: str) -> Path:
    path = expanded(text)
    if path.exists():
        return path
    # A checkout's own command must do for an installed wheel too, where no recipes/ lies about.
    name = path.as_posix().removesuffix(".yaml")
    for start in starts:
        name = name.removeprefix(start)
    if name in shipped:
        return shipped[name]
    known = f"{nearest(name, shipped)}, of {', '.join(shipped)}" if shipped else "none"
    raise InputError(f"{what} {text} is not there; give a YAML file or a shipped {what} ({known})")
