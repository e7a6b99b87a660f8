"""The tables that documents show of records."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

from ghostnet_small.errors import InputError
from ghostnet_small.files import write_atomic
from ghostnet_small.study.deploy_tables import deploy_table
from ghostnet_small.study.provenance import commit_text
from ghostnet_small.study.records import Record, read_records, read_rows, terms_but_seed
from ghostnet_small.study.speed_tables import distill_speed_table, newest, train_speed_table
from ghostnet_small.study.table_cells import (
    both_forms_text,
    cell,
    device_text,
    markdown_table,
    mean_text,
    recipe_name,
    time_text,
)

_TABLE = re.compile(
    r"^<!-- table: (?P<name>.*?) -->\n"
    r".*?(?P<end>^<!-- end table -->$|\Z|(?=^<!-- table: ))",  # an empty end: there is none
    re.MULTILINE | re.DOTALL,
)


def render_tables(document: Path, results_dir: Path, check: bool = False) -> bool:
    """Make each marked table of a Markdown document anew; return whether it was up to date.

    A table named ``NAME`` stands between ``<!-- table: NAME -->`` and ``<!-- end table -->``,
    each alone on a line, and shows ``results_dir/NAME.jsonl``. With ``check`` nothing is
    written.

    Raises ``InputError`` where the document is missing, names an unknown table or does not
    end one.
    """
    if not document.is_file():
        raise InputError(f"there is no document {document}; name a Markdown file that exists")
    text = document.read_text(encoding="utf-8")

    def render(found: re.Match[str]) -> str:
        name = found["name"]
        if name not in TABLES:
            raise InputError(
                f"{document} has an unknown table {name!r}; choose one of {', '.join(TABLES)}"
            )
        if not found["end"]:
            raise InputError(
                f"table {name!r} of {document} has no end; add a line <!-- end table --> after it"
            )
        source = results_dir / f"{name}.jsonl"
        try:
            table = TABLES[name](source)
        except InputError:
            raise
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise InputError(
                f"a record of {source} does not fit table {name!r} ({error!r}); "
                "restore the lines that the program wrote"
            ) from error
        origin = (
            f"From `{results_dir.name}/{name}.jsonl` by `ghostnet-small tables {document.name}`."
        )
        return f"<!-- table: {name} -->\n\n{table}\n\n{origin}\n\n{found['end']}"

    fresh = _TABLE.sub(render, text)
    if fresh != text and not check:
        write_atomic(document, fresh)
    return fresh == text


def training_table(source: Path) -> str:
    """Trainings that differ in nothing but their seed make one row, in order of their first."""
    records = read_records(source)
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(_terms(record), []).append(record)
    columns = COLUMNS
    if not any("best_on_test" in record for record in records):
        columns = {title: of for title, of in COLUMNS.items() if of is not _best_on_test}
    rows = [[of(group) for of in columns.values()] for group in groups.values()]
    return markdown_table(list(columns), rows)


def measurement_table(source: Path) -> str:
    """Measurements, a row each, under the names that they were written with; their origin last."""
    return _measured(read_rows(source))


def step_parts_table(source: Path) -> str:
    """The same, of each step's newest code: ``step_parts.py`` writes a step's parts together."""
    step = ("width", "batch", "threads")
    return _measured(newest(read_rows(source), lambda row: tuple(row[name] for name in step)))


def _measured(measured: Sequence[Record]) -> str:
    names = dict.fromkeys(name for row in measured for name in row if name not in ORIGIN)
    titles = [*names, *ORIGIN]
    return markdown_table(titles, [[cell(row.get(name)) for name in titles] for row in measured])


def _terms(record: Record) -> str:
    """Everything but the seed that makes runs comparable, where they ran included."""
    device = [record["device"][key] for key in ("name", "threads")] + [_processes(record)]
    return json.dumps([*terms_but_seed(record), device], sort_keys=True)


def _recipe(runs: Sequence[Record]) -> str:
    return recipe_name(runs[0]).replace("|", r"\|")


def _train_images(runs: Sequence[Record]) -> str:
    return f"{runs[0]['data']['train_images']:,}"


def _epochs(runs: Sequence[Record]) -> str:
    return _each([str(len(run["epochs"])) for run in runs])


def _params(runs: Sequence[Record]) -> str:
    return both_forms_text(runs[0]["model"]["params"])


def _macs(runs: Sequence[Record]) -> str:
    return both_forms_text(runs[0]["model"]["macs"])


def _top1(runs: Sequence[Record]) -> str:
    ema = " (EMA)" if runs[0]["recipe"]["train"]["ema_decay"] is not None else ""
    return f"{mean_text([run['last']['test_top1'] for run in runs])}{ema}"


def _correct(runs: Sequence[Record]) -> str:
    total = runs[0]["last"]["test_total"]
    correct = [f"{run['last']['test_correct']:,}" for run in runs]
    return f"{', '.join(correct)} / {total:,}"


def _best_on_test(runs: Sequence[Record]) -> str:
    best = [run["best_on_test"] for run in runs if "best_on_test" in run]
    if not best:
        return "-"
    epochs = ", ".join(str(one["epoch"]) for one in best)
    return f"{mean_text([one['top1'] for one in best])} (epoch {epochs})"


def _seeds(runs: Sequence[Record]) -> str:
    return f"n = {len(runs)} ({_each([str(run['seed']) for run in runs])})"


def _device(runs: Sequence[Record]) -> str:
    several = f", {count} processes" if (count := _processes(runs[0])) > 1 else ""
    return f"{device_text(runs[0]['device'])}{several}"


def _processes(record: Record) -> int:
    return int(record.get("processes", 1))


def _time(runs: Sequence[Record]) -> str:
    return time_text(statistics.mean(run["wall_seconds"] for run in runs))


def _speed(runs: Sequence[Record]) -> str:
    return f"{statistics.mean(run['images_per_s'] for run in runs):,.0f}"


def _commit(runs: Sequence[Record]) -> str:
    return _each([commit_text(run["commit"], run.get("dirty")) for run in runs])


def _each(values: Sequence[str]) -> str:
    """The values in order, each once."""
    return ", ".join(dict.fromkeys(values))


COLUMNS: dict[str, Callable[[Sequence[Record]], str]] = {
    "recipe": _recipe,
    "training images": _train_images,
    "epochs": _epochs,
    "parameters, training / deployed": _params,
    "MACs, training / deployed": _macs,
    "test top-1 of the last epoch, %": _top1,
    "correct / pictures": _correct,
    "best epoch chosen on test, %": _best_on_test,
    "runs (seeds)": _seeds,
    "device": _device,
    "time": _time,
    "images/s": _speed,
    "commit": _commit,
}
ORIGIN = ("device", "commit")
TABLES: dict[str, Callable[[Path], str]] = {
    "cifar10-cpu": training_table,
    "fashion-mnist-cpu": training_table,
    **dict.fromkeys(
        ("large-sets", "decoding", "costs-of-size", "kills", "fuzz", "together"),
        measurement_table,
    ),
    "step-parts": step_parts_table,
    "train-speed": train_speed_table,
    "distill-speed": distill_speed_table,
    "deploy": deploy_table,
}
