"""The tables that documents show of records."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from evidence.accuracy_tables import accuracy_table
from evidence.deploy_tables import deploy_table
from evidence.factors import factors_table
from evidence.fields import FIELDS
from evidence.figures import render_pictures
from evidence.fit_tables import fit_table
from evidence.instruction_tables import instructions_table, mlperf_table
from evidence.rounds import rounds_table
from evidence.rows import groups, single_files
from evidence.selected import Table, selected_text
from evidence.speed_tables import (
    distill_speed_table,
    newest,
    train_batches_table,
    train_speed_table,
)
from evidence.strategies import strategies_table
from evidence.values import render_values
from ghostnet_small.errors import InputError
from ghostnet_small.files import write_atomic
from ghostnet_small.report.table_cells import (
    both_forms_text,
    cell,
    mean_text,
    recipe_cell,
)
from ghostnet_small.run.records import Record, read_records, read_rows

_TABLE = re.compile(
    r"^<!-- table: (?P<name>.*?) -->\n"
    r".*?(?P<end>^<!-- end table -->$|\Z|(?=^<!-- table: ))",  # an empty end: there is none
    re.MULTILINE | re.DOTALL,
)


def render_tables(document: Path, results_dir: Path, check: bool = False) -> bool:
    """Make each marked table, figure and value of a Markdown document again; return whether all
    were up to date.

    A table named ``NAME`` stands between ``<!-- table: NAME -->`` and ``<!-- end table -->``,
    each on its own line, and shows ``results_dir/NAME.jsonl``, of trainings or of ``TABLES``;
    words ``TITLE=CELL`` behind the name select rows. Or it shows what ``EVIDENCE`` makes of the
    names behind its first word. ``evidence.figures`` and ``evidence.values`` have the others. With
    ``check`` nothing is written.

    Raises ``InputError`` where the document is missing, or has a mark that is unknown or has no
    end.
    """
    if not document.is_file():
        raise InputError(f"there is no document {document}; name a Markdown file that exists")
    text = document.read_text(encoding="utf-8")

    def render(found: re.Match[str]) -> str:
        name = found["name"]
        makers = dict.fromkeys(single_files(results_dir), training_table) | TABLES
        with _rows_fit(f"table {name!r}", results_dir):
            kind, *words = shlex.split(name) or [""]
        if kind not in makers and kind not in EVIDENCE:
            raise InputError(
                f"{document} has an unknown table {kind!r}; choose one of {', '.join(makers)}, or "
                f"{', '.join(EVIDENCE)} with names of files behind it"
            )
        if not found["end"]:
            raise InputError(
                f"table {name!r} of {document} has no end; add a line <!-- end table --> after it"
            )
        with _rows_fit(f"table {name!r}", results_dir):
            if kind in makers:
                sources = [results_dir / f"{kind}.jsonl"]
                table = selected_text(makers[kind](sources[0]), words, f"table {name!r}")
            else:
                table, sources = EVIDENCE[kind](results_dir, words)
        made_of = ", ".join(
            f"`{results_dir.name}/{source.relative_to(results_dir).as_posix()}`"
            for source in sources
        )
        origin = f"From {made_of} by `python tools/maintain.py tables {document.name}`."
        return f"<!-- table: {name} -->\n\n{table}\n\n{origin}\n\n{found['end']}"

    fresh = _TABLE.sub(render, text)
    with _rows_fit(f"the values and figures of {document}", results_dir):
        fresh = render_values(fresh, results_dir, str(document))
        fresh = render_pictures(fresh, document, results_dir, draw=not check)
    if fresh != text and not check:
        write_atomic(document, fresh)
    return fresh == text


@contextmanager
def _rows_fit(what: str, results_dir: Path) -> Iterator[None]:
    """Raises ``InputError`` where a row that was damaged, or written by hand, makes no ``what``."""
    try:
        yield
    except InputError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise InputError(
            f"a record in {results_dir} does not fit {what} ({error!r}); restore the lines that "
            "the program wrote"
        ) from error


def training_table(source: Path) -> Table:
    """Trainings that differ in nothing but their seed make one row, in order of their first."""
    records = read_records(source)
    columns = COLUMNS
    if not any("best_on_test" in record for record in records):
        columns = {title: of for title, of in COLUMNS.items() if of is not _best_on_test}
    rows = [[of(group) for of in columns.values()] for group in groups(records)]
    return list(columns), rows


def measurement_table(source: Path) -> Table:
    """Measurements, a row each, under their recorded names; their origin last."""
    return _measured(read_rows(source))


def step_parts_table(source: Path) -> Table:
    """The same, of each step's newest code: ``step_parts.py`` writes a step's parts together."""
    step = ("width", "batch", "threads")
    return _measured(newest(read_rows(source), lambda row: tuple(row[name] for name in step)))


def fuzz_table(source: Path) -> Table:
    """A row for each reader, of all its runs."""
    readers: dict[str, list[Record]] = {}
    for row in read_rows(source):
        readers.setdefault(row["reader"], []).append(row)
    return _measured(
        [
            {"reader": reader}
            | {name: sum(row[name] for row in rows) for name in ("inputs", "findings")}
            | {"processor, minutes": 60 * sum(row["of the processor, hours"] for row in rows)}
            | {"commit": rows[-1]["commit"]}
            for reader, rows in readers.items()
        ]
    )


def _measured(measured: Sequence[Record]) -> Table:
    names = dict.fromkeys(name for row in measured for name in row if name not in ORIGIN)
    names |= dict.fromkeys(name for name in ORIGIN if any(name in row for row in measured))
    titles = [name.replace("pictures", "images") for name in names]  # as earlier code wrote
    return titles, [[cell(row.get(name)) for name in names] for row in measured]


def _recipe(runs: Sequence[Record]) -> str:
    return recipe_cell(runs[0])


def _params(runs: Sequence[Record]) -> str:
    return both_forms_text(runs[0]["model"]["params"])


def _macs(runs: Sequence[Record]) -> str:
    return both_forms_text(runs[0]["model"]["macs"])


def _top1(runs: Sequence[Record]) -> str:
    ema = " (EMA)" if runs[0]["recipe"]["train"]["ema_decay"] is not None else ""
    return f"{mean_text([run['last']['test_top1'] for run in runs])}{ema}"


def _best_on_test(runs: Sequence[Record]) -> str:
    best = [run["best_on_test"] for run in runs if "best_on_test" in run]
    if not best:
        return "-"
    epochs = ", ".join(str(one["epoch"]) for one in best)
    return f"{mean_text([one['top1'] for one in best])} (epoch {epochs})"


def _seeds(runs: Sequence[Record]) -> str:
    return f"n = {len(runs)} ({FIELDS['seeds'](runs)})"


COLUMNS: dict[str, Callable[[Sequence[Record]], str]] = {
    "recipe": _recipe,
    "training images": FIELDS["train_images"],
    "epochs": FIELDS["epochs"],
    "parameters, training / deployed": _params,
    "MACs, training / deployed": _macs,
    "test top-1 of the last epoch, %": _top1,
    "correct / images": FIELDS["correct"],
    "best epoch chosen on test, %": _best_on_test,
    "runs (seeds)": _seeds,
    "device": FIELDS["device"],
    "time": FIELDS["wall"],
    "images/s": FIELDS["images_per_s"],
    "commit": FIELDS["commit"],
}
ORIGIN = ("device", "commit")
TABLES: dict[str, Callable[[Path], Table]] = {
    "cifar10-cpu": training_table,
    "fashion-mnist-cpu": training_table,
    "teachers-cpu": training_table,
    **dict.fromkeys(
        (
            *("large-sets", "decoding", "costs-of-size", "kills", "together", "teacher-answers"),
            *("step-checkouts", "litert"),
        ),
        measurement_table,
    ),
    "fuzz": fuzz_table,
    "step-parts": step_parts_table,
    "train-speed": train_speed_table,
    "train-batches": train_batches_table,
    "distill-speed": distill_speed_table,
    **dict.fromkeys(("deploy", "deploy-avx2"), deploy_table),
    "instructions": instructions_table,
    "fit": fit_table,
    "mlperf-tiny": mlperf_table,
}
# Of several files, or of a study: the table, and the files that it is made of.
EVIDENCE: dict[str, Callable[[Path, Sequence[str]], tuple[str, list[Path]]]] = {
    "accuracy": accuracy_table,
    "strategies": strategies_table,
    "factors": factors_table,
    "search": rounds_table,
}
