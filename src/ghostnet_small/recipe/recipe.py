"""Recipes: one experiment, as typed settings from a YAML file and the command line."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import hashlib
import itertools
import json
import re
import sys
import types
import typing
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser, Namespace

from ghostnet_small.data.augment import Augmentation
from ghostnet_small.data.sources import DataSettings
from ghostnet_small.distill.settings import DistillSettings
from ghostnet_small.errors import InputError
from ghostnet_small.models.settings import ModelSettings
from ghostnet_small.recipe.recipe_file import read_names, read_number, read_value, read_yaml
from ghostnet_small.recipe.setting_words import unknown, words
from ghostnet_small.train.optim import OptimizerSettings
from ghostnet_small.train.schedule import ScheduleSettings
from ghostnet_small.train.settings import TrainSettings


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


# Settings of the place, not of the experiment: data, teachers and weights to start from have
# fingerprints of their own.
PLACE = (
    "model.weights",
    "data.root",
    "data.source",
    "data.cache",
    "data.memory_gib",
    "train.device",
    "train.threads",
    "train.checkpoint_seconds",
    "train.log",
    "distill.teachers",
    "distill.cache",
)

LATER = (
    "model.pretrained",
    "model.upsample",
    "model.interpolation",
    "model.dropout",
    "model.drop_path",
    "optimizer.backbone_rate",
    "data.class_names",
    "data.subset",
    "data.revision",
    "data.on_error",
    "augment.mixup",
    "augment.cutmix",
    "augment.mix_probability",
    "train.sampler",
    "train.class_weights",
    "distill.answers",
)


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
    return list(flatten(Recipe().as_dict()))


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
    given = {room: values for room, values in written.items() if values is not None}
    taken, rest = take_settings(overrides, known_keys())
    if rest:
        raise InputError(f"{rest[0]!r} is no setting; write settings as --train.epochs 30")
    words = {word[2:].partition("=")[0]: word.partition("=")[2] for word in taken}
    typed = {key: _typed(key, text) for key, text in words.items()}
    in_file = {key: _plain(key, value) for key, value in flatten(given).items()}
    texts, config, parser = Namespace(), Namespace(), _parser()
    sources = [(in_file, flatten(given)), (typed, words)]
    for values, written_as in sources if words else sources[:1]:
        for key in [key for key, value in values.items() if isinstance(value, str)]:
            # It is checked, and jsonargparse would read it once more as YAML, without bounds: a
            # folder called "1e3" as a number.
            texts[key] = values.pop(key)
        try:
            config = parser.parse_object(_nested(values), config)
        except ArgumentError as error:
            raise InputError(_explain(error, written_as)) from None
        for key in values:
            texts.pop(key, None)
    config.update(texts)
    rooms = {room: _make_room(room, kind, config[room]) for room, kind in _rooms().items()}
    _check_null("name", config["name"])
    return Recipe(name=config["name"], **rooms)


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The opposite of ``flatten``."""
    nested: dict[str, Any] = {}
    for key, value in flat.items():
        room, _, name = key.rpartition(".")
        (nested.setdefault(room, {}) if room else nested)[name] = value
    return nested


def _typed(key: str, text: str) -> Any:
    """The value of a setting on the command line, where null is always meant as such."""
    return None if text == "null" else _plain(key, text)


def _plain(key: str, value: Any) -> Any:
    """The value of a setting, of which text stays only where it is a text, a choice or a name.

    Raises ``InputError`` for other text, and for what no setting takes.
    """
    read = value
    if isinstance(value, str):
        if _is_text(key) or value in _choices(_kind(key)):
            return value
        names = read_names(value) if _is_names(key) else None
        read = list(names) if names is not None else read_value(value)
        if {bool, str} <= set(typing.get_args(_kind(key))) and not isinstance(read, bool):
            return value  # true or false, or any text
    if isinstance(read, list) and not _is_names(key):
        read = [read_number(item) if isinstance(item, str) else item for item in read]
    simple = (str, *_NUMBERS) if _is_names(key) and isinstance(read, list) else _NUMBERS
    for one in read if isinstance(read, list) else [read]:
        # Somewhere it becomes a float, which the largest whole numbers do not fit into.
        if not isinstance(one, simple) or (isinstance(one, int) and abs(one) > LARGEST_FLOAT):
            raise InputError(_wrong(key, value))
    return read


_NUMBERS = (bool, int, float, type(None))
LARGEST_FLOAT = sys.float_info.max


def keys_of(overrides: Sequence[str]) -> set[str]:
    """Return the settings that ``overrides``, words such as ``--data.limit=10``, name."""
    return {word[2:].partition("=")[0] for word in overrides}


def recipe_parser(shown: Collection[str] | None = None) -> ArgumentParser:
    """A parser with an option for each setting of a recipe; its help tells of those ``shown``."""
    parser = ArgumentParser(
        exit_on_error=False, allow_abbrev=False, add_help=False, usage=argparse.SUPPRESS
    )
    group = parser.add_argument_group("The recipe")
    group.add_argument("--name", type=str, default="", help="what tables call the recipe.")
    for room, kind in _rooms().items():
        parser.add_class_arguments(kind, room)
    keys = known_keys() if shown is None else shown
    for action in parser._actions:
        if action.dest not in keys:  # jsonargparse's own --train FILE among them
            action.help = argparse.SUPPRESS
    return parser


# Made once: a study resolves hundreds of recipes.
_parser = functools.cache(recipe_parser)


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
            raise InputError(unknown(f"option --{key}", key, allowed, prefix="--"))
        if not equals:
            if not left or left[0].startswith("--"):
                raise InputError(f"--{key} has no value; it must be {_wanted(key)}")
            value = left.pop(0)
        taken.append(f"--{key}={value}")
    return taken, rest


def _make_room(room: str, kind: Any, values: Any) -> Any:
    for name, value in vars(values).items():
        _check_null(f"{room}.{name}", value)
    try:
        return kind(**vars(values))
    except InputError as error:
        message = str(error)
        names = {field.name for field in dataclasses.fields(kind)}
        raise InputError(f"{room}.{message}" if message.split()[0] in names else message) from None


def _check_null(key: str, value: Any) -> None:
    # jsonargparse takes null for any type, as a value that was not given.
    if value is None and type(None) not in typing.get_args(_kind(key)):
        raise InputError(f"{key} is null; it must be {_wanted(key)}")


def _rooms() -> dict[str, Any]:
    hints = typing.get_type_hints(Recipe)
    return {name: kind for name, kind in hints.items() if dataclasses.is_dataclass(kind)}


def check_keys(written: Mapping[str, Any], where: str) -> None:
    """Raises ``InputError`` at a key that is no setting, with the nearest that is one."""
    rooms = _rooms()
    for room, values in written.items():
        if room in rooms and values is not None and not isinstance(values, dict):
            raise InputError(f"{room} in {where} is {values!r}; it must hold settings of its own")
        inner = [f"{room}.{key}" for key in values] if isinstance(values, dict) else [str(room)]
        for key in inner:
            if key not in known_keys() and not (room in rooms and values is None):
                raise InputError(unknown(f"key {key!r} in {where}", key, known_keys()))


def _explain(error: Exception, written_as: Mapping[str, Any]) -> str:
    """jsonargparse's complaint about a value, in the words of someone who writes recipes."""
    said = " ".join(str(error).split())
    found = re.search(r'key "([\w.]+)"', said)
    if found is None or found[1] not in known_keys():
        return said
    return _wrong(found[1], written_as.get(found[1]))


def _wrong(key: str, value: Any) -> str:
    quote = ""
    if _is_names(key) and isinstance(value, list):
        quote = "; quote each name that YAML takes for something else: no, yes, null, 0"
    return f"{key} is {value!r}; it must be {_wanted(key)}{quote}"


def _is_text(key: str) -> bool:
    """Return whether a setting is any text."""
    return _kind(key) in (str, str | None)


def _choices(kind: Any) -> tuple[Any, ...]:
    """The words that a setting may be."""
    if typing.get_origin(kind) is typing.Literal:
        return typing.get_args(kind)
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return tuple(itertools.chain(*map(_choices, typing.get_args(kind))))
    return ()


def _is_names(key: str) -> bool:
    """Return whether a setting is a list of names."""
    return tuple[str, ...] in (_kind(key), *typing.get_args(_kind(key)))


def _kind(key: str) -> Any:
    room, _, name = key.rpartition(".")
    return typing.get_type_hints(_rooms()[room] if room else Recipe)[name]


def _wanted(key: str) -> str:
    return words(_kind(key))
