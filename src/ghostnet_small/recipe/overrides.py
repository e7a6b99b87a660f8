"""Settings of a recipe as a caller in Python names them, turned into a command's words."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from typing import Any

from ghostnet_small.errors import InputError, nearest
from ghostnet_small.recipe.recipe import known_keys


def override_words(
    settings: Mapping[str, Any] | None,
    named: Mapping[str, Any],
    *,
    data: str | os.PathLike[str] | None = None,
    allowed: Collection[str] | None = None,
) -> list[str]:
    """Return ``--train.epochs=20`` and so on for ``settings`` by full key and ``named`` ones.

    A name is a full key, or its last part where only one of the ``allowed`` keys (None: all) ends
    in it. ``data`` is ``data.root`` where it is a ``Path``; where it is a text, ``data.source``.

    Raises ``InputError`` with the nearest key for a name that is not known, with all candidates
    for one that several keys end in, and for a setting that is given twice.
    """
    keys = known_keys() if allowed is None else allowed
    given: dict[str, Any] = {}
    # A text goes before a data.root of the recipe, which would go before a data.source.
    places = {} if data is None else {"data.root": None, "data.source": data}
    if data is not None and not isinstance(data, str):
        places = {"data.root": data}
    for name, value in [*places.items(), *(settings or {}).items(), *named.items()]:
        key = _key(name, keys)
        if key in given:
            raise InputError(f"{key} is given twice, once as {name!r}; give it once")
        given[key] = value
    return [f"--{key}={_text(value)}" for key, value in given.items()]


def _key(name: str, keys: Collection[str]) -> str:
    """The full key that ``name`` stands for."""
    if name in keys:
        return name
    every = [key for key in known_keys() if name in (key, key.rpartition(".")[2])]
    found = [key for key in every if key in keys]
    if len(found) == 1:
        return found[0]
    if found:
        full = " or ".join(f'"{key}"' for key in found)
        raise InputError(
            f"setting {name!r} may be {' or '.join(found)}; give its full key: "
            f"settings={{{full}: ...}}"
        )
    if every:
        raise InputError(f"setting {every[0]} has no effect here; leave it out")
    raise InputError(f"setting {name!r} is not known; {nearest(name, keys)}")


def _text(value: Any) -> str:
    """``value`` as it stands on a command line."""
    if value is None:
        return "null"
    if isinstance(value, str | os.PathLike):
        return os.fspath(value)
    return json.dumps(value, default=_plain)


def _plain(value: Any) -> Any:
    """Return a JSON value for a path, or for a number or an array of NumPy or PyTorch."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.tolist() if hasattr(value, "tolist") else str(value)
