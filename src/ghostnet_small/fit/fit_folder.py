"""The folder of a fit: its plans, the study of their trainings, the files and the report."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ghostnet_small.errors import InputError
from ghostnet_small.files import checked_json, signed_json, write_atomic
from ghostnet_small.fit.fit_plan import Plan
from ghostnet_small.plain_yaml import dump_yaml
from ghostnet_small.run.run_folder import is_run
from ghostnet_small.study.study_plan import FILE as STUDY_FILE

PLANS, STUDY, FILES, REPORT = "fit.json", "study", "files", "report.html"


@dataclass(frozen=True)
class FitFolder:
    """The folder ``path`` of a fit.

    ``fit.json`` has a row for each plan that was begun here: what was asked for, what was decided,
    and the name of the student's run. ``plan.yaml`` is a study's file of all their trainings, and
    ``study/`` the study.
    """

    path: Path

    def check(self) -> None:
        """Raises ``InputError`` where the folder holds something else."""
        if not self.path.exists():
            return
        if not self.path.is_dir():
            raise InputError(f"--out {self.path} is a file; give a folder, a new one or a fit's")
        if is_run(self.path) or (self.path / STUDY_FILE).exists():
            kind = "a run's" if is_run(self.path) else "a study's"
            raise InputError(f"--out {self.path} is {kind} folder; give a new one, or a fit's")
        if not (self.path / PLANS).exists() and any(self.path.iterdir()):
            raise InputError(
                f"--out {self.path} holds files that are no fit's ({PLANS} is missing); give a "
                "new folder"
            )

    def plans(self) -> list[dict[str, Any]]:
        """Return the rows of the plans that were begun, the first one first.

        Raises ``InputError`` where the file is damaged.
        """
        file = self.path / PLANS
        rows: list[dict[str, Any]] = checked_json(file)["plans"] if file.exists() else []
        return rows

    def row(
        self, plan: Plan, asked: dict[str, Any], about: dict[str, Any], seed: int
    ) -> dict[str, Any]:
        """Return the row of a further plan, which ``begin`` writes; ``seed`` is of its students."""
        number = len(self.plans()) + 1
        runs, strategies = plan.entries(number, seed)
        names = {name: f"{name}-{number}-s{seed}" for name in ("fit", "alone", "taught")}
        return {
            "asked": asked,
            **about,
            "network": [plan.student.width, plan.student.head],
            "reasons": [[one.what, one.chosen, one.why] for one in plan.reasons],
            "seconds": plan.seconds,
            "student": names["fit"],
            "teacher": None if plan.teacher is None else plan.teacher_name(number),
            "alone": names["alone"] if plan.measured else None,
            "taught": names["taught"] if plan.measured and plan.teacher is not None else None,
            "half": f"half-{number}" if plan.measured else None,
            "folds": [f"fold-{number}-{fold}" for fold in range(plan.folds)],
            "seed": seed,
            "entries": {"runs": runs, "strategies": strategies},
        }

    def begin(self, row: dict[str, Any]) -> None:
        """Write the plan of ``row``, where it is not written yet."""
        rows = self.plans()
        if row in rows:
            return
        self.path.mkdir(parents=True, exist_ok=True)
        write_atomic(self.path / "plan.yaml", study_text([*rows, row]))
        write_atomic(self.path / PLANS, signed_json({"plans": [*rows, row]}))

    @property
    def study(self) -> Path:
        """The folder of the study."""
        return self.path / STUDY


def study_text(rows: list[dict[str, Any]]) -> str:
    """Return the study's file of the plans in ``rows``, with the reasons of the last one.

    A later plan only adds to it, for what a study has begun with stays.
    """
    first, last = rows[0], rows[-1]
    runs: dict[str, Any] = {}
    strategies: dict[str, Any] = {}
    for row in rows:
        runs |= row["entries"]["runs"]
        strategies |= row["entries"]["strategies"]
    words = ["ghostnet-small", "study", "plan.yaml", "--out", "DIR", *last["asked"]["settings"]]
    lines = [
        "# Made by ghostnet-small fit. It may be edited, and run by:",
        f"# {shlex.join(words)}",
    ]
    lines += [f"# {what}: {chosen} ({why})" for what, chosen, why in last["reasons"]]
    values: dict[str, Any] = {"name": f"fit, {len(first['facts']['classes'])} classes"}
    if runs:
        values["runs"] = runs
    seed = first["seed"]
    values["students"] = {
        "seeds": [seed],
        "baseline": (first["alone"] or first["student"]).removesuffix(f"-s{seed}"),
        "strategies": strategies,
    }
    return "\n".join(lines) + "\n" + dump_yaml(values)
