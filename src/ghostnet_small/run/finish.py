"""The end of a run: its test, its plots, its summary."""

from __future__ import annotations

from typing import Any

import matplotlib

from ghostnet_small.data.dataset import ImageData, Split
from ghostnet_small.files import inner_folder
from ghostnet_small.nn.complexity import both_forms, by_quantity
from ghostnet_small.recipe.recipe import Recipe
from ghostnet_small.run.build_training import Prepared
from ghostnet_small.run.run_folder import RunFolder
from ghostnet_small.run.run_plots import draw_confusion, draw_curves, draw_mistakes
from ghostnet_small.train.evaluate import Evaluation, with_mirror
from ghostnet_small.train.metrics import classification_report, confusion


def finish(
    prepared: Prepared,
    recipe: Recipe,
    folder: RunFolder,
    origin: dict[str, Any],
) -> dict[str, Any]:
    """Read the test split once, draw the plots, and write and return the summary."""
    training, data = prepared.training, prepared.data
    rows = training.counters.rows
    name = "test" if data.test is not None else "validation"
    last: dict[str, Any] = {
        k: rows[-1][k] for k in ("validation_loss", "validation_top1") if k in rows[-1]
    }
    found = None
    if data.test is not None or data.validation is not None:
        found = training.evaluate(data.split(name))
        last |= {
            f"{name}_top1": found.top1,
            f"{name}_loss": found.loss,
            f"{name}_correct": found.correct,
            f"{name}_total": found.total,
        }
        report = classification_report(found.logits, data.split(name).labels.cpu(), data.classes)
        per_class = report.pop("per_class")
        last |= {f"{name}_{quantity}": value for quantity, value in report.items()}
        if recipe.augment.flip != "none":
            last[f"{name}_flip_top1"] = _flip_averaged(prepared, found, data.split(name))
    forms = both_forms(training.model, (data.channels, *data.size))
    pictures = sum(row["images_per_s"] * row["seconds"] for row in rows)
    summary = {
        "recipe": recipe.as_dict(),
        "recipe_hash": recipe.hash(),
        "seed": recipe.train.seed,
        **origin,
        "sessions": folder.extra["sessions"],
        "data": {
            **data.origin,
            "fingerprint": data.fingerprint,
            "classes": list(data.classes),
            "skipped": list(data.skipped),
            **{
                f"{split}_images": 0 if found is None else len(found)
                for split, found in (
                    ("train", data.train),
                    ("validation", data.validation),
                    ("test", data.test),
                )
            },
        },
        "wall_seconds": training.counters.wall_seconds,
        "images_per_s": pictures / sum(row["seconds"] for row in rows),
        "model": by_quantity({form: stages["total"] for form, stages in forms.items()}),
        "last": last,
        "best": training.counters.best,
        **_best_on_test(rows),
        **({} if prepared.beginning is None else {"beginning": prepared.beginning}),
        **_about_teaching(prepared, found, name),
        "epochs": rows,
    }

    def write() -> None:
        inner_folder(folder.pictures)
        # Not by the matplotlibrc of whatever folder this is.
        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            draw_curves(rows, folder.pictures / "curves.png")
            if found is not None:
                _draw_answers(found, data, name, folder)
        if found is not None:
            folder.save_classes(per_class)
        folder.save_summary(summary)

    training.processes.on_main(write)
    return summary


def _flip_averaged(prepared: Prepared, found: Evaluation, split: Split) -> float:
    """Top-1 in % of ``found`` averaged with the answers to mirror images, for networks that saw
    mirror images in training.
    """
    mirrored = prepared.training.evaluate(split, mirrored=True)
    return with_mirror(found.logits, mirrored.logits, split.labels.cpu()).top1


def _about_teaching(prepared: Prepared, found: Evaluation | None, split: str) -> dict[str, Any]:
    if prepared.teaching is None:
        return {}
    shown = None if found is None else prepared.data.split(split)
    return {"distill": prepared.teaching.about(prepared.training, found, shown)}


def _best_on_test(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the paper's figure: the best test accuracy of all epochs, chosen on the test split."""
    if "test_top1" not in rows[-1]:
        return {}
    best = max(rows, key=lambda row: row["test_top1"])
    return {"best_on_test": {"epoch": best["epoch"], "top1": best["test_top1"]}}


def _draw_answers(found: Evaluation, data: ImageData, name: str, folder: RunFolder) -> None:
    split = data.split(name)
    labels = split.labels.cpu()
    confidence, predictions = found.logits.softmax(1).max(1)
    path = folder.pictures
    draw_confusion(confusion(found.logits, labels), data.classes, path / "confusion.png")
    draw_mistakes(
        split.images, labels, predictions, confidence, data.classes, path / "mistakes.png"
    )
