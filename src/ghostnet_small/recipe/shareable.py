"""A run's record without the settings of this machine, so that it can be shared."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ghostnet_small.data.hub.named import is_name
from ghostnet_small.hub.models import is_hub_name
from ghostnet_small.models.shipped_weights import shipped_weights
from ghostnet_small.models.weights import ModelInfo
from ghostnet_small.recipe.recipe import PLACE, Recipe, flatten

KEPT = "data.source"
# Named sets by the fingerprint of their pictures, as whole or with a tenth held out: what a folder
# is called says less. `ghostnet-small data` prints it.
KNOWN = {
    "087863ff74683917f3679dd23e45f2fe921167192900f0a4760f5b1e2c4ab51b": "cifar10",
    "a71f99db1937d1fe87bdb8984dc3f1bd1a40962af8ffde1592462e3492cdbb24": "cifar10",
    "8066868c19c090f458eca6ce17ae284a1c7f09f783e9e01338fd49424d46d187": "fashion_mnist",
}


def portable_recipe(written: Mapping[str, Any], fingerprint: str | None = None) -> dict[str, Any]:
    """A recipe's plain values without folders and devices of the machine that it ran on.

    Of data in a folder its last name is left, in place of a source that was not read: a recipe for
    CIFAR-10 may have been given other images. Where the ``fingerprint`` of what was read is that
    of a named set, its name is left, wherever it lay. Of teachers, nothing is left; of weights to
    start from, a name that means the same everywhere.
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
    # Of a stranger's weights a recipe may be anything.
    data, model = plain.get("data"), written.get("model")
    if isinstance(data, dict) and data.get("source") is not None:
        root = written["data"].get("root")
        called = _portable_source(str(data["source"]), None if root is None else str(root))
        data["source"] = KNOWN.get(fingerprint or "", called)
    if isinstance(model, dict) and model.get("weights") is not None:
        plain["model"]["weights"] = _portable_name(str(model["weights"]), None)
    if isinstance(model, dict) and isinstance(model.get("pretrained"), str):
        plain["model"]["pretrained"] = True
    return plain


def _portable_source(source: str, root: str | None) -> str:
    # A folder's path may look like a name of the hub.
    if root is None and (source == "digits" or is_name(source)) and not Path(source).is_dir():
        return source
    name = Path(root or source).resolve().name
    # A copy of a named set in a folder of that name, such as data/fashion-mnist.
    return source if _letters(name) == _letters(source) else name


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def portable_info(info: ModelInfo, fingerprint: str | None = None) -> ModelInfo:
    """``info`` with ``portable_recipe``."""
    return replace(info, recipe=portable_recipe(info.recipe, fingerprint))


def portable_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """A run's record with ``portable_recipe``, in which no teacher and no weights to start from are
    called by a folder."""
    read = record["data"]["fingerprint"]
    portable = {**record, "recipe": portable_recipe(record["recipe"], read)}
    if "pretrained_on" not in record.get("beginning", {"pretrained_on": None}):
        name = _portable_name(record["beginning"]["name"], "a run")
        portable["beginning"] = {**record["beginning"], "name": name}
    if "distill" in record:
        teachers = [
            {**teacher, "name": _portable_name(teacher["name"], f"teacher {number}")}
            for number, teacher in enumerate(record["distill"]["teachers"], 1)
        ]
        portable["distill"] = {**record["distill"], "teachers": teachers}
    return portable


def _portable_name(name: str, otherwise: Any) -> Any:
    return name if is_hub_name(name) or name in shipped_weights() else otherwise


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
