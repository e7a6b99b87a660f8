"""The table of a search: each round's candidates, the best first, and which of them went on."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from evidence.fields import FIELDS, mean_of
from evidence.rows import SEARCH, named_file
from ghostnet_small.errors import InputError
from ghostnet_small.report.table_cells import markdown_table
from ghostnet_small.report.words import spread
from ghostnet_small.run.records import Record, read_records


def rounds_table(results: Path, names: Sequence[str]) -> tuple[str, list[Path]]:
    """A row for each round and candidate of the search called by the one of ``names``, as
    ``record_round`` recorded it in ``results/search-NAME.jsonl``.

    It has only validation figures, for those of the test split chose nothing.
    """
    if len(names) != 1:
        raise InputError(
            f"table '{' '.join(('search', *names))}' must name one search; write such as search "
            f"NAME, for the file {results}/{SEARCH}NAME.jsonl"
        )
    file = named_file(results, f"{SEARCH}{names[0]}")
    found: dict[tuple[int, str], list[Record]] = {}
    for row in read_records(file):
        found.setdefault((row["search"]["round"], row["search"]["candidate"]), []).append(row)
    order = sorted(found, key=lambda key: (key[0], -_validation(found[key])))
    rows = [_row(*key, found[key]) for key in order]
    titles = ["round", "candidate", "changed", "epochs", "training images", "n"]
    return markdown_table([*titles, "validation top-1, %", "went on"], rows), [file]


def _validation(runs: Sequence[Record]) -> float:
    return statistics.fmean(run["last"]["validation_top1"] for run in runs)


def _row(number: int, candidate: str, runs: Sequence[Record]) -> list[str]:
    search = runs[0]["search"]
    changes = ", ".join(f"`{change}`" for change in search["changes"]) or "nothing"
    return [
        str(number),
        candidate.replace("|", r"\|"),
        changes.replace("|", r"\|"),
        FIELDS["epochs"](runs),
        FIELDS["train_images"](runs),
        FIELDS["n"](runs),
        spread(mean_of(runs, "validation_top1")),
        "yes" if search["kept"] else "no",
    ]
