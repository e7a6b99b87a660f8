"""The recipes that come with the program: in a wheel within it, in a checkout beside it."""

from __future__ import annotations

import difflib
from pathlib import Path

from ghostnet_small.errors import InputError

_PACKAGE = Path(__file__).resolve().parent.parent
FOLDERS = (_PACKAGE / "recipes", _PACKAGE.parent.parent / "recipes")


def shipped_recipes() -> dict[str, Path]:
    """Files of the shipped recipes by name, such as ``quickstart-digits``."""
    for folder in FOLDERS:
        found = {file.stem: file for file in sorted(folder.glob("*.yaml"))}
        if found:
            return found
    return {}


def find_recipe(text: str) -> Path:
    """The file that ``text`` names: a path, or a shipped recipe with or without ``recipes/``.

    Raises ``InputError`` with the nearest shipped recipe where it is neither.
    """
    path = Path(text).expanduser()
    if path.exists():
        return path
    shipped = shipped_recipes()
    name = path.name.removesuffix(".yaml")
    # A checkout's own command must do for an installed wheel too, where no recipes/ lies about.
    if path.parent in (Path("."), Path("recipes")) and name in shipped:
        return shipped[name]
    near = difflib.get_close_matches(name, shipped, n=1, cutoff=0.0)
    nearest = f"the nearest is {near[0]}, of " if near else ""
    raise InputError(
        f"recipe {text} is not there; give a YAML file or a shipped recipe "
        f"({nearest}{', '.join(shipped) or 'none'})"
    )
