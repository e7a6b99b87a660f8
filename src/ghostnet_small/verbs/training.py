"""Trainings that Python starts: train, distill, study."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ghostnet_small.errors import InputError
from ghostnet_small.files import expanded
from ghostnet_small.verbs.results import Fitted, Run

if TYPE_CHECKING:
    from ghostnet_small.recipe.recipe import Recipe

_log = logging.getLogger(__name__)


def train(
    recipe: str | Path | Recipe | None = None,
    *,
    out: str | os.PathLike[str],
    data: str | os.PathLike[str] | None = None,
    resume: bool = False,
    settings: Mapping[str, Any] | None = None,
    progress: bool | None = None,
    **overrides: Any,
) -> Run:
    """Train a recipe into the new folder ``out``, and return the finished run.

    Args:
        recipe: a shipped recipe's name, a YAML file or a ``Recipe``; None: the defaults.
        out: the run's folder.
        data: a ``Path`` to a data set, or a text: ``digits``, a data set of the Hugging Face hub or
            a path.
        resume: go on with the run in ``out`` if there is one; ``recipe`` may then be left out.
        settings: settings by their full key: ``{"train.epochs": 20}``.
        progress: True shows it and False does not; None: in a terminal and in a notebook.
        overrides: settings by the last part of their key: ``epochs=20``; or by full key.

    Ctrl-C saves the state and then raises ``KeyboardInterrupt``, SIGTERM ``SystemExit``; a second
    Ctrl-C does not wait. Outside of the main thread no signal is caught.

    Raises ``InputError``, before anything is written, where recipe, data, device or folder do not
    allow the training; ``NotFinite`` where the loss is not a finite number.
    """
    return _train(recipe, out, data, resume, settings, progress, overrides)


def distill(
    recipe: str | Path | Recipe | None = None,
    *,
    teachers: Sequence[str | os.PathLike[str]] | None = None,
    out: str | os.PathLike[str],
    data: str | os.PathLike[str] | None = None,
    resume: bool = False,
    settings: Mapping[str, Any] | None = None,
    progress: bool | None = None,
    **overrides: Any,
) -> Run:
    """Train a recipe as the student of ``teachers``, and return the finished run.

    ``teachers`` are runs, or weights by folder, name or ``hf-hub:owner/name``; several teach
    together. None: those that the recipe names. The other arguments are those of ``train``.

    Raises ``InputError`` where there are no teachers, and what ``train`` raises.
    """
    if isinstance(teachers, str | os.PathLike):
        raise InputError(f"teachers is {os.fspath(teachers)!r}; give a list of teachers")
    if teachers is not None:
        named = [os.fspath(teacher) for teacher in teachers]
        overrides = {"teachers": named, **overrides}
    return _train(recipe, out, data, resume, settings, progress, overrides, needs_teachers=True)


def study(
    study: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str],
    max_parallel: int | None = None,
    settings: Mapping[str, Any] | None = None,
    progress: bool | None = None,
    **overrides: Any,
) -> list[dict[str, Any]]:
    """Train every run of a study, teachers first; given again, it goes on.

    Args:
        study: a YAML file, or a shipped study's name.
        out: the study's folder, a new one or one to go on with.
        max_parallel: train so many runs at once; None: as many as pay.
        settings, progress, overrides: as ``train`` takes them, for every run.

    Returns a row for each run: its name, ``status``, ``reason`` where it is not finished, and
    figures. A run that fails stops only those that need it. Ctrl-C as in ``train``.

    Raises ``InputError``, before anything is started, where ``out`` holds another study, or a run
    cannot be trained here.
    """
    from ghostnet_small.recipe.overrides import override_words
    from ghostnet_small.recipe.shipped_recipes import find_study
    from ghostnet_small.study.local_engine import LocalEngine
    from ghostnet_small.study.planning import plan_study
    from ghostnet_small.study.runner import run_study
    from ghostnet_small.study.study_progress import StudyProgress
    from ghostnet_small.train.interrupt import stop_signals
    from ghostnet_small.train.shown_progress import quiet_console

    words, folder = override_words(settings, overrides), expanded(out)
    planned = plan_study(find_study(os.fspath(study)), words, folder)
    shown = StudyProgress(planned.jobs(folder), quiet_console(progress))
    with _stop_reaches_caller("the same call goes on"), stop_signals() as stop, shown:
        value = run_study(
            planned,
            folder,
            max_parallel=max_parallel,
            overrides=words,
            watcher=shown,
            stop_signal=stop,
            engine=LocalEngine(),
        )
    rows: list[dict[str, Any]] = value["runs"]
    return rows


def fit(
    data: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str],
    flash: int | str | None = None,
    ram: int | str | None = None,
    target: str | None = None,
    latency_ms: float | None = None,
    minutes: float = 30.0,
    formats: Sequence[str] = ("c",),
    settings: Mapping[str, Any] | None = None,
    progress: bool | None = None,
    **overrides: Any,
) -> Fitted:
    """Train, in the time that there is, the best network that a device has room for.

    Args:
        data: a path to images by class, or a data set by name, such as ``digits``.
        out: the folder, a new one, or one to go on with: what is done is not done again.
        flash, ram: the most bytes, as numbers or such as ``450kB``.
        target: a device whose flash and RAM are known, such as ``rp2040``.
        latency_ms: the most milliseconds of an inference: of instructions counted for ``target``
            at one a cycle or, without one, of time on this machine.
        minutes: the time to end within.
        formats: files to write beside the int8 C file.
        settings, progress, overrides: as ``train`` takes them, for every training.

    Ctrl-C as in ``train``.

    Raises ``InputError``, before anything is trained, where no network fits, the time is too short
    for an epoch or the data cannot be used; ``CheckFailed`` where a training failed.
    """
    from ghostnet_small.fit.device_limits import limits_of
    from ghostnet_small.fit.fit_folder import FitFolder
    from ghostnet_small.fit.fit_images import carry_out, fit_words, planned
    from ghostnet_small.fit.latency import latency_limit
    from ghostnet_small.recipe.overrides import override_words
    from ghostnet_small.study.study_progress import StudyProgress
    from ghostnet_small.train.interrupt import stop_signals
    from ghostnet_small.train.shown_progress import quiet_console
    from ghostnet_small.use.agreement import CheckFailed

    words = [*fit_words(os.fspath(data)), *override_words(settings, overrides)]
    folder = FitFolder(expanded(out))
    row = planned(
        words,
        folder,
        limits_of(flash, ram, target),
        minutes,
        latency=latency_limit(latency_ms, target),
        say=_log.warning,
    )
    console = quiet_console(progress)
    with _stop_reaches_caller("the same call goes on"), stop_signals() as stop:
        value = carry_out(
            row,
            words,
            folder,
            formats=formats,
            show=lambda jobs: StudyProgress(jobs, console),
            stop_signal=stop,
            say=_log.info,
        )
    if value.get("failed"):
        names = ", ".join(value["failed"])
        raise CheckFailed(f"{names} failed; what was said is in {folder.study / 'logs'}")
    return Fitted(folder.path, value)


def _train(
    recipe: str | Path | Recipe | None,
    out: str | os.PathLike[str],
    data: str | os.PathLike[str] | None,
    resume: bool,
    settings: Mapping[str, Any] | None,
    progress: bool | None,
    overrides: Mapping[str, Any],
    needs_teachers: bool = False,
) -> Run:
    from ghostnet_small.recipe.overrides import override_words
    from ghostnet_small.run.chosen_recipe import recipe_named, recipe_to_resume, resumes
    from ghostnet_small.run.start import train_in
    from ghostnet_small.train.processes import joined
    from ghostnet_small.train.shown_progress import shown_progress

    words, folder = override_words(settings, overrides, data=data), expanded(out)
    with joined() as processes, _stop_reaches_caller("the same call with resume=True goes on"):
        with processes.agreed():
            goes_on = resumes(folder, recipe, resume)
            if goes_on:
                found = recipe_to_resume(folder, recipe, words)
            else:
                found = recipe_named(recipe, words)
            if needs_teachers and not found.distill.teachers:
                raise InputError('distill needs teachers; give teachers=["runs/NAME", ...]')
        shown = shown_progress(found.train, progress, main=processes.is_main)
        summary = train_in(
            *(folder, found, words), resumes=goes_on, progress=shown, processes=processes
        )
    return Run(folder, summary)


@contextmanager
def _stop_reaches_caller(how_to_go_on: str) -> Iterator[None]:
    """Raise, for a signal that has stopped what runs and is saved, what Python raises for it."""
    from ghostnet_small.train.interfaces import Interrupted

    try:
        yield
    except Interrupted as error:
        if error.signal_number == signal.SIGINT:
            raise KeyboardInterrupt(f"all is saved; {how_to_go_on}") from None
        raise SystemExit(128 + error.signal_number) from None
