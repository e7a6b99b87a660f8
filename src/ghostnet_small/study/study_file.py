"""Read the file of a study and check its form."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ghostnet_small.errors import InputError, nearest
from ghostnet_small.recipe.recipe import check_keys
from ghostnet_small.recipe.recipe_file import read_yaml

KEYS = ("name", "about", "recipe", "settings", "runs", "students", "published")
ENTRY = ("recipe", "settings", "teachers", "widths", "seeds")
STUDENTS = ("widths", "seeds", "baseline", "strategies")
LONGEST_NAME = 100


@dataclass(frozen=True)
class Entry:
    """The file's entry for one strategy, or for one name among ``runs``.

    None: the file does not say; a ``strategy`` of None is no student's. ``where`` is for messages.
    """

    name: str
    where: str
    strategy: str | None
    recipe: str | None
    settings: Mapping[str, Any]
    teachers: tuple[str, ...]
    widths: Sequence[float] | None
    seeds: Sequence[int] | None


@dataclass(frozen=True)
class StudyFile:
    """A study's file, checked for its form; ``published`` is checked with the plan."""

    name: str
    about: str
    recipe: str | None
    settings: Mapping[str, Any]
    entries: tuple[Entry, ...]
    baseline: str | None
    published: Mapping[str, Any]


def read_study_file(path: Path) -> StudyFile:
    """Read the file of a study.

    Raises ``InputError`` where it cannot be read, a key is unknown (with the nearest valid one), or
    a value is of another kind than its key's.
    """
    written, file = read_yaml(path, what="study"), str(path)
    check_known(written, KEYS, f"the study {file}")
    students = mapping(written, "students", file)
    check_known(students, STUDENTS, f"students of {file}")
    settings = _settings(written, file)
    entries = _entries(written, students, file)
    return StudyFile(
        text(written, "name", file) or path.stem,
        text(written, "about", file) or "",
        text(written, "recipe", file),
        settings,
        tuple(entries),
        _baseline(students, file),
        mapping(written, "published", file),
    )


def _entries(written: Mapping[str, Any], students: Mapping[str, Any], file: str) -> list[Entry]:
    entries = [
        _entry(name, values, f"runs.{name} of {file}", None)
        for name, values in mapping(written, "runs", file).items()
    ]
    where = f"students of {file}"
    widths, seeds = _widths(students, where), _seeds(students, where)
    for name, values in mapping(students, "strategies", where).items():
        entry = _entry(name, values, f"students.strategies.{name} of {file}", name)
        given = values or {}
        entries.append(
            replace(
                entry,
                widths=entry.widths if "widths" in given else widths,
                seeds=entry.seeds if "seeds" in given else seeds,
            )
        )
    for entry in entries:
        for key, room, values in (
            ("widths", "model", entry.widths),
            ("seeds", "train", entry.seeds),
        ):
            name = key[:-1]
            if values is not None and name in (entry.settings.get(room) or {}):
                raise InputError(
                    f"{room}.{name} in the settings of {entry.where} says what {key} says; leave "
                    f"one of them out, or write {key}: null there"
                )
    return entries


def _entry(name: Any, values: Any, where: str, strategy: str | None) -> Entry:
    _check_name(name, where)
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise InputError(f"{where} is {values!r}; it must hold {', '.join(ENTRY)}, or be {{}}")
    check_known(values, ENTRY, where)
    teachers = values.get("teachers")
    if teachers is not None and not (
        isinstance(teachers, list) and all(isinstance(one, str) and one for one in teachers)
    ):
        raise InputError(
            f"teachers of {where} is {teachers!r}; it must be a list of names or of folders, such "
            "as [teacher-a]"
        )
    return Entry(
        name,
        where,
        strategy,
        text(values, "recipe", where),
        _settings(values, where),
        tuple(teachers or ()),
        _widths(values, where),
        _seeds(values, where),
    )


def _check_name(name: Any, where: str) -> None:
    if not isinstance(name, str) or not re.fullmatch(r"\w[\w.+-]*", name, re.ASCII):
        raise InputError(
            f"the name {name!r} in {where} cannot be a folder's; give letters, digits and -._+, "
            "such as teacher-a (with quotes where it is a number)"
        )
    if len(name) > LONGEST_NAME:
        raise InputError(f"the name {name} is longer than {LONGEST_NAME} letters; give a shorter")


def _settings(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    settings = mapping(values, "settings", where)
    check_keys(settings, where)
    check_no_teachers(settings, where)
    return settings


def check_no_teachers(written: Mapping[str, Any], where: str) -> None:
    """Raises ``InputError`` where a recipe's plain values name teachers."""
    rooms = written.get("distill")
    if isinstance(rooms, dict) and rooms.get("teachers"):
        raise InputError(
            f"{where} sets distill.teachers to {rooms['teachers']!r}; in a study teachers are "
            "named by the key teachers of a run or a strategy"
        )


def _widths(values: Mapping[str, Any], where: str) -> tuple[float, ...] | None:
    widths = _list(values, "widths", where, (int, float), "numbers, such as [1.0, 2.8]")
    return None if widths is None else check_once(tuple(map(float, widths)), f"widths of {where}")


def _seeds(values: Mapping[str, Any], where: str) -> tuple[int, ...] | None:
    seeds = _list(values, "seeds", where, int, "whole numbers, such as [0, 1, 2]")
    return None if seeds is None else check_once(tuple(seeds), f"seeds of {where}")


def _list(values: Mapping[str, Any], key: str, where: str, kind: Any, wanted: str) -> Any:
    found = values.get(key)
    if found is None:
        return None
    right = isinstance(found, list) and found
    if not right or any(not isinstance(v, kind) or isinstance(v, bool) for v in found):
        raise InputError(f"{key} of {where} is {found!r}; it must be a list of {wanted}")
    return found


def check_once(values: Any, what: str) -> Any:
    """Return ``values``; raises ``InputError`` where one of them comes twice."""
    twice = [value for value in values if values.count(value) > 1]
    if twice:
        raise InputError(f"{what} gives {twice[0]} twice; give each value once")
    return values


def mapping(values: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
    """Return the mapping under ``key``, empty where there is none; raises ``InputError`` at
    another.
    """
    found = values.get(key)
    if found is not None and not isinstance(found, dict):
        raise InputError(f"{key} of {where} is {found!r:.200}; it must be a mapping, 'key: value'")
    return found or {}


def text(values: Mapping[str, Any], key: str, where: str) -> str | None:
    """Return the text under ``key``; raises ``InputError`` where it is something else."""
    found = values.get(key)
    if found is not None and not isinstance(found, str):
        raise InputError(f"{key} of {where} is {found!r:.200}; it must be text")
    return found


def check_known(values: Mapping[Any, Any], keys: Collection[str], where: str) -> None:
    """Raises ``InputError`` at a key that is not among ``keys``, with the nearest of them."""
    for key in values:
        if key not in keys:
            raise InputError(f"key {key!r} in {where} is not known; {nearest(key, keys)}")


def _baseline(students: Mapping[str, Any], file: str) -> str | None:
    strategies = list(mapping(students, "strategies", file))
    found = text(students, "baseline", f"students of {file}")
    if found is None:
        return strategies[0] if strategies else None
    if found not in strategies:
        raise InputError(
            f"baseline of {file} names {found}, which is no strategy; {nearest(found, strategies)}"
        )
    return found
