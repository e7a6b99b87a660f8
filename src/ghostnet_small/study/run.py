"""One recipe from its data to its record: start, resume, finish."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ghostnet_small.data.dataset import ImageData
from ghostnet_small.data.sources import load_data
from ghostnet_small.errors import InputError
from ghostnet_small.launcher import train_command
from ghostnet_small.models.registry import check_model
from ghostnet_small.models.weights import ModelInfo
from ghostnet_small.nn.complexity import both_forms, by_quantity
from ghostnet_small.nn.fold import reparameterize
from ghostnet_small.study.folder import RunFolder
from ghostnet_small.study.network import network_of
from ghostnet_small.study.pictures import draw_confusion, draw_curves, draw_mistakes
from ghostnet_small.study.provenance import provenance
from ghostnet_small.study.recipe import Recipe, read_recipe
from ghostnet_small.train.device import keep_freed_memory, make_accelerator
from ghostnet_small.train.engine import Training
from ghostnet_small.train.evaluate import Evaluation
from ghostnet_small.train.interfaces import Watcher
from ghostnet_small.train.metrics import classification_report
from ghostnet_small.train.objective import class_weights, cross_entropy
from ghostnet_small.train.processes import ALONE, Processes

Stop = Callable[[], int | None]
_log = logging.getLogger(__name__)


def start(
    recipe: Recipe,
    out: Path,
    *,
    watcher: Watcher,
    stop_signal: Stop,
    processes: Processes = ALONE,
) -> dict[str, Any]:
    """Train ``recipe`` into the new folder ``out``; returns its summary.

    Several ``processes`` train together; the main one writes.

    Raises ``InputError`` before anything is written where recipe, data, device or folder do
    not allow it; ``Interrupted`` and ``NotFinite`` as ``Training.run`` does, and
    ``ProcessFailed`` where one of several processes fails at its work.
    """
    folder = RunFolder(out)
    with processes.agreed():
        folder.check_free()
    training, data = _prepare(recipe, folder, watcher, stop_signal, processes)
    processes.on_main(lambda: folder.create(recipe))
    return _train_to_the_end(training, data, recipe, folder, sessions=[])


def resume(
    path: Path,
    overrides: list[str],
    *,
    watcher: Watcher,
    stop_signal: Stop,
    processes: Processes = ALONE,
) -> dict[str, Any]:
    """Go on with the run in ``path``; a finished one just gives its summary.

    ``overrides`` may change where the run takes place (device, threads, the data's folder).
    Raises ``InputError`` with the differences where they would change what it computes, or
    where the data or the number of processes are no longer the same; and whatever ``start``
    raises.
    """
    with processes.agreed():
        folder = RunFolder.open(path)
        recipe = _resumed_recipe(folder, overrides)
        summary = folder.summary()
        state = None if summary is not None else folder.state(_log.warning)
        if state is not None:
            _check_processes(path, state[1], processes)
    if summary is not None:
        return summary
    fresh = state is None
    training, data = _prepare(recipe, folder, watcher, stop_signal, processes, fresh=fresh)
    sessions: list[dict[str, Any]] = []
    if state is not None:
        with processes.agreed():
            sessions = _restore(training, data, path, *state)
    return _train_to_the_end(training, data, recipe, folder, sessions)


def _check_processes(path: Path, values: dict[str, Any], processes: Processes) -> None:
    before = values.get("processes", 1)
    if before != processes.count:
        raise InputError(
            f"{path} was trained in {before} process(es), not in {processes.count}: batch norm "
            "would see other parts of each batch, and the result would be another; go on with: "
            f"{train_command(before)} --resume {shlex.quote(str(path))}"
        )


def _restore(
    training: Training,
    data: ImageData,
    path: Path,
    tensors: dict[str, torch.Tensor],
    values: dict[str, Any],
) -> list[dict[str, Any]]:
    """Make ``training`` stand where the state does; returns the sessions that led there."""
    if values.get("fingerprint") != data.fingerprint:
        raise InputError(
            f"the data are not those that {path} was trained on: fingerprint "
            f"{data.fingerprint[:12]}, then {str(values.get('fingerprint'))[:12]}; give "
            "the same data with --data.root"
        )
    try:
        training.restore(tensors, values)
        sessions: list[dict[str, Any]] = values["sessions"]
    except (RuntimeError, KeyError, IndexError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"the state in {path} is not one of this training ({reason}); copy it again, or "
            "train the recipe into a new --out"
        ) from None
    return sessions


def _resumed_recipe(folder: RunFolder, overrides: list[str]) -> Recipe:
    recipe = folder.recipe()
    asked = read_recipe(folder.path / "recipe.yaml", overrides)
    changed = recipe.changes(asked)
    if changed:
        raise InputError(
            f"--resume {folder.path} cannot change settings: {'; '.join(changed)}; leave them "
            "out, or train the changed recipe into a new --out"
        )
    return asked


def _prepare(
    recipe: Recipe,
    folder: RunFolder,
    watcher: Watcher,
    stop_signal: Stop,
    processes: Processes,
    *,
    fresh: bool = True,
) -> tuple[Training, ImageData]:
    """Everything that can refuse a recipe, before anything is written.

    ``fresh``: the training begins, and no state will replace the network's weights.
    """
    with processes.agreed():
        asked = recipe.model
        check_model(asked.name, asked.width, pretrained=asked.pretrained, upsample=asked.upsample)
        accelerator = make_accelerator(recipe.train.device, recipe.train.precision)
    if accelerator.device.type == "cpu":
        keep_freed_memory()
    processes.check_same(recipe.hash, "their recipes")
    if recipe.train.threads is not None:
        torch.set_num_threads(recipe.train.threads)
    data = processes.main_first(lambda: load_data(recipe.data))
    processes.check_same(lambda: data.fingerprint, "their data")
    if data.skipped:
        _log.warning("%d pictures are left out, such as: %s", len(data.skipped), data.skipped[0])
    folder.info = ModelInfo(data.classes, data.size, data.mean, data.std, recipe.as_dict())
    torch.manual_seed(recipe.train.seed)
    model = processes.main_first(lambda: network_of(recipe, data, fetch=fresh))
    weights = class_weights(data.train.labels, data.classes, recipe.train.class_weights)
    if weights is not None:
        weights = weights.to(accelerator.device)
    training = Training(
        model,
        data,
        objective=cross_entropy(recipe.train.label_smoothing, weights),
        augment=recipe.augment,
        optimizer=recipe.optimizer,
        schedule=recipe.schedule,
        settings=recipe.train,
        accelerator=accelerator,
        store=folder,
        watcher=watcher,
        stop_signal=stop_signal,
        processes=processes,
        for_evaluation=reparameterize,
    )
    return training, data


def _train_to_the_end(
    training: Training,
    data: ImageData,
    recipe: Recipe,
    folder: RunFolder,
    sessions: list[dict[str, Any]],
) -> dict[str, Any]:
    processes = training.processes
    origin = {**provenance(training.accelerator.device), "processes": processes.count}
    sessions = [*sessions, {"from_step": training.counters.step, "commit": origin["commit"]}]
    folder.extra = {"fingerprint": data.fingerprint, "sessions": sessions}
    with processes.together():
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
        "epochs": rows,
    }

    def write() -> None:
        folder.pictures.mkdir(exist_ok=True)
        draw_curves(rows, folder.pictures / "curves.png")
        if found is not None:
            _draw_answers(found, data, name, folder)
            folder.save_classes(per_class)
        folder.save_summary(summary)

    training.processes.on_main(write)
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
