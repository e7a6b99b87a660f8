"""The page of runs that come next, made from the queue's file and the rows of what is done."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evidence.cost_tables import PLACES, Speed, cost_of, measured, train_images
from evidence.queue_file import Entry, Training, read_queue, trainings
from evidence.recipe_facts import read_facts
from evidence.rows import all_rows
from ghostnet_small.files import write_atomic
from ghostnet_small.recipe.recipe import terms
from ghostnet_small.report.table_cells import markdown_table
from ghostnet_small.report.words import count, counted, width_text
from ghostnet_small.run.records import Record, look

HEAD = """# The queue

The next runs, the most useful first. An entry leaves the queue when rows of that study, or of that
recipe with as many seeds as were asked for, are committed.
"""
COSTS = """## What the costs are computed from

The fastest committed training of each network, in images a second. Hours are those of the runs
that are missing, one after another, without evaluation and without making the teachers'
targets. "About" says that a width was not measured on that machine, and the speed is that of the
nearest, in proportion to the multiply-accumulates of training; "not measured", that the machine
has trained no network of that kind.
"""
LONGEST = 110  # letters of a command's line
BREAK = " \\\n    "


def write_queue(file: Path, results: Path, out: Path, check: bool = False) -> dict[str, Any]:
    """Write the page of the queue in ``file`` to ``out``; returns its content and whether it
    changed.

    Keys: ``queue`` (a mapping for each entry that is not done), ``done`` (names), ``changed``. With
    ``check`` nothing is written.

    Raises ``InputError`` where the file is no queue, or a row or a figure is damaged.
    """
    rows = all_rows(results)
    entries = read_queue(file, read_facts(results))
    speeds = {place.name: measured(rows, place) for place in PLACES}
    queue, done = [], []
    for entry in entries:
        asked = trainings(entry)
        missing = missing_of(asked, rows)
        if missing:
            queue.append(_facts(entry, len(asked), missing, speeds))
        else:
            done.append(entry.name)
    page = _page(queue, done, speeds, f"{file.parent.name}/{file.name}")
    changed = not out.is_file() or out.read_text(encoding="utf-8") != page
    if changed and not check:
        write_atomic(out, page)
    return {"out": str(out), "queue": queue, "done": done, "changed": changed}


def missing_of(asked: Sequence[Training], rows: Sequence[Record]) -> list[Training]:
    """Return the trainings of an entry that have no row.

    A recipe may have any seeds and any teachers, as long as they are as many as were asked for.
    """
    there = {_identity(row) for row in rows}
    missing = [training for training in asked if _asked(training) not in there]
    if not missing or missing[0].study is not None:
        return missing
    seeds = {seed for *same, seed in there if tuple(same) == _asked(asked[0])[:2]}
    return missing[: max(0, len(asked) - len(seeds))]


def _asked(training: Training) -> tuple[str, Any, Any]:
    plain = training.recipe.as_dict()
    where = (training.study, training.run) if training.study else plain["data"]["source"]
    return _but_seed(plain), where, training.recipe.train.seed


def _identity(row: Record) -> tuple[str, Any, Any]:
    study = look(row, "study", "name")
    where = (study, look(row, "study", "run")) if study else look(row, "recipe", "data", "source")
    return _but_seed(row["recipe"]), where, row["seed"]


def _but_seed(plain: dict[str, Any]) -> str:
    decide = {key: value for key, value in terms(plain).items() if key != "train.seed"}
    return json.dumps(decide, sort_keys=True)


def _facts(
    entry: Entry, asked: int, missing: Sequence[Training], speeds: dict[str, list[Speed]]
) -> dict[str, Any]:
    recipes = [training.recipe for training in missing]
    sizes = Counter((recipe.train.epochs, train_images(recipe)) for recipe in recipes)
    return {
        "name": entry.name,
        "question": entry.question,
        "decides": entry.decides,
        "command": entry.command,
        "asked": asked,
        "missing": len(missing),
        "runs": ", ".join(
            f"{runs} x {epochs} x {count(images)}" for (epochs, images), runs in sizes.items()
        ),
        "costs": {name: str(cost_of(recipes, there)) for name, there in speeds.items()},
    }


def _page(
    queue: Sequence[dict[str, Any]],
    done: Sequence[str],
    speeds: dict[str, list[Speed]],
    source: str,
) -> str:
    titles = ["", "question", "runs x epochs x images", *(f"on {place}" for place in speeds)]
    table = markdown_table(
        titles,
        [
            [str(place), one["question"].replace("|", r"\|"), one["runs"], *one["costs"].values()]
            for place, one in enumerate(queue, 1)
        ],
    )
    parts = [HEAD, table if queue else "Nothing waits.", ""]
    if done:
        parts += [f"Done: {', '.join(done)}.", ""]
    for place, one in enumerate(queue, 1):
        parts += [
            f"## {place}. {one['name']}",
            "",
            one["question"],
            "",
            f"*What it decides:* {one['decides']}",
            "",
            f"Missing: {one['missing']} of {counted(one['asked'], 'run')}.",
            "",
            "```sh",
            _wrapped(one["command"]),
            "```",
            "",
        ]
    used = [
        [
            place,
            f"{speed.network} {width_text(speed.width)}",
            count(speed.macs),
            count(speed.images_per_s),
            speed.recipe.replace("|", r"\|"),
        ]
        for place, there in speeds.items()
        for speed in there
    ]
    titles = ["machine", "network", "MACs in training", "images/s", "recipe"]
    parts += [COSTS, markdown_table(titles, used), ""]
    parts += [f"From `{source}` and the committed rows by `python tools/maintain.py queue`.", ""]
    return "\n".join(parts)


def _wrapped(command: str) -> str:
    """A command on as many lines as it needs, each broken before an option."""
    lines: list[str] = []
    for part in re.split(r" (?=--)", command):
        if lines and len(f"{lines[-1]} {part}") + len(BREAK) <= LONGEST:
            lines[-1] += f" {part}"
        else:
            lines.append(part)
    return BREAK.join(lines)
