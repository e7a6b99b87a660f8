"""Recipes and studies that come with the program: in a wheel within it, in a checkout beside it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path

from ghostnet_small.errors import InputError

_PACKAGE = Path(__file__).resolve().parent.parent
FOLDERS = (_PACKAGE / "recipes", _PACKAGE.parent.parent / "recipes")


def shipped_recipes() -> dict[str, Path]:
    """Files of the shipped recipes by name, such as ``quickstart-digits``."""
    return _shipped(".")


def shipped_studies() -> dict[str, Path]:
    """Files of the shipped studies by name."""
    return _shipped("studies")


def find_recipe(text: str) -> Path:
    """The file that ``text`` names: a path, or a shipped recipe with or without ``recipes/``.

    Raises ``InputError`` with the nearest shipped recipe where it is neither.
    """
    return _find(text, "recipe", Path("recipes"), shipped_recipes())


def find_study(text: str) -> Path:
    """As ``find_recipe``, of studies, with or without ``recipes/studies/``."""
    return _find(text, "study", Path("recipes/studies"), shipped_studies())


def _shipped(below: str) -> dict[str, Path]:
    for folder in FOLDERS:
        found = {file.stem: file for file in sorted((folder / below).glob("*.yaml"))}
        if found:
            return found
    return {}


def _find(text: str, what: str, folder: Path, shipped: Mapping[str, Path]) -> Path:
    path = Path(text).expanduser()
    if path.exists():
        return path
    name = path.name.removesuffix(".yaml")
    # A checkout's own command must do for an installed wheel too, where no recipes/ lies about.
    if path.parent in (Path("."), folder) and name in shipped:
        return shipped[name]
    near = difflib.get_close_matches(name, shipped, n=1, cutoff=0.0)
    nearest = f"the nearest is {near[0]}, of " if near else ""
    raise InputError(
        f"{what} {text} is not there; give a YAML file or a shipped {what} "
        f"({nearest}{', '.join(shipped) or 'none'})"
    )
