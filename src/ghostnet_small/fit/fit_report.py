"""The report of a fit: what was asked, what fits, how good it is, and what would help next."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ghostnet_small.files import write_atomic
from ghostnet_small.fit.folder import REPORT, FitFolder
from ghostnet_small.report.html import html
from ghostnet_small.report.page import Column, Page, Plot, Section, Table, table
from ghostnet_small.run.run_folder import RunFolder
from ghostnet_small.study.study_plan import run_folder

Z = 1.959963984540054  # of a 95 % interval


def wilson(correct: int, total: int) -> tuple[float, float]:
    """Return the 95 % interval, in %, of the share ``correct / total``.

    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference,
    1927.
    """
    share, square = correct / total, Z * Z / total
    centre = (share + square / 2) / (1 + square)
    half = Z * math.sqrt(share * (1 - share) / total + square / (4 * total)) / (1 + square)
    return 100 * max(0.0, centre - half), 100 * min(1.0, centre + half)


def write_fit_report(
    row: Mapping[str, Any],
    folder: FitFolder,
    study: Mapping[str, Any],
    files: Mapping[str, Any],
    deployed: Mapping[str, Any],
) -> dict[str, Any]:
    """Write ``report.html`` into ``folder`` and return its figures.

    ``deployed`` is the evaluation of the int8 C file, ``files`` describes what was exported.
    """
    runs = {one["name"]: one for one in study["runs"]}
    summary = _summary(folder, row["student"])
    low, high = wilson(deployed["correct"], deployed["total"])
    figures = {
        "top1": deployed["top1"],
        "interval": [low, high],
        "split": deployed["split"],
        "images": deployed["total"],
        "float_top1": summary["last"].get(f"{deployed['split']}_top1"),
        "teacher_top1": _top1(folder, row["teacher"], deployed["split"]),
        "alone_top1": _top1(folder, row["control"], deployed["split"]),
        "cross_validated": _folds(folder, row["folds"]),
        "needs": row["needs"],
        "limits": {name: row["asked"][name] for name in ("flash", "ram")},
        "files": [one["files"][0] for one in files["files"]],
        "seconds": sum(one["wall_seconds"] or 0 for one in runs.values()),
    }
    drawings = {
        name: _picture(run_folder(folder.study, row["student"]) / "pictures" / f"{name}.png", words)
        for name, words in PICTURES.items()
    }
    page = _page(row, folder, runs, figures, files, deployed)
    write_atomic(folder.path / REPORT, html(page, drawings, kind="Report of a fit"))
    return figures


PICTURES = {
    "confusion": "How often each class is taken for each other",
    "mistakes": "The mistakes that were made with the most confidence",
    "curves": "Loss and top-1 by epoch",
}


def _page(
    row: Mapping[str, Any],
    folder: FitFolder,
    runs: Mapping[str, Mapping[str, Any]],
    figures: Mapping[str, Any],
    files: Mapping[str, Any],
    deployed: Mapping[str, Any],
) -> Page:
    low, high = figures["interval"]
    split = "test images" if figures["split"] == "test" else "images held out of training"
    findings = [
        f"The int8 C file classifies {deployed['correct']:,} of {deployed['total']:,} {split} "
        f"rightly: {deployed['top1']:.2f} % (95 % interval {low:.1f} to {high:.1f})."
    ]
    before = figures["float_top1"]
    if before is not None:
        findings.append(
            f"In float32 the network has {before:.2f} %: 8 bits changed "
            f"{deployed['top1'] - before:+.2f} points."
        )
    if figures["cross_validated"] is not None:
        correct, total = figures["cross_validated"]
        ends = wilson(correct, total)
        findings.append(
            f"Cross-validated, {correct:,} of {total:,} training images: "
            f"{100 * correct / total:.1f} % (95 % interval {ends[0]:.1f} to {ends[1]:.1f}), by "
            "networks trained like this one on the others."
        )
    if figures["alone_top1"] is not None and before is not None:
        alone = runs[row["control"]]
        findings.append(
            f"The same network without the teacher has {figures['alone_top1']:.2f} % after "
            f"{(alone['wall_seconds'] or 0) / 60:.1f} min of training (n = 1); the teacher itself "
            f"{figures['teacher_top1']:.2f} %."
        )
    findings += _next_steps(row, figures, deployed)
    facts = row["facts"]
    budget = [
        [
            "flash",
            _kb(row["needs"]["flash"]),
            _kb(row["asked"]["flash"]),
            _share(row["needs"]["flash"], row["asked"]["flash"]),
        ],
        [
            "RAM",
            _kb(row["needs"]["ram"]),
            _kb(row["asked"]["ram"]),
            _share(row["needs"]["ram"], row["asked"]["ram"]),
        ],
    ]
    sections = [
        Section(
            "budget",
            "Budget",
            (
                "Counted from the network's shape before it was trained; flash is that of the "
                "int8 C file's tables and code on a Cortex-M4.",
            ),
            (
                table(
                    "Flash and RAM",
                    [Column("of", False), Column("taken"), Column("allowed"), Column("share")],
                    budget,
                ),
                _files(files),
            ),
        ),
        Section(
            "plan",
            "Plan",
            (),
            (
                table(
                    "What was decided, and why",
                    [Column(one, False) for one in ("about", "decision", "reason")],
                    [list(one) for one in row["reasons"]],
                ),
            ),
        ),
        Section(
            "classes",
            "Classes",
            (f"Of the int8 file, on {figures['images']:,} {split}.",),
            (
                _classes(deployed),
                Plot("confusion", "Of the float32 network.", PICTURES["confusion"]),
            ),
        ),
        Section(
            "mistakes",
            "Mistakes",
            (),
            (
                Plot(
                    "mistakes",
                    "Of the float32 network: enlarged images, each with the class it was "
                    "given, the probability of that, and its label.",
                    PICTURES["mistakes"],
                ),
            ),
        ),
        Section(
            "training",
            "Training",
            (),
            (
                _trainings(runs, figures["split"]),
                Plot("curves", "Of the student.", PICTURES["curves"]),
            ),
        ),
    ]
    return Page(
        title=f"{len(facts['classes'])} classes: {row['title'].lower()}",
        about=(),
        facts=(
            ("Training images", f"{facts['images']:,}"),
            ("Image", f"{facts['width']}x{facts['height']}, {facts['channels']} channel(s)"),
            ("Network", next(r[1] for r in row["reasons"] if r[0] == "network")),
            ("Minutes asked for", f"{row['asked']['minutes']:g}"),
            ("Minutes trained", f"{figures['seconds'] / 60:.1f}"),
        ),
        findings=tuple(findings),
        sections=tuple(sections),
        small=(),
    )


def _next_steps(
    row: Mapping[str, Any], figures: Mapping[str, Any], deployed: Mapping[str, Any]
) -> list[str]:
    """Return what would help next, as far as this fit has measured it."""
    found = []
    teacher, student = figures["teacher_top1"], figures["float_top1"]
    if teacher is not None and student is not None:
        gap = teacher - student
        found.append(
            f"More width: the teacher, which is wider, is {abs(gap):.2f} points "
            f"{'better' if gap > 0 else 'worse'} than the network that fits"
            + ("." if gap > 1 else ", so a larger budget would give little.")
        )
    rows = sorted(deployed["per_class"], key=lambda one: one["recall"])
    worst = [one for one in rows if one["recall"] < deployed["top1"] - 5][:3]
    if worst:
        named = ", ".join(f"{one['class']} ({one['recall']:.0f} %)" for one in worst)
        found.append(f"More images of the classes that are recognised least: {named}.")
    if row["facts"]["least"] < 100:
        found.append(
            f"More images in general: the smallest class has {row['facts']['least']} for training."
        )
    return found


def _classes(deployed: Mapping[str, Any]) -> Table:
    return table(
        "By class",
        [
            Column("class", False),
            *(Column(name) for name in ("images", "precision, %", "recall, %")),
        ],
        [
            [
                one["class"],
                f"{one['pictures']:,}",
                f"{one['precision']:.1f}",
                f"{one['recall']:.1f}",
            ]
            for one in deployed["per_class"]
        ],
        note="Precision: of the answers with a class, those that are right. Recall: of its images, "
        "those that got it.",
    )


def _files(files: Mapping[str, Any]) -> Table:
    return table(
        "Files",
        [Column("file", False), Column("kB"), Column("same class as the network, %")],
        [
            [
                Path(one["files"][0]).name,
                f"{one['size_bytes'] / 1000:,.0f}",
                f"{one['agreement']:.1f}",
            ]
            for one in files["files"]
        ],
        note=f"Each was run and compared with the network on {files['pictures']} images of "
        f"{files['compared_on']}.",
    )


def _trainings(runs: Mapping[str, Mapping[str, Any]], split: str) -> Table:
    def percent(value: float | None) -> str:
        return "-" if value is None else f"{value:.2f}"

    return table(
        "Trainings",
        [
            Column("run", False),
            Column("width"),
            *(Column(f"{one}, %") for one in ("validation", "test")),
            Column("minutes"),
        ],
        [
            [
                name,
                f"{one['width']:g}",
                percent(one["validation_top1"]),
                percent(one["test_top1"]),
                f"{(one['wall_seconds'] or 0) / 60:.1f}",
            ]
            for name, one in runs.items()
        ],
    )


def _summary(folder: FitFolder, name: str) -> dict[str, Any]:
    return RunFolder(run_folder(folder.study, name)).finished()


def _top1(folder: FitFolder, name: str | None, split: str) -> float | None:
    if name is None:
        return None
    found: float | None = _summary(folder, name)["last"].get(f"{split}_top1")
    return found


def _folds(folder: FitFolder, names: Sequence[str]) -> tuple[int, int] | None:
    """Return the right answers and the images of all folds together."""
    if not names:
        return None
    rows = [_summary(folder, name) for name in names]
    totals = [row["data"]["validation_images"] for row in rows]
    shares = [row["last"]["validation_top1"] / 100 for row in rows]
    right = [round(share * total) for share, total in zip(shares, totals, strict=True)]
    return sum(right), sum(totals)


def _picture(path: Path, words: str) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{words}" src="data:image/png;base64,{data}">'


def _kb(size: int | None) -> str:
    return "any" if size is None else f"{size / 1000:,.1f} kB"


def _share(size: int, most: int | None) -> str:
    return "-" if most is None else f"{100 * size / most:.0f} %"
