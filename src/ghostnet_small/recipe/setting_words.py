"""The types of settings in words, for messages."""

from __future__ import annotations

import types
import typing
from typing import Any


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
