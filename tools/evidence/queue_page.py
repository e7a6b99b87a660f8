"""The page of the studies that come next, made from their files and the rows of what is done."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from evidence.cost_tables import PLACES, SETS, Speed, cost_of, measured
from evidence.rows import all_rows
from ghostnet_small.files import read_text, write_atomic
from ghostnet_small.recipe.shipped_recipes import shipped_studies
from ghostnet_small.report.table_cells import markdown_table, markdown_text
from ghostnet_small.report.words import count, counted, width_text
from ghostnet_small.run.records import Record, look
from ghostnet_small.study.planning import plan_study
from ghostnet_small.study.study_plan import PlannedRun, Study

HEAD = """# What is next

The studies that lack rows, the cheapest first. A study leaves when its rows are committed.
`ghostnet-small study recipes/studies/NAME.yaml --data.root DIR --out results/NAME` starts one and
continues it.
"""
COSTS = """Hours are those of the missing runs, one after another, at the speed of the fastest epoch
that was recorded of each network: other runs at the same time only slow it down. Evaluation and
the answers of teachers are not counted. "About" takes the speed of the nearest width, in
proportion to the multiply-accumulates; "not measured" is a network that the machine never trained.
"""


def write_queue(
    files: Iterable[Path], results: Path, out: Path, check: bool = False
) -> dict[str, Any]:
    """Write the page of the studies in ``files`` to ``out``; returns its content and whether it
    changed.

    Keys: ``queue`` (a mapping for each study that is not done), ``done`` (names), ``changed``. With
    ``check`` nothing is written.

    Raises ``InputError`` where a file is no study, or a row is damaged.
    """
    rows = all_rows(results)
    speeds = {place.name: measured(rows, place) for place in PLACES}
    entries = [one for file in files if (one := next_study(file, rows, speeds)) is not None]
    queue = sorted((one for one in entries if one["missing"]), key=lambda one: one["hours"])
    done = [one["name"] for one in entries if not one["missing"]]
    page = _page(queue, done, speeds)
    changed = not out.is_file() or out.read_text(encoding="utf-8") != page
    if changed and not check:
        write_atomic(out, page)
    return {"out": str(out), "queue": queue, "done": done, "changed": changed}


def next_text(name: str, results: Path) -> str:
    """Return the missing runs of the shipped study called ``name``, and what they cost."""
    rows = all_rows(results)
    speeds = {place.name: measured(rows, place) for place in PLACES}
    found = next_study(shipped_studies()[name], rows, speeds)
    if found is None or not found["missing"]:
        return "no run is missing"
    costs = (f"on {place} {cost}" for place, cost in found["costs"].items())
    return f"{counted(found['missing'], 'run')}, {', or '.join(costs)}"


def next_study(
    file: Path, rows: Sequence[Record], speeds: dict[str, list[Speed]]
) -> dict[str, Any] | None:
    """Return what is missing of a study and what that costs; None where it is of a set whose size
    is not known here, as that of an example.
    """
    # Teachers from another study need not be there yet.
    study = plan_study(file, [], Path("results") / file.stem, outside=True)
    if any(run.recipe.data.source not in SETS for run in study.runs):
        return None
    missing = [run.recipe for run in missing_of(study, rows)]
    costs = {place: cost_of(missing, there) for place, there in speeds.items()}
    known = [cost.hours for cost in costs.values() if cost.unmeasured < cost.runs]
    lengths = Counter(recipe.train.epochs for recipe in missing)
    return {
        "name": file.stem,
        "about": _about(file),
        "asked": len(study.runs),
        "missing": len(missing),
        "runs": ", ".join(f"{runs} x {epochs} epochs" for epochs, runs in lengths.items()),
        "hours": max(known, default=math.inf),
        "costs": {place: str(cost) for place, cost in costs.items()},
    }


def missing_of(study: Study, rows: Sequence[Record]) -> list[PlannedRun]:
    """Return the runs of a study that have no row."""
    there = {(look(row, "study", "name"), look(row, "study", "run")) for row in rows}
    return [run for run in study.runs if (study.name, run.name) not in there]


def _about(file: Path) -> str:
    """The first sentence of the comment that a study's file begins with."""
    lines = takewhile(lambda line: line.startswith("# "), read_text(file).splitlines())
    comment = " ".join(line[2:].strip() for line in lines)
    return re.split(r"(?<=[.?]) ", comment, maxsplit=1)[0]


def _page(
    queue: Sequence[dict[str, Any]], done: Sequence[str], speeds: dict[str, list[Speed]]
) -> str:
    titles = ["study", "about", "missing runs", *(f"on {place}" for place in speeds)]
    lines = [
        [one["name"], markdown_text(one["about"]), one["runs"], *one["costs"].values()]
        for one in queue
    ]
    parts = [HEAD, markdown_table(titles, lines) if queue else "Nothing waits.", ""]
    if done:
        parts += [f"Done: {', '.join(done)}.", ""]
    used = (
        f"{speed.network} {width_text(speed.width)} on {place}: {count(speed.images_per_s)}"
        for place, there in speeds.items()
        for speed in there
    )
    parts += [COSTS, f"Images a second: {'; '.join(used) or 'none recorded'}.", ""]
    parts += ["From `recipes/studies` and the rows by `python tools/maintain.py queue`.", ""]
    return "\n".join(parts)
