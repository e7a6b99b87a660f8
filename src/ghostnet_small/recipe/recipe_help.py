"""The settings of a recipe described: for a reader, and as a JSON schema for an editor."""

from __future__ import annotations

import argparse
import inspect
import re
import typing
from collections.abc import Collection
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from ghostnet_small.recipe.recipe import Recipe, rooms, settings


def about(kind: type) -> str:
    """Return what the docstring of a dataclass says before its arguments."""
    return (inspect.getdoc(kind) or "").partition("\nArgs:\n")[0].strip()


def meanings(kind: type) -> dict[str, str]:
    """Return what the docstring of a dataclass says of each of its fields."""
    arguments = (inspect.getdoc(kind) or "").partition("\nArgs:\n")[2].partition("\n\n")[0]
    found = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", arguments, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in found}


def settings_help(shown: Collection[str]) -> str:
    """Return the settings among ``shown`` with their types, defaults and meanings."""
    parser = argparse.ArgumentParser(add_help=False, usage=argparse.SUPPRESS)
    for room, kind in [("", Recipe), *rooms().items()]:
        title = about(kind).partition("\n\n")[0].rstrip(".") if room else "The recipe"
        group = parser.add_argument_group(title)
        for name, meaning in meanings(kind).items():
            key = f"{room}.{name}" if room else name
            if key in shown:
                type_, field = settings()[key]
                told = inspect.formatannotation(type_).replace("None", "null")
                text = f"{meaning} (type: {told}, default: {written(field.default)})"
                group.add_argument(
                    f"--{key}", metavar=_value_of(name, type_), help=text.replace("%", "%%")
                )
    return parser.format_help()


def written(value: object) -> str:
    """Return the value of a setting as a recipe has it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return f"[{', '.join(map(str, value))}]" if isinstance(value, tuple) else str(value) or '""'


def recipe_schema() -> dict[str, Any]:
    """Return the JSON schema of a recipe's file, by which an editor completes and checks it."""
    schema = TypeAdapter(Recipe).json_schema()
    parts = {kind.__name__: kind for kind in rooms().values()}
    for kind, part in [(Recipe, schema), *((parts[name], schema["$defs"][name]) for name in parts)]:
        part |= {"description": about(kind), "additionalProperties": False}
        for name, meaning in meanings(kind).items():
            part["properties"][name]["description"] = meaning
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema}


def _value_of(name: str, kind: Any) -> str:
    """Return the placeholder of a setting's value."""
    if typing.get_origin(kind) is typing.Literal:
        return "{" + ",".join(typing.get_args(kind)) + "}"
    return "{true,false}" if kind is bool else name.upper()
