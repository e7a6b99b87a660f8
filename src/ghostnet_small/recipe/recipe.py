"""Recipes: one experiment, as typed settings from a YAML file and the command line."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import sys
import typing
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ghostnet_small import fields
from ghostnet_small.data.augment import Augmentation
from ghostnet_small.data.sources import DataSettings
from ghostnet_small.distill.settings import DistillSettings
from ghostnet_small.errors import InputError, nearest
from ghostnet_small.models.settings import ModelSettings
from ghostnet_small.recipe.recipe_file import read_names, read_number, read_value, read_yaml
from ghostnet_small.recipe.setting_words import words
from ghostnet_small.train.optim import OptimizerSettings
from ghostnet_small.train.schedule import ScheduleSettings
from ghostnet_small.train.settings import TrainSettings


@dataclass(frozen=True)
class Recipe:
    """One experiment: everything that its result depends on.

    Args:
        name: what tables call the recipe.
        model: the network.
        data: the images.
        augment: what becomes of them.
        optimizer: how weights move.
        schedule: how fast.
        train: how long, and in what arithmetic.
        distill: from whom the network learns besides the labels.
    """

    name: str = ""
    model: ModelSettings = field(default_factory=ModelSettings)
    data: DataSettings = field(default_factory=DataSettings)
    augment: Augmentation = field(default_factory=Augmentation)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    schedule: ScheduleSettings = field(default_factory=ScheduleSettings)
    train: TrainSettings = field(default_factory=TrainSettings)
    distill: DistillSettings = field(default_factory=DistillSettings)

    def as_dict(self) -> dict[str, Any]:
        """Plain nested values, as in YAML."""
        plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return plain

    def hash(self) -> str:
        """SHA-256 of what decides the result: where it runs, and where the data lie, left out."""
        decide = json.dumps(terms(self.as_dict()), sort_keys=True)
        return hashlib.sha256(decide.encode()).hexdigest()

    def changes(self, other: Recipe) -> list[str]:
        """``train.epochs 30 -> 40`` and so on: what would make ``other``'s result another."""
        was, now = (_placeless(flatten(recipe.as_dict())) for recipe in (self, other))
        different = (key for key in was if was[key] != now[key] and key not in PLACE)
        changes = [f"{key} {was[key]!r} -> {now[key]!r}" for key in different]
        # Where teachers lie is of the place, and how many there are is not.
        counts = len(self.distill.teachers), len(other.distill.teachers)
        if counts[0] != counts[1]:
            changes.append("distill.teachers {} -> {}".format(*counts))
        # Likewise weights to start from.
        weights = self.model.weights, other.model.weights
        if weights.count(None) == 1:
            changes.append("model.weights {} -> {}".format(*weights))
        return changes


@functools.cache
def settings() -> dict[str, tuple[Any, dataclasses.Field[Any]]]:
    """The type and the field of each setting, by its key."""
    found: dict[str, tuple[Any, dataclasses.Field[Any]]] = {}
    for room, kind in [("", Recipe), *rooms().items()]:
        hints = typing.get_type_hints(kind)
        for one in dataclasses.fields(kind):
            if room or one.name not in rooms():
                found[f"{room}.{one.name}" if room else one.name] = hints[one.name], one
    return found


@functools.cache
def rooms() -> dict[str, Any]:
    """The dataclasses of settings that a recipe consists of."""
    hints = typing.get_type_hints(Recipe)
    return {name: kind for name, kind in hints.items() if dataclasses.is_dataclass(kind)}


def _marked(mark: Mapping[str, bool]) -> tuple[str, ...]:
    return tuple(
        key for key, (_, one) in settings().items() if mark.items() <= one.metadata.items()
    )


PLACE, LATER = _marked(fields.PLACE), _marked(fields.LATER)


def terms(written: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that decide a result, of a recipe's plain values, old ones' included.

    A setting that came after the first records counts where it is used, so that they stay
    comparable and keep their hashes.
    """
    unused, given = flatten(Recipe().as_dict()), _placeless(flatten(written))
    teachers = given.get("distill.teachers") or []
    decide = {
        key: value
        for key, value in given.items()
        if key not in PLACE
        and not (key in LATER and value == unused[key])
        # Without a teacher no setting of distillation has an effect.
        and (teachers or not key.startswith("distill."))
    }
    if given.get("model.weights") is not None:
        decide["model.weights"] = True
    return decide | ({"distill.teachers": len(teachers)} if teachers else {})


def _placeless(flat: dict[str, Any]) -> dict[str, Any]:
    """A recipe's flat values, in which a file of pretrained weights is no more than that there are
    some: where it lies is of the place, and its tensors have a digest of their own."""
    pretrained = flat.get("model.pretrained")
    return flat if pretrained is None else flat | {"model.pretrained": bool(pretrained)}


def flatten(written: Mapping[str, Any]) -> dict[str, Any]:
    """``{"train.epochs": 30, ...}`` of a recipe's plain values."""
    flat: dict[str, Any] = {}
    for room, value in written.items():
        if isinstance(value, dict):
            flat |= {f"{room}.{key}": inner for key, inner in value.items()}
        else:
            flat[room] = value
    return flat


def known_keys() -> list[str]:
    """Every setting of a recipe, ``train.epochs`` and so on."""
    return list(settings())


def read_recipe(path: Path | None = None, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe in a YAML file with ``--room.key value`` overrides; no file: the defaults.

    Raises ``InputError`` where the file is missing or no YAML, a key is unknown (with the
    nearest valid one), or a value has the wrong type or lies outside its range.
    """
    if path is None:
        return resolve_recipe({}, overrides)
    return resolve_recipe(read_yaml(path), overrides, where=str(path))


def resolve_recipe(
    written: Mapping[str, Any], overrides: Sequence[str] = (), *, where: str = "the recipe"
) -> Recipe:
    """The recipe of nested plain values with overrides; raises as ``read_recipe`` does."""
    check_keys(written, where)
    taken, rest = take_settings(overrides, known_keys())
    if rest:
        raise InputError(f"{rest[0]!r} is no setting; write settings as --train.epochs 30")
    given = flatten({room: values for room, values in written.items() if values is not None})
    values = {key: _read(key, value) for key, value in given.items()}
    for word in taken:
        key, _, text = word[2:].partition("=")
        # On the command line null is always meant as such.
        values[key] = _read(key, None if text == "null" else text)
    parts = {room: _make_room(room, kind, values) for room, kind in rooms().items()}
    return Recipe(**{key: value for key, value in values.items() if "." not in key}, **parts)


def _make_room(room: str, kind: Any, values: Mapping[str, Any]) -> Any:
    names = [one.name for one in dataclasses.fields(kind)]
    given = {name: values[f"{room}.{name}"] for name in names if f"{room}.{name}" in values}
    try:
        return kind(**given)
    except InputError as error:
        message = str(error)
        raise InputError(f"{room}.{message}" if message.split()[0] in names else message) from None


def _read(key: str, value: Any) -> Any:
    """The value of a setting, of its type; raises ``InputError`` where none can be meant."""
    names = tuple[str, ...] in (_kind(key), *typing.get_args(_kind(key)))
    for reading in _readings(value, names):
        with suppress(ValidationError):
            read = _validator(key).validate_python(reading, strict=True)
            # Somewhere it becomes a float, which the largest whole numbers do not fit into.
            if not isinstance(read, int) or abs(read) <= LARGEST_FLOAT:
                return read
    quote = "; quote each name that YAML takes for something else: no, yes, null, 0"
    raise InputError(
        f"{key} is {'null' if value is None else repr(value)}; it must be {_wanted(key)}"
        f"{quote if names and isinstance(value, list) else ''}"
    )


def _readings(value: Any, names: bool) -> Iterator[Any]:
    """Return the readings of ``value``: text as it is and as YAML reads it, a list as a tuple.

    ``names``: the words of a list are names, whatever they look like.
    """
    read = value
    if isinstance(value, str):
        listed = read_names(value) if names else None
        read = read_value(value) if listed is None else listed
        # Of a switch that may be text as well, "true" is no text.
        if not isinstance(read, bool):
            yield value
    if isinstance(read, list) and not names:
        read = [read_number(item) if isinstance(item, str) else item for item in read]
    yield tuple(read) if isinstance(read, list) else read
    yield value


@functools.cache
def _validator(key: str) -> TypeAdapter[Any]:
    return TypeAdapter(_kind(key))


LARGEST_FLOAT = sys.float_info.max


def keys_of(overrides: Sequence[str]) -> set[str]:
    """Return the settings that ``overrides``, words such as ``--data.limit=10``, name."""
    return {word[2:].partition("=")[0] for word in overrides}


def take_settings(words: Sequence[str], allowed: Collection[str]) -> tuple[list[str], list[str]]:
    """The settings among a command's words, as ``--key=value`` each, and the other words.

    Raises ``InputError`` at a setting without a value, an unknown one, or one that is not
    among ``allowed``.
    """
    taken: list[str] = []
    rest: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        key, equals, value = word[2:].partition("=")
        if word == "--":
            return taken, [*rest, word, *left]
        if not word.startswith("--") or not ("." in key or key in allowed):
            rest.append(word)
            continue
        if key not in allowed:
            if key in known_keys():
                raise InputError(
                    f"--{key} has no effect on this command; leave it out (--help-settings "
                    "lists those that it takes)"
                )
            options = [f"--{known}" for known in allowed]
            raise InputError(f"option --{key} is not known; {nearest(f'--{key}', options)}")
        if not equals:
            if not left or left[0].startswith("--"):
                raise InputError(f"--{key} has no value; it must be {_wanted(key)}")
            value = left.pop(0)
        taken.append(f"--{key}={value}")
    return taken, rest


def check_keys(written: Mapping[str, Any], where: str) -> None:
    """Raises ``InputError`` at a key that is no setting, with the nearest that is one."""
    for room, values in written.items():
        if room in rooms() and values is not None and not isinstance(values, dict):
            raise InputError(f"{room} in {where} is {values!r}; it must hold settings of its own")
        inner = [f"{room}.{key}" for key in values] if isinstance(values, dict) else [str(room)]
        for key in inner:
            if key not in known_keys() and not (room in rooms() and values is None):
                raise InputError(
                    f"key {key!r} in {where} is not known; {nearest(key, known_keys())}"
                )


def _kind(key: str) -> Any:
    return settings()[key][0]


def _wanted(key: str) -> str:
    return words(_kind(key))
