"""The table of the accuracy of recipes on every set, beside published figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from evidence.fields import FIELDS, mean_of
from evidence.latency import latencies
from evidence.recipe_facts import FILE, published_of, read_facts
from evidence.rows import (
    Rows,
    groups,
    named_file,
    set_of,
    single_files,
    width_of,
)
from ghostnet_small.report.table_cells import markdown_table, recipe_cell
from ghostnet_small.report.words import spread
from ghostnet_small.run.records import look, read_records

RUNS: dict[str, Callable[[Rows], str]] = {
    "recipe": lambda runs: recipe_cell(runs[0]),
    "set": FIELDS["set"],
    "training images": FIELDS["train_images"],
    "epochs": FIELDS["epochs"],
    "n (seeds)": lambda runs: f"{FIELDS['n'](runs)} ({FIELDS['seeds'](runs)})",
}
# Columns that stand where a row has the figure.
ACCURACIES = {
    "test_top1": "test top-1 of the last epoch, %",
    "flip_top1": "averaged with its mirror image, %",
    "best_on_test": "best epoch chosen on test, %",
}
SIZES = {"parameters, deployed": FIELDS["params"], "MACs, deployed": FIELDS["macs"]}
LATENCY = "latency of an image, deployed, float32, ms"
COSTS = {
    "trained on": FIELDS["device"],
    "time": FIELDS["wall"],
    "images/s": FIELDS["images_per_s"],
}


def accuracy_table(results: Path, names: Sequence[str]) -> tuple[str, list[Path]]:
    """A row for each recipe and set of the files called ``names``, and the files.

    Without names: of all files of trainings but studies and searches, which have tables of their
    own.
    """
    if names:
        files = [named_file(results, name) for name in names]
    else:
        files = list(single_files(results).values())
    found = groups(row for file in files for row in read_records(file))
    facts = read_facts(results)

    def published(runs: Rows) -> str:
        # What teaches a student is a condition of its own.
        if look(runs[0], "distill"):
            return "-"
        network = look(runs[0], "recipe", "model", "name")
        fact = published_of(facts, network, width_of(runs[0]), set_of(runs[0]))
        return "-" if fact is None else fact.top1_text

    columns = dict(RUNS)
    for field, title in ACCURACIES.items():
        if field == "test_top1" or any(mean_of(runs, field) for runs in found):
            columns[title] = partial(_spread, field)
    latency, measured = latencies(results)
    columns |= {"published, best on test, %": published, **SIZES, LATENCY: latency, **COSTS}
    table = markdown_table(list(columns), [[of(runs) for of in columns.values()] for runs in found])
    return table, [*files, *measured, *([results / FILE] if facts else [])]


def _spread(field: str, runs: Rows) -> str:
    mean = mean_of(runs, field)
    some = f" (n = {mean.n})" if mean is not None and str(mean.n) != FIELDS["n"](runs) else ""
    return f"{spread(mean)}{some}"
