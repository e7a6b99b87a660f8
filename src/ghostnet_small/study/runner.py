"""Train the missing runs of a study, and keep one row for each finished run.

The folder of a study: ``study.yaml`` (the plan), ``runs/NAME``, ``logs/NAME.log`` (what a run
printed), ``recipes/NAME.yaml`` (what it was started with), ``results.jsonl`` (a row for each
finished run), ``failed.jsonl`` (a row for each other run, with the reason). That of a study that is
not kept: ``NAME``, ``logs`` and ``recipes``.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from ghostnet_small.errors import InputError
from ghostnet_small.files import check_free, inner_folder, write_atomic
from ghostnet_small.recipe.recipe import PLACE, keys_of
from ghostnet_small.recipe.recipe_file import recipe_text
from ghostnet_small.run.records import Record, read_rows, write_rows
from ghostnet_small.run.run_folder import RunFolder, is_run
from ghostnet_small.study.growth import added, differences
from ghostnet_small.study.local_engine import alone_in
from ghostnet_small.study.scheduler import Engine, Launch, Watcher, ending, run_jobs
from ghostnet_small.study.study_plan import (
    RUNS,
    PlannedRun,
    Study,
    read_study,
    with_threads,
    with_threads_of,
    write_study,
)
from ghostnet_small.study.training_job import (
    Job,
    Sharing,
    State,
    check_beginnings,
    means,
    result,
    states,
)

_log = logging.getLogger(__name__)  # what a user should know, though nothing is wrong

RESULTS, FAILED = "results.jsonl", "failed.jsonl"
TRIES = 3  # of a run that is ended from outside
MOST_LISTED = 3  # of differences or runs, in a message


def run_study(
    study: Study,
    out: Path,
    *,
    max_parallel: int | None,
    overrides: Sequence[str],
    watcher: Watcher,
    stop_signal: Callable[[], int | None],
    engine: Engine,
) -> dict[str, Any]:
    """Train the missing runs of ``study`` in ``out``, ``max_parallel`` at once; returns
    ``outcome``.

    Finished runs stay as they are; stopped ones go on, with those of ``overrides`` that say where
    a run takes place. A run that fails stops only those that need it; one of a kept study that is
    ended from outside is tried again from its last state.

    Raises ``InputError`` before anything is started where ``out`` holds something else or another
    study, ``engine`` cannot train a run, or another process is at work in ``out``; ``Interrupted``
    once all have ended where ``stop_signal`` gives a number.
    """
    before = found_study(study, out)
    if before is not None:
        study = with_threads_of(study, before)
    standing = states(study.jobs(out))
    if before is not None:
        _check_rows(standing, out)
    check_beginnings(standing)
    sharing = Sharing(0, None)
    if study.kept or set(standing.values()) != {"finished"}:
        sharing = engine.share([run.recipe for run in study.runs], max_parallel)
    study = with_threads(study, sharing.threads)
    out.mkdir(parents=True, exist_ok=True)
    with alone_in(out) as lock:
        if study.kept:
            # Another process may have been at work until now, and have added runs.
            if read_study(out) != before:
                raise InputError(
                    f"another process has changed the study in {out} meanwhile; give the command "
                    "again"
                )
            write_study(study, out)
            inner_folder(out / RUNS)
        inner_folder(out / "recipes")
        record = Records(study, out, watcher)
        with engine.trainings(lock) as launch:
            _run(study, out, sharing, overrides, launch, record, stop_signal)
    return outcome(study, out, record.failed, sharing.together)


def _run(
    study: Study,
    out: Path,
    sharing: Sharing,
    overrides: Sequence[str],
    launch: Launch,
    record: Records,
    stop_signal: Callable[[], int | None],
) -> None:
    standing = states(study.jobs(out))
    waiting = {job.name: job for job, state in standing.items() if state != "finished"}
    needs = {
        waiting[run.name]: [waiting[name] for name in run.needs if name in waiting]
        for run in study.runs
        if run.name in waiting
    }

    def words(job: Job) -> list[str]:
        if not is_run(job.folder):
            file = out / "recipes" / f"{job.name}.yaml"
            write_atomic(file, recipe_text(job.recipe.as_dict()))
            return ["train", str(file), "--out", str(job.folder)]
        # It keeps its recipe, and so its threads, which rounding depends on.
        here = [word for word in overrides if not keys_of([word]).isdisjoint(PLACE)]
        if study.kept and job.recipe.distill.teachers:
            # The study's folder may have been moved, and with it the teachers.
            here.append(f"--distill.teachers={json.dumps(job.recipe.distill.teachers)}")
        return ["train", "--resume", str(job.folder), *here]

    statuses = run_jobs(
        list(waiting.values()),
        words,
        out / "logs",
        together=sharing.together,
        launch=launch,
        watcher=record,
        stop_signal=stop_signal,
        needs=needs,
        tries=TRIES if study.kept else 1,
    )
    record.left_out(waiting.keys() - {job.name for job in statuses})


def found_study(study: Study, out: Path) -> Study | None:
    """Return ``study`` as ``out`` holds it; ``None`` before its start, or where it is not kept.

    Raises ``InputError`` where it holds something else, or another study.
    """
    if is_run(out):
        others = "the study" if study.kept else "several, or leave out --seeds and --widths"
        raise InputError(f"--out {out} is one run's folder; give another for {others}")
    if not out.is_dir():
        check_free(out, "--out")
        return None
    if not study.kept:
        return None
    before = read_study(out)
    if before is None:
        if any(not path.name.startswith(".") for path in out.iterdir()):
            raise InputError(f"--out {out} holds files, and no study; give a new folder")
        return None
    changes = differences(before, study, out)
    if changes:
        raise InputError(
            f"--out {out} holds another study ({_some(changes)}); runs may be added to a study, "
            "and none be changed or left out: give the study and the settings that it was begun "
            "with, or another --out"
        )
    if new := added(before, study):
        _log.warning("%d runs are added to the study in %s: %s", len(new), out, _some(new))
    return before


def _check_rows(standing: Mapping[Job, State], out: Path) -> None:
    """Raises ``InputError`` where a row would be lost: rows are made from the runs' folders, which
    a copied or checked-out study may lack.
    """
    finished = {job.name for job, state in standing.items() if state == "finished"}
    rows = read_rows(out / RESULTS) if (out / RESULTS).exists() else []
    names = [row.get("study", {}).get("run") for row in rows]
    alone = [str(name) for name in names if name not in finished]
    if alone:
        raise InputError(
            f"{out / RESULTS} has rows of runs that are not in {out / 'runs'} ({_some(alone)}), "
            f"and they would be lost; give another --out, bring the runs back, or remove {RESULTS}"
        )


def _some(texts: Sequence[str]) -> str:
    """Return the first of many texts as one."""
    more = f"; and {len(texts) - MOST_LISTED} more" if len(texts) > MOST_LISTED else ""
    return "; ".join(texts[:MOST_LISTED]) + more


class Records:
    """A ``Watcher`` that keeps ``results.jsonl`` and ``failed.jsonl`` of a study that is kept, and
    passes events on to ``watcher``.
    """

    def __init__(self, study: Study, out: Path, watcher: Watcher) -> None:
        self.study, self.out, self.watcher = study, out, watcher
        self.started, self.look, self.again = watcher.started, watcher.look, watcher.again
        self.rows: dict[str, Record] = {}
        self.failed: dict[str, dict[str, Any]] = {}
        self._write()

    def ended(self, job: Job, status: int, last_lines: Sequence[str]) -> None:
        """Count the run, or say why it failed."""
        if status:
            self.failed[job.name] = {
                "run": job.name,
                "status": "failed",
                "exit_status": status,
                "reason": ": ".join([ending(status), *last_lines[-1:]]),
                "last_lines": list(last_lines),
            }
        self._write()
        self.watcher.ended(job, status, last_lines)

    def left_out(self, names: Collection[str]) -> None:
        """Say why ``names`` were not started."""
        for run in self.study.runs:
            missing = [name for name in run.needs if name in self.failed]
            if run.name in names:
                teacher = self.failed[missing[0]]
                what = "failed" if teacher["status"] == "failed" else "was not started"
                self.failed[run.name] = {
                    "run": run.name,
                    "status": "not started",
                    "exit_status": None,
                    "reason": f"its teacher {missing[0]} {what}",
                    "last_lines": [],
                }
        self._write()

    def _write(self) -> None:
        if not self.study.kept:
            return
        # From the folders: whenever a study is killed, each of its runs is counted once.
        for run, job in zip(self.study.runs, self.study.jobs(self.out), strict=True):
            if run.name not in self.rows:
                summary = RunFolder(job.folder).summary() if is_run(job.folder) else None
                if summary is not None:
                    about = {
                        "name": self.study.name,
                        "run": run.name,
                        "strategy": run.strategy,
                        "width": run.width,
                        "seed": run.seed,
                        "teachers": list(run.teachers),
                    }
                    self.rows[run.name] = {**summary, **_named(summary, run), "study": about}
        names = [run.name for run in self.study.runs]
        write_rows(self.out / RESULTS, [self.rows[name] for name in names if name in self.rows])
        write_rows(self.out / FAILED, [self.failed[name] for name in names if name in self.failed])


def _named(summary: Record, run: PlannedRun) -> dict[str, Any]:
    """Return a summary's part on distillation with the teachers' names in the study, not their
    folders, so that rows do not depend on where a study lies.
    """
    if "distill" not in summary:
        return {}
    teachers = zip(summary["distill"]["teachers"], run.teachers, strict=True)
    named = [{**teacher, "name": name} for teacher, name in teachers]
    return {"distill": {**summary["distill"], "teachers": named}}


def outcome(
    study: Study, out: Path, failed: dict[str, dict[str, Any]], together: int | None = None
) -> dict[str, Any]:
    """Return each run's row and the means: of each strategy and width, or of each width where the
    study is not kept.
    """
    rows = []
    for run, job in zip(study.runs, study.jobs(out), strict=True):
        failure = failed.get(run.name)
        row = result(job, failure["status"] if failure else states([job])[job])
        if study.kept:
            row |= {"strategy": run.strategy, "teachers": list(run.teachers)}
            row["reason"] = failure["reason"] if failure else None
        else:
            row["exit_status"] = failure["exit_status"] if failure else 0
        rows.append(row)
    names = {
        status: [row["name"] for row in rows if row["status"] == status]
        for status in ("failed", "not started")
    }
    value = {"out": str(out), "together": together, "runs": rows}
    if not study.kept:
        return {**value, "widths": means(rows, ("width",)), "failed": names["failed"]}
    return {
        "study": study.name,
        **value,
        "strategies": means([row for row in rows if row["strategy"]], ("strategy", "width")),
        "failed": names["failed"],
        "not_started": names["not started"],
    }
