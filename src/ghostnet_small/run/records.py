"""Records, one JSON line each: of finished runs, and of measurements."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ghostnet_small.errors import InputError, printable
from ghostnet_small.files import read_bytes, write_atomic
from ghostnet_small.recipe.recipe import terms

Record = Mapping[str, Any]

# What a summary must hold to become a record: the provenance, the figures and every epoch.
REQUIRED = (
    "recipe",
    "recipe_hash",
    "seed",
    "commit",
    "data",
    "device",
    "libraries",
    "wall_seconds",
    "images_per_s",
    "model",
    "last",
    "epochs",
)


def append_record(summary: Record, results_file: Path) -> None:
    """Append a run's ``summary.json`` as one line to ``results_file``, made where it is missing.

    Raises ``InputError`` where the summary lacks a key, or the file holds the run already or a
    bad line; the file is then as it was.
    """
    missing = [key for key in REQUIRED if key not in summary]
    if missing:
        raise InputError(
            f"this summary lacks {', '.join(missing)}; record a run that came to its end"
        )
    records = read_records(results_file) if results_file.exists() else []
    for number, record in enumerate(records, start=1):
        if _identity(record) == _identity(summary):
            raise InputError(
                f"{results_file} holds this run already as record {number} "
                f"(recipe {summary['recipe_hash'][:8]}, seed {summary['seed']}); "
                "record another run, or another file"
            )
    write_rows(results_file, [*records, summary])


def read_records(results_file: Path) -> list[dict[str, Any]]:
    """The records of a file, oldest first.

    Raises ``InputError`` where the file is missing, or a line is not a record; the message
    names the line.
    """
    if not results_file.is_file():
        raise InputError(
            f"there is no file {results_file}; "
            f"make it with: python tools/maintain.py record RUN {results_file}"
        )
    records = read_rows(results_file)
    for number, record in enumerate(records, start=1):
        missing = [key for key in REQUIRED if key not in record]
        if missing:
            raise InputError(
                f"{results_file}, line {number} lacks {', '.join(missing)}; restore the line that "
                "the program wrote"
            )
    return records


def append_row(row: Record, results_file: Path) -> None:
    """Append a measurement, a flat mapping, as one line to ``results_file``.

    Raises ``InputError`` where the file has a bad line; it is then as it was.
    """
    write_rows(results_file, [*(read_rows(results_file) if results_file.exists() else []), row])


def read_rows(results_file: Path) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines, oldest first.

    Raises ``InputError`` where the file cannot be read or a line is no object; the message
    names the line.
    """
    rows = []
    for number, line in enumerate(read_bytes(results_file).splitlines(), start=1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):  # of JSON, of UTF-8, of brackets without end
            row = None
        if not isinstance(row, dict):
            raise InputError(
                f"{results_file}, line {number} is not a JSON object; restore the line that the "
                "program wrote"
            )
        rows.append(row)
    return rows


def write_rows(results_file: Path, rows: Sequence[Record]) -> None:
    """Replace a file of JSON lines."""
    results_file.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
    # What no UTF-8 can hold, as in a folder's name that is none, is written as JSON escapes it.
    write_atomic(results_file, lines.encode("utf-8", "backslashreplace"))


def terms_but_seed(record: Record) -> list[Any]:
    """Return what runs share that differ only in their seed, wherever they ran."""
    decide = {key: value for key, value in terms(record["recipe"]).items() if key != "train.seed"}
    return [decide, record["data"]["fingerprint"]]


def _identity(record: Record) -> tuple[Any, ...]:
    """Return what identifies a run: its terms and, to the bit, the time that it took."""
    data = record["data"]["fingerprint"]
    return record["recipe_hash"], record["seed"], record["commit"], data, record["wall_seconds"]


def look(row: Mapping[str, Any], *keys: str) -> Any:
    """Return the value under ``keys``, None where there is none."""
    value: Any = row
    for key in keys:
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value


def number(row: Mapping[str, Any], *keys: str) -> float | None:
    """Return the finite number under ``keys``, else None."""
    value = look(row, *keys)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # Neither NaN nor a whole number that no float holds.
    return value if abs(value) <= sys.float_info.max else None


def text(row: Mapping[str, Any], *keys: str) -> str | None:
    """Return the value under ``keys`` as printable text, None where there is none."""
    value = look(row, *keys)
    return None if value is None else printable(str(value))


def sequence(row: Mapping[str, Any], *keys: str) -> Sequence[Any]:
    """Return the list under ``keys``, empty where there is none."""
    value = look(row, *keys)
    return value if isinstance(value, list | tuple) else ()
