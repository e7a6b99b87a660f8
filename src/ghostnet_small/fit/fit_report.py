"""The report of a fit: what was asked, what fits, how good it is, and what would help next."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from heapq import nsmallest
from pathlib import Path
from typing import Any, NamedTuple

from ghostnet_small.errors import printable
from ghostnet_small.files import write_atomic
from ghostnet_small.fit.fit_folder import FILES, REPORT, FitFolder
from ghostnet_small.report.confidence import wilson
from ghostnet_small.report.html import html
from ghostnet_small.report.page import Column, Page, Plot, Section, Table, table
from ghostnet_small.run.run_folder import RunFolder
from ghostnet_small.study.study_plan import run_folder


class Change(NamedTuple):
    """Two trainings that differ in one thing: ``what`` it is, and their top-1 in %."""

    what: str
    before: float
    after: float

    @property
    def gain(self) -> float:
        """Return the points that it gave."""
        return self.after - self.before

    def chance(self, total: int) -> float:
        """Return the points within which two equally good networks are, in 19 of 20 cases, on
        ``total`` images that are drawn for each."""
        shares = (self.before / 100, self.after / 100)
        return 196 * math.sqrt(sum(share * (1 - share) for share in shares) / total)


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
    # Matplotlib takes a second to import, which a plan need not wait.
    from ghostnet_small.fit.fit_plots import confusion_plot, curves_plot

    # Names of folders may hold control characters.
    per_class = [{**one, "class": printable(one["class"])} for one in deployed["per_class"]]
    deployed, classes = {**deployed, "per_class": per_class}, [one["class"] for one in per_class]
    runs = {one["name"]: one for one in study["runs"]}
    split = deployed["split"]
    low, high = wilson(deployed["correct"], deployed["total"])
    made = int8_file(files)
    figures = {
        "top1": deployed["top1"],
        "interval": [low, high],
        "split": split,
        "images": deployed["total"],
        "float_top1": _top1(folder, row["student"], split),
        "cross_validated": _folds(folder, row["folds"]),
        "changes": [{**one._asdict()} for one in _changes(row, folder, split)],
        "needs": row["needs"],
        "made": {"flash": made["flash_bytes"], "ram": made["ram_bytes"]},
        "limits": {name: row["asked"][name] for name in ("flash", "ram")},
        "files": [one["files"][0] for one in files["files"]],
        "seconds": sum(one["wall_seconds"] or 0 for one in runs.values()),
    }
    student = RunFolder(run_folder(folder.study, row["student"]))
    drawings = {
        "confusion": confusion_plot(deployed["confusion"], classes, PICTURES["confusion"]),
        "mistakes": _picture(student.pictures / "mistakes.png", PICTURES["mistakes"]),
        "curves": curves_plot(student.finished()["epochs"]),
    }
    page = _page(row, runs, figures, files, deployed)
    text = html(page, drawings, kind="Report of a fit", made="", css=CSS)
    write_atomic(folder.path / REPORT, text)
    return figures


def _changes(row: Mapping[str, Any], folder: FitFolder, split: str) -> list[Change]:
    """Return what was measured of a teacher, of time, of images and of width."""
    names = ("student", "teacher", "alone", "taught", "half")
    student, teacher, alone, taught, half = (_top1(folder, row[name], split) for name in names)
    found = []
    if alone is not None and taught is not None:
        found.append(Change(f"a teacher, {_epochs(folder, row['alone'])} epochs", alone, taught))
    short = row["taught"] or row["alone"]
    before = taught if taught is not None else alone
    if short is not None and before is not None and student is not None:
        epochs = f"{_epochs(folder, row['student'])} epochs instead of {_epochs(folder, short)}"
        found.append(Change(epochs, before, student))
    if half is not None and alone is not None:
        found.append(Change("all images instead of half, in as many steps", half, alone))
    if teacher is not None and student is not None:
        wide = RunFolder(run_folder(folder.study, row["teacher"])).finished()
        width = wide["recipe"]["model"]["width"]
        what = f"width {width:g} instead of {row['network'][0]:g}, the teacher's"
        found.append(Change(what, student, teacher))
    return found


PICTURES = {
    "confusion": "How often each class is taken for each other",
    "mistakes": "The mistakes that were made with the most confidence",
    "curves": "Loss and top-1 by epoch, on the images that are trained on",
}
# Each plot takes the room that its text needs, and no table is wider than a phone.
CSS = """\
.plots { display: flex; flex-wrap: wrap; gap: 1rem 1.5rem; }
.plots svg { flex: 1 1 calc(4rem * var(--inches)); max-width: calc(6rem * var(--inches)); }
.plot .plots svg { min-width: calc(3.5rem * var(--inches)); }
figcaption { overflow-wrap: anywhere; }
@media screen and (max-width: 40rem) {
  table { font-size: 0.8125rem; }
  th, td { padding-inline: 0.25rem; }
  td, tbody th, td.long, th.long { min-width: 0; white-space: normal; }
  tbody th { min-width: 4.25rem; overflow-wrap: anywhere; }
  tbody th a { white-space: nowrap; }
}
"""
FLOAT32 = "Of the network before its weights were made 8 bits; an image or two may differ."
CURVES = (
    "Of the network in the file, on augmented images that it is trained on (and on validation "
    "images, where there are any): not the result. Figures beside the names are of the last epoch."
)
# Shown at the end, for readers who are new to the field.
WORDS = (
    ("top-1:", "the share of images that get the right class"),
    ("epoch:", "training on each image once"),
    ("teacher:", "a wider network, whose answers the small one learns"),
    (
        "int8, float32:",
        "numbers of 8 bits, as in the file for the device, and of 32, as in training",
    ),
    ("95 % interval:", "where top-1 on very many such images would likely be"),
    ("n = 1:", "one training, and another seed may do better or worse"),
)


def _page(
    row: Mapping[str, Any],
    runs: Mapping[str, Mapping[str, Any]],
    figures: Mapping[str, Any],
    files: Mapping[str, Any],
    deployed: Mapping[str, Any],
) -> Page:
    split = "test images" if figures["split"] == "test" else "images held out of training"
    colour = "grey" if row["facts"]["channels"] == 1 else "colour"
    facts, changes = row["facts"], [Change(**one) for one in figures["changes"]]
    sections = [
        Section(
            "budget",
            "Budget",
            (
                "Flash and RAM were counted from the network's shape before it was trained, and "
                f"again from the file ({int8_file(files)['flash_counted']}).",
            ),
            (_budget(figures), _files(files)),
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
            (f"Results of model.int8.c on {figures['images']:,} {split}.",),
            (
                _classes(deployed),
                Plot("confusion", _confusion(deployed), PICTURES["confusion"]),
            ),
        ),
        Section(
            "mistakes",
            "Mistakes",
            (),
            (
                Plot(
                    "mistakes",
                    f"Enlarged images, each with the class it was given, the probability of that, "
                    f"and its label. A mistake may be made with confidence. {FLOAT32}",
                    PICTURES["mistakes"],
                ),
            ),
        ),
        Section(
            "training",
            "Training",
            (),
            (
                *([_help(changes, figures["images"])] if changes else []),
                _trainings(runs, figures["split"]),
                Plot("curves", CURVES, PICTURES["curves"]),
            ),
        ),
    ]
    return Page(
        title=f"{len(facts['classes'])} classes: {row['title']}",
        about=(),
        facts=(
            ("Training images", f"{facts['images']:,}"),
            ("Image", f"{facts['width']}x{facts['height']}, {colour}"),
            ("Network", next(r[1] for r in row["reasons"] if r[0] == "network")),
            ("Minutes asked for", f"{row['asked']['minutes']:g}"),
            ("Minutes trained", f"{figures['seconds'] / 60:.1f}"),
        ),
        findings=(
            *_accuracy(figures, facts, deployed, split),
            f"It needs {_kb(figures['made']['flash'])} of flash and {_kb(figures['made']['ram'])} "
            "of RAM, and keeps the budget. Its time on the device is not measured.",
            *_next_steps(row, changes, figures["images"], deployed),
        ),
        sections=tuple(sections),
        small=WORDS,
    )


def _accuracy(
    figures: Mapping[str, Any], facts: Mapping[str, Any], deployed: Mapping[str, Any], split: str
) -> list[str]:
    found = []
    if figures["cross_validated"] is not None:
        correct, total = figures["cross_validated"]
        low, high = wilson(correct, total)
        found.append(
            f"Cross-validated, {100 * correct / total:.1f} %: {correct:,} of {total:,} training "
            f"images are classified correctly (95 % interval {low:.1f} to {high:.1f}) by networks "
            "that were trained like this one on the others."
        )
    low, high = figures["interval"]
    found.append(
        f"The int8 C file classifies {deployed['correct']:,} of {deployed['total']:,} {split} "
        f"correctly: {deployed['top1']:.2f} % (95 % interval {low:.1f} to {high:.1f})."
    )
    before = figures["float_top1"]
    if before is not None:
        images = round((deployed["top1"] - before) / 100 * deployed["total"])
        change = f"{abs(images):,} {'more' if images > 0 else 'fewer'}" if images else "as many"
        found.append(f"In float32 the network has {before:.2f} %; in 8 bits {change} are right.")
    if facts["copies"]:
        found.append(
            f"{facts['copies']:,} of these images have nearly a copy among those trained on, so "
            "the figure is too good by up to as many."
        )
    else:
        found.append(
            "Near copies of these images were looked for among those trained on: there are none."
        )
    return found


def _next_steps(
    row: Mapping[str, Any], changes: Sequence[Change], total: int, deployed: Mapping[str, Any]
) -> list[str]:
    """Return what would help next, as far as this fit has measured it."""
    found = [
        f"Compared in one training each: {one.what} gave {one.gain:+.1f} points"
        + (
            f", which {total:,} images cannot tell from chance ({one.chance(total):.1f})."
            if abs(one.gain) <= one.chance(total)
            else "."
        )
        for one in changes
    ]
    rows = deployed["per_class"]
    for figure, words in (
        ("recall", "are recognised least"),
        ("precision", "are named wrongly most"),
    ):
        worst = sorted(rows, key=lambda one: float(one[figure]))[:2]
        worst = [one for one in worst if one[figure] < deployed["top1"] - 3]
        if worst:
            named = ", ".join(f"{one['class']} ({figure} {one[figure]:.0f} %)" for one in worst)
            found.append(f"Classes that {words}: {named}. More images of them may help.")
    if row["facts"]["least"] < 100:
        found.append(
            f"The smallest class has {row['facts']['least']} images for training; more are the "
            "surest gain."
        )
    return found


def _help(changes: Sequence[Change], total: int) -> Table:
    return table(
        "What helps",
        [Column("change", False), *map(Column, ("before, %", "after, %", "points", "chance"))],
        [
            [
                one.what,
                f"{one.before:.2f}",
                f"{one.after:.2f}",
                f"{one.gain:+.2f}",
                f"{one.chance(total):.1f}",
            ]
            for one in changes
        ],
        note=f"One training each (n = 1). Chance: points below which {total:,} images cannot tell "
        "two networks apart; seeds vary beside that.",
    )


def int8_file(files: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the description of the int8 C file among exported ``files``."""
    found: Mapping[str, Any] = next(
        one for one in files["files"] if Path(one["files"][0]).name == "model.int8.c"
    )
    return found


def on_device(figures: Mapping[str, Any], file: Path) -> str:
    """Return what a model card says of the int8 C file."""
    low, high = figures["interval"]
    return (
        f"\n## On the device\n\nThe figures above are of float32 weights. `{file.parent.name}/"
        f"{file.name}`, of 8 bits, has {figures['top1']:.2f} % on {figures['images']:,} "
        f"{figures['split']} images (95 % interval {low:.1f} to {high:.1f}). It takes "
        f"{figures['made']['flash']:,} bytes of flash and {figures['made']['ram']:,} of RAM; its "
        "comments say how to call it.\n"
    )


def _budget(figures: Mapping[str, Any]) -> Table:
    names = {"flash": "flash", "ram": "RAM"}
    rows = []
    for key, name in names.items():
        made, most = figures["made"][key], figures["limits"][key]
        limit = ("any", "-") if most is None else (_thousands(most), f"{100 * made / most:.0f}")
        rows.append([name, _thousands(figures["needs"][key]), _thousands(made), *limit])
    titles = ("expected at most, kB", "measured, kB", "allowed, kB", "used, %")
    columns = [Column("memory", False), *map(Column, titles)]
    return table("Flash and RAM", columns, rows)


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
        note="Precision: of the images that are given the class, the share that show it. Recall: "
        "of the images of the class, the share that are given it.",
    )


def _confusion(deployed: Mapping[str, Any]) -> str:
    classes = [one["class"] for one in deployed["per_class"]]
    text = (
        "Images by label (rows) and by the class that model.int8.c gives (columns); the more of "
        "its row a cell has, the stronger is its colour."
    )
    mistakes = [
        (-count, row, column)
        for row, counts in enumerate(deployed["confusion"])
        for column, count in enumerate(counts)
        if count and row != column
    ]
    if not mistakes:
        return text
    worst = [
        f"{classes[column]} instead of {classes[row]} ({-less:,})"
        for less, row, column in nsmallest(3, mistakes)
    ]
    return f"{text} Most frequent mistakes: {', '.join(worst)}."


def _files(files: Mapping[str, Any]) -> Table:
    return table(
        "Files",
        [
            Column("file", False),
            *map(Column, ("flash, kB", "RAM, kB", "same class as the network")),
        ],
        [
            [
                Path(one["files"][0]).name,
                _thousands(one["flash_bytes"]),
                "-" if one["ram_bytes"] is None else _thousands(one["ram_bytes"]),
                f"{one['agreement']:.1f} %",
            ]
            for one in files["files"]
        ],
        note="model.int8.c and its header are for the device; their comments say how to call them. "
        f"Each file was run and compared with the network on {files['pictures']} images of "
        f"{files['compared_on']}.",
        folder=FILES,
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


def _top1(folder: FitFolder, name: str | None, split: str) -> float | None:
    if name is None:
        return None
    summary = RunFolder(run_folder(folder.study, name)).finished()
    found: float | None = summary["last"].get(f"{split}_top1")
    return found


def _epochs(folder: FitFolder, name: str) -> int:
    epochs: int = RunFolder(run_folder(folder.study, name)).finished()["recipe"]["train"]["epochs"]
    return epochs


def _folds(folder: FitFolder, names: Sequence[str]) -> tuple[int, int] | None:
    """Return the right answers and the images of all folds together."""
    if not names:
        return None
    rows = [RunFolder(run_folder(folder.study, name)).finished() for name in names]
    totals = [row["data"]["validation_images"] for row in rows]
    shares = [row["last"]["validation_top1"] / 100 for row in rows]
    right = [round(share * total) for share, total in zip(shares, totals, strict=True)]
    return sum(right), sum(totals)


def _picture(path: Path, words: str) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{words}" src="data:image/png;base64,{data}">'


def _kb(size: int) -> str:
    return f"{_thousands(size)} kB"


def _thousands(size: int) -> str:
    return f"{size / 1000:,.1f}"
