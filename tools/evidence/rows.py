"""Rows of trainings by the name of their file, and the groups that a document speaks of."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ghostnet_small.errors import InputError
from ghostnet_small.recipe.shareable import portable_recipe
from ghostnet_small.report.table_cells import device_text, recipe_name
from ghostnet_small.report.words import each
from ghostnet_small.run.records import (
    REQUIRED,
    Record,
    look,
    read_records,
    read_rows,
    sequence,
    terms_but_seed,
)
from ghostnet_small.study.runner import RESULTS

SEARCH = "search-"
Rows = Sequence[Record]


def training_files(results: Path) -> dict[str, Path]:
    """The files that hold trainings by name: ``NAME.jsonl``, and ``NAME/results.jsonl`` of a
    study."""
    files = {file.stem: file for file in sorted(results.glob("*.jsonl"))}
    files |= {file.parent.name: file for file in sorted(results.glob(f"*/{RESULTS}"))}
    return {name: file for name, file in files.items() if _holds_trainings(file)}


def named_file(results: Path, name: str) -> Path:
    """The file of trainings called ``name``; raises ``InputError`` with all where there is none."""
    files = training_files(results)
    if name not in files:
        raise InputError(
            f"{name!r} is no file of trainings in {results}; there are {_listed(files)}"
        )
    return files[name]


def named_rows(results: Path, name: str) -> list[dict[str, Any]]:
    """The rows of ``named_file``, oldest first."""
    return read_records(named_file(results, name))


def single_files(results: Path) -> dict[str, Path]:
    """Those of ``training_files`` that are neither a study's nor a search's."""
    return {
        name: file
        for name, file in training_files(results).items()
        if file.parent == results and not name.startswith(SEARCH)
    }


def all_rows(results: Path) -> list[dict[str, Any]]:
    """The rows of every file of trainings; a study's run that is also recorded on its own comes
    twice.
    """
    return [row for file in training_files(results).values() for row in read_records(file)]


def groups(rows: Iterable[Record]) -> list[list[Record]]:
    """Rows that differ in nothing but their seed, in the order of the first of each."""
    found: dict[str, list[Record]] = {}
    for row in rows:
        found.setdefault(_terms(row), []).append(row)
    return list(found.values())


def pick(rows: Rows, asked: Mapping[str, str], where: str) -> list[Record]:
    """The one group that has the values ``asked`` for, by the keys of ``SELECTORS``.

    Raises ``InputError`` where there is none, or more than one; the message lists what there is.
    """
    left = list(rows)
    for key, value in asked.items():
        if key not in SELECTORS:
            raise InputError(f"{key!r} in {where} is unknown; choose one of {', '.join(SELECTORS)}")
        there = {_text(SELECTORS[key](row)) for row in left}
        left = [row for row in left if _text(SELECTORS[key](row)) == _text(value)]
        if not left:
            raise InputError(
                f"{where}: no row has {key}={value!r}; {key} is one of {_listed(sorted(there))}"
            )
    found = groups(left)
    if len(found) > 1:
        apart = {key: {_text(of(row)) for row in left} for key, of in SELECTORS.items()}
        ways = [f"{key} ({_listed(sorted(of))})" for key, of in apart.items() if len(of) > 1]
        raise InputError(
            f"{where} is of {len(found)} kinds of runs; choose one by {' or '.join(ways)}"
        )
    return found[0]


def chosen(rows: Rows, words: Sequence[str], where: str) -> list[Record]:
    """``pick`` by words ``KEY=VALUE``."""
    asked = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise InputError(
                f"{word!r} in {where} chooses nothing; write KEY=VALUE, of {', '.join(SELECTORS)}"
            )
        asked[key] = value
    return pick(rows, asked, where)


def set_of(row: Record) -> str:
    """Return the name of its data: a named set, or the last name of a folder."""
    read = look(row, "data", "fingerprint")
    source = portable_recipe(row["recipe"], read).get("data", {}).get("source")
    return "-" if source is None else str(source)


def width_of(row: Record) -> float | None:
    """The width of its network."""
    return look(row, "recipe", "model", "width")


def processes_of(row: Record) -> int:
    """Return the number of processes that shared the training."""
    return int(row.get("processes", 1))


def _terms(row: Record) -> str:
    """Return all that makes runs comparable but the seed, with their machine and their teachers."""
    place = [row["device"][key] for key in ("name", "threads")] + [processes_of(row)]
    # A recipe's terms count the teachers; strategies may differ in nothing else.
    teachers = [
        [look(teacher, "architecture"), look(teacher, "width")]
        for teacher in sequence(row, "distill", "teachers")
    ]
    taught = [look(row, "study", "strategy"), teachers]
    return json.dumps([*terms_but_seed(row), place, taught], sort_keys=True)


def _holds_trainings(file: Path) -> bool:
    rows = read_rows(file)
    return bool(rows) and all(key in rows[0] for key in REQUIRED)


def _text(value: Any) -> str:
    """A value as it may be written, 1 and 1.0 alike."""
    try:
        return f"{float(value):g}"
    except (TypeError, ValueError):
        return "-" if value is None else str(value)


def _listed(names: Iterable[str]) -> str:
    return each(repr(name) if " " in name else name for name in names)


SELECTORS: dict[str, Callable[[Record], Any]] = {
    "recipe": recipe_name,
    "strategy": lambda row: look(row, "study", "strategy"),
    "run": lambda row: look(row, "study", "run"),
    "candidate": lambda row: look(row, "search", "candidate"),
    "width": width_of,
    "set": set_of,
    "epochs": lambda row: len(row["epochs"]),
    "train_images": lambda row: row["data"]["train_images"],
    "device": lambda row: device_text(row["device"]),
    "seed": lambda row: row["seed"],
}
