"""What messages say of settings: their types in words, and the one that was meant."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Collection
from typing import Any


def unknown(what: str, key: str, keys: Collection[str], prefix: str = "") -> str:
    """That ``what`` is not known, and which of ``keys`` is nearest to ``key``."""
    near = difflib.get_close_matches(key, keys, n=1, cutoff=0.5)
    if not near:
        # The room may be wrong and the setting right: compare the last part alone.
        last = {k.rsplit(".", 1)[-1]: k for k in keys}
        found = difflib.get_close_matches(key.rsplit(".", 1)[-1], last, n=1, cutoff=0.0)
        near = [last[found[0]]]
    return f"{what} is not known; the nearest valid one is {prefix}{near[0]}"


def nearest(name: str, names: Collection[str]) -> str:
    """Which of ``names`` is nearest to ``name``, in words."""
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.0)
    return f"the nearest is {near[0]}" if near else "there are none"


def words(kind: Any) -> str:
    """A setting's type as a reader says it."""
    inner = typing.get_args(kind)
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return ", or ".join("null" if one is type(None) else words(one) for one in inner)
    if typing.get_origin(kind) is typing.Literal:
        return f"one of {', '.join(inner)}"
    if typing.get_origin(kind) is tuple:
        if inner[0] is str:
            return "a list of names, such as [cat, dog]"
        count = "numbers" if Ellipsis in inner else f"{len(inner)} numbers"
        return f"a list of {count}, such as [0.9, 0.999]"
    return {int: "a whole number", float: "a number", bool: "true or false", str: "text"}[kind]
