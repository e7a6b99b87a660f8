"""Terminal output of the commands; ``value`` is what ``--json`` prints."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ghostnet_small.errors import printable

if TYPE_CHECKING:
    from rich.table import Table

# Of more classes than this only the worst are shown.
MOST_CLASSES, WORST_CLASSES = 30, 10
# Where the largest class has more than so many times the images of the smallest, say what helps.
UNEQUAL = 3

WIDEST = 1 << 16  # characters of a line that is no terminal's
MOST_MESSAGES = 10  # of images that were left out
# What was found of a data set, beside its images.
ORIGIN = ("form", "image_column", "label_column", "repository", "commit")


def show_training(value: dict[str, Any]) -> None:
    """Print the end of a training: its figures, and where they lie."""
    last, run = value["last"], value["run"]
    lines = []
    for split in ("test", "validation"):
        if f"{split}_correct" in last:
            lines.append((split, _answers(last, f"{split}_") + _balanced(last, f"{split}_")))
    if value["best"]:
        best = value["best"]
        lines.append(
            ("best", f"epoch {best['epoch']}, {best['validation_top1']:.2f} % of validation")
        )
    if "best_on_test" in value:
        best = value["best_on_test"]
        lines.append(
            (
                "best on test",
                f"epoch {best['epoch']}, {best['top1']:.2f} %, chosen on the test split",
            )
        )
    if "distill" in value:
        lines += _taught(value["distill"])
    processes = value.get("processes", 1)
    together = f" in {processes} processes" if processes > 1 else ""
    lines.append(
        (
            "time",
            f"{value['wall_seconds'] / 60:.1f} min, {value['images_per_s']:,.0f} images/s on "
            f"{value['device']['name']}{together}",
        )
    )
    weights = "last/, best/" if value["best"] else "last/"
    lines.append(("run", f"{run}  (weights: {weights}; pictures/; metrics.jsonl, summary.json)"))
    lines.append(("next", f"ghostnet-small evaluate {shlex.quote(run)}"))
    print_pairs(lines)


def _taught(distill: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the lines on the teachers, their accuracy and their targets."""
    names = ", ".join(printable(teacher["name"]) for teacher in distill["teachers"])
    split = next((s for s in ("test", "validation") if f"teacher_{s}_top1" in distill), None)
    if split is not None:
        names += (
            f"  ({distill[f'teacher_{split}_top1']:.2f} % of {split}; the student answers "
            f"{distill['agreement']:.2f} % of it alike)"
        )
    targets = distill["targets"]
    return [
        ("teachers", names),
        (
            "targets",
            f"entropy {targets['entropy']:.2f} nats at T = {targets['temperature']:g}, "
            f"{100 * targets['share_above_098']:.1f} % above 0.98; right on "
            f"{targets['top1']:.2f} % of the training views",
        ),
    ]


def show_evaluation(value: dict[str, Any]) -> None:
    """Print top-1 and loss on a split, and the figures of its classes or of the worst of them."""
    if "weights" in value:
        judged = f"{'folded ' if value['folded'] else ''}{value['weights']} weights"
    else:
        judged = f"{value['precision']} {value['format']} file"
    print(f"{value['split']} {_answers(value)}, {judged}")
    if "flip_top1" in value:
        print(f"averaged with their mirror images: top-1 {value['flip_top1']:.2f} %")
    print(
        f"balanced accuracy {value['balanced_accuracy']:.2f} %, "
        f"calibration error {value['calibration_error']:.4f}"
    )
    classes = value["per_class"]
    many = len(classes) > MOST_CLASSES
    if many:
        asked = [one for one in classes if one["pictures"]]
        classes = sorted(asked, key=lambda one: one["f1"])[:WORST_CLASSES]
    table = new_table()
    table.add_column("class")
    for name in ("precision", "recall", "F1", "images"):
        table.add_column(name, justify="right")
    for one in classes:
        shares = (f"{one[name]:.2f} %" for name in ("precision", "recall", "f1"))
        table.add_row(printable(one["class"]), *shares, f"{one['pictures']:,}")
    print_table(table)
    if many:
        print(
            f"the {len(classes)} of {len(value['per_class'])} classes with the lowest F1; "
            "--json has all"
        )


def show_predictions(value: list[dict[str, Any]]) -> None:
    """Print a line for each image that could be read: its name, then the likeliest classes."""
    value = [answer for answer in value if "error" not in answer]
    width = max(len(answer["path"]) for answer in value)
    label = max(len(answer["label"]) for answer in value)
    for answer in value:
        others = ", ".join(
            f"{other['label']} {100 * other['probability']:.1f} %" for other in answer["topk"][1:]
        )
        line = (
            f"{answer['path']:{width}}  {answer['label']:{label}} "
            f"{100 * answer['probability']:5.1f} %"
        )
        print(printable(line + (f"   ({others})" if others else "")))


def show_model(value: dict[str, Any]) -> None:
    """Print parameters and MACs of both forms, by stage where they were asked for."""
    channels, height, width = value["picture"]
    table = new_table(
        title=f"{value['architecture']}, width {value['width']:g}"
        + (f", head {value['head']}" if "head" in value else "")
        + f", {value['classes']} classes, {channels} x {height} x {width} images"
        + (f", upsampled to {value['upsample']}" if "upsample" in value else ""),
    )
    table.add_column("stage" if "stages" in value else "")
    for quantity in ("parameters", "MACs"):
        for form in ("training", "deployed"):
            table.add_column(f"{quantity}\n{form}", justify="right")
    for stage, cost in value.get("stages", {}).items():
        table.add_row(stage, *_costs(cost))
    if "stages" in value:
        table.add_section()
    table.add_row("total", *_costs(value))
    print_table(table)
    if "class_names" in value:
        names = value["class_names"]
        more = "; --json has all" if len(names) > MOST_CLASSES else ""
        listed = ", ".join(map(printable, names[:MOST_CLASSES]))
        print_pairs([("classes", f"{listed} (in the order of the logits{more})")])


def show_folding(value: dict[str, Any]) -> None:
    """Print where the folded weights lie, and how they compare."""
    params = value["params"]
    print_pairs(
        [
            ("folded", f"{params['training']:,} -> {params['deployed']:,} parameters"),
            (
                "checked",
                f"relative error {value['relative_error']:.1e} (at most {value['bound']:.0e}) on "
                f"{value['pictures']} images of {value['compared_on']}",
            ),
            ("weights", value["out"]),
        ]
    )


def show_data(value: dict[str, Any]) -> None:
    """Print the images of each class by split, size and normalisation."""
    splits = list(value["images"])
    table = new_table()
    table.add_column("class")
    for split in splits:
        table.add_column(split, justify="right")
    for label, counts in value["images_by_class"].items():
        table.add_row(printable(label), *(f"{counts[split]:,}" for split in splits))
    table.add_section()
    table.add_row("all", *(f"{count:,}" for count in value["images"].values()))
    print_table(table)
    height, width = value["size"]
    pairs = [
        ("size", f"{width}x{height} pixels, {'grey' if value['channels'] == 1 else 'colour'}"),
        ("mean", _numbers(value["mean"])),
        ("std", _numbers(value["std"])),
        ("order", "the classes above are in the order of the logits"),
        ("classes", _inequality(value["imbalance"])),
        *((key.replace("_", " "), printable(value[key])) for key in ORIGIN if key in value),
        ("fingerprint", value["fingerprint"]),
    ]
    if value["skipped"]:
        out = len(value["skipped"])
        listed = out + sum(value["images"].values())
        pairs.append(("left out", f"{out:,} of {listed:,} images (all are in --json):"))
        pairs += [("", message) for message in value["skipped"][:MOST_MESSAGES]]
    if value["cache"]["folders"]:
        root = Path(value["cache"]["folders"][0]).parent
        pairs.append(("cache", f"{value['cache']['bytes'] / 2**20:,.1f} MiB in {root}"))
    if "saved" in value:
        pairs.append(("saved", f"{len(value['saved'])} images, such as {value['saved'][0]}"))
    if "views" in value:
        pairs.append(("views", value["views"]))
    print_pairs(pairs)


def _answers(value: dict[str, Any], prefix: str = "") -> str:
    correct, total = value[f"{prefix}correct"], value[f"{prefix}total"]
    return (
        f"top-1 {value[f'{prefix}top1']:.2f} % ({correct:,} of {total:,}), "
        f"loss {value[f'{prefix}loss']:.4f}"
    )


def _inequality(ratio: float) -> str:
    if ratio == 1:
        return "equally many training images in all"
    hint = "; train.class_weights or train.sampler balanced evens that out"
    return (
        f"the largest has {ratio:.1f} times the training images of the smallest"
        f"{hint if ratio > UNEQUAL else ''}"
    )


def _balanced(value: dict[str, Any], prefix: str) -> str:
    """Return balanced accuracy where it adds to top-1."""
    balanced = value.get(f"{prefix}balanced_accuracy")
    if balanced is None or abs(balanced - value[f"{prefix}top1"]) < 0.005:
        return ""
    return f", balanced accuracy {balanced:.2f} %"


def _costs(value: dict[str, Any]) -> list[str]:
    return [
        f"{value[quantity][form]:,}"
        for quantity in ("params", "macs")
        for form in ("training", "deployed")
    ]


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.4f}" for value in values)


def new_table(
    title: str | None = None, *, padding: tuple[int, int, int, int] = (0, 1, 0, 1)
) -> Table:
    """An empty table, ``padding`` in characters above, right of, below and left of a cell."""
    # Here and below: a command's --help does not need rich.
    from rich import box
    from rich.table import Table

    return Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=padding)


def print_table(table: Table) -> None:
    """Print a table without cutting its texts.

    On a terminal, one that is too long for its column goes on below; in a pipe or a file a line
    is as long as it has to be.
    """
    from rich.console import Console

    for column in table.columns:
        column.overflow = "fold"
    width = None if sys.stdout.isatty() else WIDEST
    Console(width=width).print(table, highlight=False, markup=False)


def print_pairs(pairs: Sequence[tuple[str, str]]) -> None:
    """Name and text of each, the texts in one column."""
    width = max(len(name) for name, _ in pairs)
    for name, text in pairs:
        print(f"{name:{width}}  {text}")
