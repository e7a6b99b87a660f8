"""One recipe from its data to its record: start, resume, finish."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch

from ghostnet_small.data.dataset import ImageData
from ghostnet_small.data.sources import load_data
from ghostnet_small.errors import InputError
from ghostnet_small.launcher import train_command
from ghostnet_small.models.pretrained import mean_std
from ghostnet_small.models.registry import check_settings
from ghostnet_small.models.teachers import teacher_of
from ghostnet_small.models.weights import ModelInfo
from ghostnet_small.provenance import provenance
from ghostnet_small.recipe.paths import placed, read_places
from ghostnet_small.recipe.recipe import Recipe, flatten, read_recipe
from ghostnet_small.run.build_network import network_of
from ghostnet_small.run.build_training import Prepared, put_together
from ghostnet_small.run.finish import finish
from ghostnet_small.run.initial_weights import Beginning, about_pretrained
from ghostnet_small.run.run_folder import RunFolder
from ghostnet_small.train.device import keep_freed_memory, make_accelerator
from ghostnet_small.train.interfaces import Watcher
from ghostnet_small.train.interrupt import stop_signals
from ghostnet_small.train.loggers import Logged, check_loggers
from ghostnet_small.train.processes import ALONE, Processes
from ghostnet_small.train.progress import TrainingProgress
from ghostnet_small.train.shown_progress import NotebookProgress

Stop = Callable[[], int | None]
_log = logging.getLogger(__name__)


def train_in(
    folder: Path,
    recipe: Recipe,
    overrides: Sequence[str],
    *,
    resumes: bool,
    progress: TrainingProgress | NotebookProgress,
    processes: Processes,
    patience: float = 0.0,
) -> dict[str, Any]:
    """Train ``recipe`` into the new ``folder``, or go on with the run there; returns its summary.

    Outside of the main thread no signal is caught. ``overrides`` and ``patience`` are of a run that
    is resumed. Raises what ``start`` and ``resume`` raise.
    """
    with stop_signals() as stop, progress:
        if resumes:
            return resume(
                *(folder, list(overrides)),
                watcher=progress,
                stop_signal=stop,
                processes=processes,
                patience=patience,
            )
        return start(recipe, folder, watcher=progress, stop_signal=stop, processes=processes)


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
    prepared = _prepare(recipe, folder, watcher, stop_signal, processes)
    with closing(folder):
        processes.on_main(lambda: folder.create(recipe, prepared.beginning))
        processes.on_main(folder.lock)
        return _train_to_the_end(prepared, recipe, folder, sessions=[])


def resume(
    path: Path,
    overrides: list[str],
    *,
    watcher: Watcher,
    stop_signal: Stop,
    processes: Processes = ALONE,
    patience: float = 0.0,
) -> dict[str, Any]:
    """Go on with the run in ``path``; a finished one just gives its summary.

    ``overrides`` may change where the run takes place (device, threads, the data's folder).
    Another process that trains there is given ``patience`` seconds to end.
    Raises ``InputError`` with the differences where they would change what it computes, or
    where the data or the number of processes are no longer the same; and whatever ``start``
    raises.
    """
    with processes.agreed():
        folder = RunFolder.open(path)
    with closing(folder):
        processes.on_main(lambda: folder.lock(patience))
        with processes.agreed():
            recipe = _resumed_recipe(folder, overrides)
            summary = folder.summary()
            state = None if summary is not None else folder.state(_log.warning)
            if state is not None:
                _check_processes(path, state[1], processes)
        if summary is not None:
            return summary
        fresh = state is None
        with processes.agreed():
            there = placed(recipe, read_places(path), overrides=overrides, say=_log.warning)
        prepared = _prepare(
            recipe, folder, watcher, stop_signal, processes, fresh=fresh, there=there
        )
        with processes.agreed():
            prepared = _same_beginning(prepared, folder)
        sessions: list[dict[str, Any]] = []
        if state is not None:
            with processes.agreed():
                sessions = _restore(prepared, path, *state)
        processes.on_main(lambda: folder.keep_places(recipe, overrides))
        return _train_to_the_end(prepared, recipe, folder, sessions)


def _same_beginning(prepared: Prepared, folder: RunFolder) -> Prepared:
    """``prepared`` with the weights that the run was started from, which a state replaces.

    Raises ``InputError`` where others were read now.
    """
    before, now = folder.beginning(), prepared.beginning
    if now is not None:
        was, is_now = (about and about["weights_sha256"] for about in (before, now))
        if was != is_now:
            raise InputError(
                f"model.weights are not those that {folder.path} was started from: they are "
                f"{str(is_now)[:12]}, then {str(was)[:12]}; give the same weights with "
                "--model.weights, or train the recipe into a new --out"
            )
    return replace(prepared, beginning=before)


def _check_processes(path: Path, values: dict[str, Any], processes: Processes) -> None:
    before = values.get("processes", 1)
    if before != processes.count:
        raise InputError(
            f"{path} was trained in {before} process(es), not in {processes.count}: batch norm "
            "would see other parts of each batch, and the result would be another; go on with: "
            f"{train_command(before)} --resume {shlex.quote(str(path))}"
        )


def _restore(
    prepared: Prepared,
    path: Path,
    tensors: dict[str, torch.Tensor],
    values: dict[str, Any],
) -> list[dict[str, Any]]:
    """Restore a training from its state; returns the sessions that led there."""
    training, data = prepared.training, prepared.data
    before = values.get("teachers", [])
    for number, (was, now) in enumerate(zip_longest(before, prepared.teachers), start=1):
        if was != now:
            raise InputError(
                f"teacher {number} is not the one that {path} learned from: its weights are "
                f"{str(now)[:12]}, then {str(was)[:12]}; give the same teachers with "
                "--distill.teachers, or train the recipe into a new --out"
            )
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
    there: Recipe | None = None,
) -> Prepared:
    """Build the training, with every check that can refuse a recipe, before anything is written.

    ``fresh``: the training begins, and no state will replace the network's weights. ``there``: the
    recipe with paths that lead from here to what it was started with; records keep its own.
    """
    there = there or recipe
    with processes.agreed():
        check_settings(recipe.model)
        _check_frozen(recipe)
        check_loggers(recipe.train.log)
        beginning = None
        if fresh and recipe.model.weights is not None:
            beginning = Beginning(there.model)
        accelerator = make_accelerator(recipe.train.device, recipe.train.precision)
    if accelerator.device.type == "cpu":
        keep_freed_memory()
    processes.check_same(recipe.hash, "their recipes")
    if beginning is not None:
        digest = beginning.about["weights_sha256"]
        processes.check_same(lambda: digest, "their model.weights")
    if recipe.train.threads is not None:
        torch.set_num_threads(recipe.train.threads)
    data = processes.main_first(lambda: load_data(there.data))
    processes.check_same(lambda: data.fingerprint, "their data")
    if data.left_out is not None:
        _log.warning(data.left_out)
    if recipe.model.pretrained:
        with processes.agreed():
            data = _as_pretrained(recipe, data)
    folder.info = ModelInfo(
        *(data.classes, data.size, data.mean, data.std),
        recipe=recipe.as_dict(),
        fingerprints=data.fingerprints,
    )
    torch.manual_seed(recipe.train.seed)
    model = processes.main_first(lambda: network_of(there, data, fetch=fresh, beginning=beginning))
    prepared = put_together(
        there,
        data,
        model,
        accelerator,
        store=folder,
        watcher=watcher,
        stop_signal=stop_signal,
        processes=processes,
    )
    if fresh and recipe.model.pretrained:
        return replace(prepared, beginning=about_pretrained(recipe.model, model))
    return prepared if beginning is None else replace(prepared, beginning=beginning.about)


def _check_frozen(recipe: Recipe) -> None:
    """Raises ``InputError`` where layers would be frozen that nothing has trained."""
    asked = recipe.model
    if recipe.optimizer.backbone_rate != 0 or asked.weights is not None:
        return
    what = "optimizer.backbone_rate 0 would freeze"
    if not asked.pretrained:
        raise InputError(
            f"{what} layers that nothing has trained; give model.pretrained or model.weights, or a "
            "backbone_rate above 0"
        )
    if asked.upsample is None and teacher_of(asked.name).fit is not None:
        raise InputError(
            f"{what} the stem of {asked.name} for tiny images, which starts afresh; give "
            "model.upsample, or a backbone_rate above 0"
        )


def _as_pretrained(recipe: Recipe, data: ImageData) -> ImageData:
    """``data`` with the normalisation that the pretrained weights are used to, unless the recipe
    gives another."""
    mean, std = recipe.data.mean, recipe.data.std
    if mean is None or std is None:
        usual = mean_std(teacher_of(recipe.model.name), data.channels)
        mean, std = usual[0] if mean is None else mean, usual[1] if std is None else std
    return replace(data, mean=mean, std=std)


def _train_to_the_end(
    prepared: Prepared,
    recipe: Recipe,
    folder: RunFolder,
    sessions: list[dict[str, Any]],
) -> dict[str, Any]:
    training, data = prepared.training, prepared.data
    processes = training.processes
    origin = {**provenance(training.accelerator.device), "processes": processes.count}
    sessions = [*sessions, {"from_step": training.counters.step, "commit": origin["commit"]}]
    folder.extra = {"fingerprint": data.fingerprint, "sessions": sessions}
    if prepared.teachers:
        folder.extra["teachers"] = prepared.teachers
    if prepared.beginning is not None:
        folder.extra["beginning"] = prepared.beginning
    logs = Logged(training.watcher, recipe.train.log if processes.is_main else ())
    training.watcher = logs
    with processes.together(), logs.opened(folder.path, flatten(recipe.as_dict())):
        prepared.fill_targets()
        training.run()
        summary = finish(prepared, recipe, folder, origin)
        logs.end(summary)
        return summary
