"""One recipe from its data to its record: start, resume, finish."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ghostnet_small.data.dataset import ImageData
from ghostnet_small.data.sources import load_data
from ghostnet_small.errors import InputError
from ghostnet_small.models.registry import check_model, create_model
from ghostnet_small.models.weights import ModelInfo
from ghostnet_small.nn.complexity import both_forms, by_quantity
from ghostnet_small.nn.merged import set_rep_conv
from ghostnet_small.study.folder import RunFolder
from ghostnet_small.study.pictures import draw_confusion, draw_curves, draw_mistakes
from ghostnet_small.study.provenance import provenance
from ghostnet_small.study.recipe import PLACE, Recipe, flatten, read_recipe
from ghostnet_small.train.device import make_accelerator
from ghostnet_small.train.engine import Training
from ghostnet_small.train.evaluate import Evaluation
from ghostnet_small.train.interfaces import Watcher
from ghostnet_small.train.objective import cross_entropy

Stop = Callable[[], int | None]


def start(recipe: Recipe, out: Path, *, watcher: Watcher, stop_signal: Stop) -> dict[str, Any]:
    """Train ``recipe`` into the new folder ``out``; returns its summary.

    Raises ``InputError`` before anything is written where recipe, data, device or folder do
    not allow it; ``Interrupted`` and ``NotFinite`` as ``Training.run`` does.
    """
    folder = RunFolder(out)
    folder.check_free()
    training, data = _prepare(recipe, folder, watcher, stop_signal)
    folder.create(recipe)
    return _train_to_the_end(training, data, recipe, folder, sessions=[])


def resume(
    path: Path, overrides: list[str], *, watcher: Watcher, stop_signal: Stop
) -> dict[str, Any]:
    """Go on with the run in ``path``; a finished one just gives its summary.

    ``overrides`` may change where the run takes place (device, threads, the data's folder).
    Raises ``InputError`` with the differences where they would change what it computes, or
    where the data are no longer the same; and whatever ``start`` raises.
    """
    folder = RunFolder.open(path)
    recipe = _resumed_recipe(folder, overrides)
    summary = folder.summary()
    if summary is not None:
        return summary
    state = folder.state()
    training, data = _prepare(recipe, folder, watcher, stop_signal)
    sessions: list[dict[str, Any]] = []
    if state is not None:
        tensors, values = state
        if values.get("fingerprint") != data.fingerprint:
            raise InputError(
                f"the data are not those that {path} was trained on: fingerprint "
                f"{data.fingerprint[:12]}, then {str(values.get('fingerprint'))[:12]}; give "
                "the same data with --data.root"
            )
        try:
            training.restore(tensors, values)
            sessions = values["sessions"]
        except (RuntimeError, KeyError, IndexError, TypeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(
                f"the state in {path} is not one of this training ({reason}); copy it again, or "
                "train the recipe into a new --out"
            ) from None
    return _train_to_the_end(training, data, recipe, folder, sessions)


def _resumed_recipe(folder: RunFolder, overrides: list[str]) -> Recipe:
    recipe = folder.recipe()
    asked = read_recipe(folder.path / "recipe.yaml", overrides)
    was, now = flatten(recipe), flatten(asked)
    changed = [
        f"{key} {was[key]!r} -> {now[key]!r}"
        for key in was
        if was[key] != now[key] and key not in PLACE
    ]
    if changed:
        raise InputError(
            f"--resume {folder.path} cannot change settings: {'; '.join(changed)}; leave them "
            "out, or train the changed recipe into a new --out"
        )
    return asked


def _prepare(
    recipe: Recipe, folder: RunFolder, watcher: Watcher, stop_signal: Stop
) -> tuple[Training, ImageData]:
    """Everything that can refuse a recipe, before anything is written."""
    check_model(recipe.model.name, recipe.model.width)
    accelerator = make_accelerator(recipe.train.device, recipe.train.precision)
    if recipe.train.threads is not None:
        torch.set_num_threads(recipe.train.threads)
    data = load_data(recipe.data)
    folder.info = ModelInfo(data.classes, data.size, data.mean, data.std, recipe.as_dict())
    torch.manual_seed(recipe.train.seed)
    model = create_model(
        recipe.model.name,
        width=recipe.model.width,
        num_classes=len(data.classes),
        in_channels=data.channels,
    )
    set_rep_conv(model, recipe.model.rep_conv)
    training = Training(
        model,
        data,
        objective=cross_entropy(recipe.train.label_smoothing),
        augment=recipe.augment,
        optimizer=recipe.optimizer,
        schedule=recipe.schedule,
        settings=recipe.train,
        accelerator=accelerator,
        store=folder,
        watcher=watcher,
        stop_signal=stop_signal,
    )
    return training, data


def _train_to_the_end(
    training: Training,
    data: ImageData,
    recipe: Recipe,
    folder: RunFolder,
    sessions: list[dict[str, Any]],
) -> dict[str, Any]:
    origin = provenance(training.accelerator.device)
    sessions = [*sessions, {"from_step": training.counters.step, "commit": origin["commit"]}]
    folder.extra = {"fingerprint": data.fingerprint, "sessions": sessions}
    training.run()
    return _finish(training, data, recipe, folder, origin)


def _finish(
    training: Training,
    data: ImageData,
    recipe: Recipe,
    folder: RunFolder,
    origin: dict[str, Any],
) -> dict[str, Any]:
    """Read the test split once, draw the pictures, write the summary."""
    rows = training.counters.rows
    name = "test" if data.test is not None else "validation"
    last: dict[str, Any] = {
        k: rows[-1][k] for k in ("validation_loss", "validation_top1") if k in rows[-1]
    }
    folder.pictures.mkdir(exist_ok=True)
    draw_curves(rows, folder.pictures / "curves.png")
    if data.test is not None or data.validation is not None:
        found = training.evaluate(data.split(name))
        last |= {
            f"{name}_top1": found.top1,
            f"{name}_loss": found.loss,
            f"{name}_correct": found.correct,
            f"{name}_total": found.total,
        }
        _draw_answers(found, data, name, folder)
    forms = both_forms(training.model, (data.channels, *data.size))
    pictures = sum(row["images_per_s"] * row["seconds"] for row in rows)
    summary = {
        "recipe": recipe.as_dict(),
        "recipe_hash": recipe.hash(),
        "seed": recipe.train.seed,
        **origin,
        "sessions": folder.extra["sessions"],
        "data": {
            "fingerprint": data.fingerprint,
            "classes": list(data.classes),
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
        "epochs": rows,
    }
    folder.save_summary(summary)
    return summary


def _best_on_test(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The paper's figure: the best of all epochs' test accuracies, chosen on the test split."""
    if "test_top1" not in rows[-1]:
        return {}
    best = max(rows, key=lambda row: row["test_top1"])
    return {"best_on_test": {"epoch": best["epoch"], "top1": best["test_top1"]}}


def _draw_answers(found: Evaluation, data: ImageData, name: str, folder: RunFolder) -> None:
    split = data.split(name)
    labels = split.labels.cpu()
    confidence, predictions = found.logits.softmax(1).max(1)
    count = len(data.classes)
    matrix = torch.bincount(labels * count + predictions, minlength=count**2).view(count, count)
    path = folder.pictures
    draw_confusion(matrix, data.classes, path / "confusion.png")
    draw_mistakes(
        split.images, labels, predictions, confidence, data.classes, path / "mistakes.png"
    )
