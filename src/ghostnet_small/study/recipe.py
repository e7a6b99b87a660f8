"""Recipes: one experiment, as typed settings from a YAML file and the command line."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import re
import typing
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser

from ghostnet_small.data.augment import Augmentation
from ghostnet_small.data.sources import DataSettings
from ghostnet_small.errors import InputError
from ghostnet_small.train.engine import TrainSettings
from ghostnet_small.train.optim import OptimizerSettings
from ghostnet_small.train.schedule import ScheduleSettings


@dataclass(frozen=True)
class ModelSettings:
    """Which network.

    Args:
        name: "ghostnetv3_small" or "ghostnetv3".
        width: multiplier of the channels.
    """

    name: str = "ghostnetv3_small"
    width: float = 1.0


@dataclass(frozen=True)
class Recipe:
    """One experiment: everything that its result depends on.

    Args:
        name: what tables call it.
        model: the network.
        data: the pictures.
        augment: what becomes of them.
        optimizer: how weights move.
        schedule: how fast.
        train: how long, and in what arithmetic.
    """

    name: str = ""
    model: ModelSettings = field(default_factory=ModelSettings)
    data: DataSettings = field(default_factory=DataSettings)
    augment: Augmentation = field(default_factory=Augmentation)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    schedule: ScheduleSettings = field(default_factory=ScheduleSettings)
    train: TrainSettings = field(default_factory=TrainSettings)

    def as_dict(self) -> dict[str, Any]:
        """Plain nested values, as in YAML."""
        plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return plain

    def hash(self) -> str:
        """SHA-256 of what decides the result: where it runs, and where the data lie, left out."""
        flat = {key: value for key, value in flatten(self).items() if key not in PLACE}
        return hashlib.sha256(json.dumps(flat, sort_keys=True).encode()).hexdigest()


# Settings of the place and not of the experiment: the data have a fingerprint of their own.
PLACE = (
    "data.root",
    "data.source",
    "train.device",
    "train.threads",
    "train.checkpoint_seconds",
)


def flatten(recipe: Recipe) -> dict[str, Any]:
    """``{"train.epochs": 30, ...}``."""
    flat: dict[str, Any] = {}
    for room, value in recipe.as_dict().items():
        if isinstance(value, dict):
            flat |= {f"{room}.{key}": inner for key, inner in value.items()}
        else:
            flat[room] = value
    return flat


def known_keys() -> list[str]:
    """Every setting of a recipe, ``train.epochs`` and so on."""
    return list(flatten(Recipe()))


def read_recipe(path: Path | None = None, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe in a YAML file with ``--room.key value`` overrides; no file: the defaults.

    Raises ``InputError`` where the file is missing or no YAML, a key is unknown (with the
    nearest valid one), or a value has the wrong type or lies outside its range.
    """
    written = _read_yaml(path) if path is not None else {}
    check_overrides(overrides)
    parser = recipe_parser()
    try:
        config = parser.parse_object(written)
        config = parser.parse_args(list(overrides), namespace=config)
        rooms = parser.instantiate(config)
    except ArgumentError as error:
        raise InputError(_one_line(error)) from None
    return Recipe(**{f.name: rooms[f.name] for f in dataclasses.fields(Recipe)})


def recipe_parser() -> ArgumentParser:
    """A parser with an option for each setting of a recipe."""
    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False, add_help=False)
    parser.add_argument("--name", type=str, default="")
    for room, kind in _rooms().items():
        parser.add_class_arguments(kind, room)
    return parser


def check_overrides(overrides: Sequence[str]) -> None:
    """Raises ``InputError`` at the first option that is no setting, with the nearest that is."""
    for word in overrides:
        if word.startswith("--"):
            key = word[2:].split("=", 1)[0]
            if key not in known_keys():
                raise InputError(_unknown(f"option --{key}", key, prefix="--"))


def _rooms() -> dict[str, Any]:
    hints = typing.get_type_hints(Recipe)
    return {name: kind for name, kind in hints.items() if dataclasses.is_dataclass(kind)}


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        written = yaml.load(path.read_text(), Loader=_Loader)
    except OSError as error:
        raise InputError(
            f"recipe {path} cannot be read ({error.strerror}); give a YAML file, such as "
            "recipes/gns-w1.0-cifar10.yaml"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"recipe {path} is no YAML: {reason}") from None
    if not isinstance(written, dict):
        raise InputError(f"recipe {path} is no mapping of settings; begin with a line 'train:'")
    rooms = _rooms()
    for room, values in written.items():
        if room in rooms and values is not None and not isinstance(values, dict):
            raise InputError(f"{room} in {path} is {values!r}; it must hold settings of its own")
        inner = [f"{room}.{key}" for key in values] if isinstance(values, dict) else [str(room)]
        for key in inner:
            if key not in known_keys() and not (room in rooms and values is None):
                raise InputError(_unknown(f"key {key!r} in {path}", key))
    return {room: values for room, values in written.items() if values is not None}


class _Loader(yaml.SafeLoader):
    """YAML in which ``1e-3`` is a number: YAML 1.1 wants ``1.0e-3``, and nobody writes that."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def _unknown(what: str, key: str, prefix: str = "") -> str:
    keys = known_keys()
    near = difflib.get_close_matches(key, keys, n=1, cutoff=0.5)
    if not near:
        # The room may be wrong and the setting right: compare the last part alone.
        last = {k.rsplit(".", 1)[-1]: k for k in keys}
        found = difflib.get_close_matches(key.rsplit(".", 1)[-1], last, n=1, cutoff=0.0)
        near = [last[found[0]]]
    return f"{what} is not known; the nearest valid one is {prefix}{near[0]}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
