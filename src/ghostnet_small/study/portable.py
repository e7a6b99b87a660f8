"""What of a run's record may leave the machine: settings of the place stay here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ghostnet_small.data.hub.named import is_name
from ghostnet_small.models.weights import ModelInfo
from ghostnet_small.study.recipe import PLACE, Recipe, flatten

KEPT = "data.source"


def portable_recipe(written: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's plain values without folders and devices of the machine that it ran on.

    Of a data source that is a folder its last name is left; of teachers, nothing.
    """
    unset = flatten(Recipe().as_dict())
    plain: dict[str, Any] = {}
    for room, values in written.items():
        if not isinstance(values, dict):
            plain[room] = values
            continue
        keys = {key: f"{room}.{key}" for key in values}
        plain[room] = {
            key: unset[full] if full in PLACE and full != KEPT else values[key]
            for key, full in keys.items()
        }
    source = plain.get("data", {}).get("source")
    if source is not None and not (source == "digits" or is_name(str(source))):
        plain["data"]["source"] = Path(str(source)).name
    return plain


def portable_info(info: ModelInfo) -> ModelInfo:
    """``info`` with ``portable_recipe``."""
    return replace(info, recipe=portable_recipe(info.recipe))


def portable_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """A run's record with ``portable_recipe``."""
    return {**record, "recipe": portable_recipe(record["recipe"])}


def changed_settings(written: Mapping[str, Any]) -> dict[str, Any]:
    """The plain values of a recipe that differ from its defaults."""
    unset = Recipe().as_dict()
    changed: dict[str, Any] = {}
    for room, values in written.items():
        if isinstance(values, dict):
            inner = {key: value for key, value in values.items() if value != unset[room].get(key)}
            if inner:
                changed[room] = inner
        elif values != unset.get(room):
            changed[room] = values
    return changed
