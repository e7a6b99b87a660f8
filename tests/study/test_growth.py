"""A study in a folder grows by seeds and strategies; whatever else would change it is refused."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

import ghostnet_small as gns
from ghostnet_small.cli import main
from ghostnet_small.errors import InputError
from ghostnet_small.models.ghostnetv3 import GhostNetV3
from ghostnet_small.models.settings import ModelSettings
from ghostnet_small.models.weights import ModelInfo, save_model
from ghostnet_small.recipe.recipe import Recipe
from ghostnet_small.run.initial_weights import Beginning
from ghostnet_small.run.run_folder import RunFolder
from ghostnet_small.study import scheduler
from ghostnet_small.study.growth import differences
from ghostnet_small.study.local_engine import LocalEngine, alone_in
from ghostnet_small.study.planning import plan_study
from ghostnet_small.study.runner import found_study, run_study
from ghostnet_small.study.scheduler import Launch
from ghostnet_small.study.study_plan import (
    Study,
    read_study,
    with_threads,
    with_threads_of,
    write_study,
)
from ghostnet_small.study.study_progress import StudyProgress
from ghostnet_small.study.training_job import Job, Sharing
from small_study import SETTINGS, plain_rows

OUT = Path("out")
# What is added stands before what is there.
BEGUN = (
    f"name: tiny{SETTINGS}"
    + """\
students:
  seeds: [1]
  baseline: plain
  strategies:
    plain:
    self: {teachers: ["plain-s{seed}"]}
"""
)
GROWN = BEGUN.replace("[1]", "[0, 1]").replace(
    "    plain:",
    '    kd: {teachers: ["plain-s1"], settings: {distill: {temperature: 2}}}\n    plain:',
)


class Ended:
    """A training that has come to its end."""

    def __init__(self, status: int) -> None:
        self.status = status

    def poll(self) -> int:
        return self.status

    wait = poll

    def terminate(self) -> None:
        """Nothing is left to end."""


class Here(LocalEngine):
    """Trains in this process, each run when its turn comes; ``begun`` are those."""

    def __init__(self) -> None:
        self.begun: list[str] = []

    @contextmanager
    def trainings(self, lock: int) -> Iterator[Launch]:
        yield self.launch

    def launch(self, job: Job, words: Sequence[str], log: Path) -> Ended:
        self.begun.append(job.name)
        return Ended(main(list(words)))


class Killed(Here):
    """Is killed before the first training begins."""

    @contextmanager
    def trainings(self, lock: int) -> Iterator[Launch]:
        raise KeyboardInterrupt
        yield self.launch


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(scheduler, "LOOK_SECONDS", 0)
    return tmp_path


def planned(text: str, *overrides: str) -> Study:
    Path("study.yaml").write_text(text)
    return plan_study(Path("study.yaml"), overrides, OUT)


def train(text: str, engine: Here) -> list[str]:
    """Train what is missing; the names of the runs that were begun."""
    study = planned(text)
    with StudyProgress(study.jobs(OUT), Console(quiet=True)) as progress:
        run_study(
            study,
            OUT,
            max_parallel=1,
            overrides=(),
            watcher=progress,
            stop_signal=lambda: None,
            engine=engine,
        )
    return engine.begun


def kept(text: str, *overrides: str) -> None:
    """A folder whose study was killed as soon as its plan was written."""
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    write_study(planned(text, *overrides), OUT)


def files(*names: str) -> dict[str, tuple[int, bytes]]:
    """The files of the folder, or of runs in it, with their times."""
    folders = [OUT / "runs" / name for name in names] or [OUT]
    found = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in found}


def test_a_study_that_grew_has_the_rows_of_one_planned_so(
    place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    begun, grown = (
        text[: text.index("    self")].replace("epochs: 2", "epochs: 1") for text in (BEGUN, GROWN)
    )
    grown = grown.replace("{temperature: 2}}", "{temperature: 2}}, seeds: [0]")
    assert train(begun, Here()) == ["plain-s1"]
    assert "are added" not in caplog.text
    before = files("plain-s1")
    # Killed once its plan is written, it goes on, and a second time there is nothing to add.
    with pytest.raises(KeyboardInterrupt):
        train(grown, Killed())
    assert "2 runs are added to the study in out: kd-s0; plain-s0" in caplog.messages
    assert [row["study"]["run"] for row in plain_rows(OUT / "results.jsonl")] == ["plain-s1"]
    caplog.clear()
    assert train(grown, Here()) == ["kd-s0", "plain-s0"]
    assert "are added" not in caplog.text
    assert files("plain-s1") == before
    rows, plan = plain_rows(OUT / "results.jsonl"), (OUT / "study.yaml").read_bytes()

    (place / "whole").mkdir()
    monkeypatch.chdir(place / "whole")
    assert train(grown, Here()) == ["plain-s1", "kd-s0", "plain-s0"]
    assert plain_rows(OUT / "results.jsonl") == rows
    assert [row["study"]["run"] for row in rows] == ["plain-s1", "kd-s0", "plain-s0"]
    assert (OUT / "study.yaml").read_bytes() == plan


def test_killed_while_the_plan_is_written_the_old_one_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept(BEGUN)
    old = (OUT / "study.yaml").read_bytes()
    for name in ("fsync", "replace"):
        with monkeypatch.context() as patched:

            def killed(*_: Any) -> None:
                raise KeyboardInterrupt

            patched.setattr(os, name, killed)
            with pytest.raises(KeyboardInterrupt):
                train(GROWN, Killed())
        assert (OUT / "study.yaml").read_bytes() == old
        assert read_study(OUT) == planned(BEGUN)
    for text in (BEGUN, GROWN):
        with pytest.raises(KeyboardInterrupt):
            train(text, Killed())
        assert read_study(OUT) == planned(text)
    # Now the shorter plan would lose runs.
    assert refused(BEGUN).startswith("kd-s0 is in the old one only; kd-s1 is in the old one only; ")


def test_seeds_in_another_order(caplog: pytest.LogCaptureFixture) -> None:
    kept(GROWN)
    study = planned(GROWN.replace("[0, 1]", "[1, 0]"))
    assert found_study(study, OUT) is not None and caplog.text == ""
    assert [run.name for run in study.runs] != [run.name for run in planned(GROWN).runs]


def test_a_study_that_another_process_adds_runs_to() -> None:
    kept(BEGUN)

    class Late(Killed):
        def share(self, recipes: Sequence[Recipe], max_parallel: int | None) -> Sharing:
            # Between the look at the plan and the lock.
            write_study(planned(GROWN), OUT)
            return super().share(recipes, max_parallel)

    text = BEGUN.replace("[1]", "[1, 2]")
    with pytest.raises(InputError, match="another process has changed the study in out meanwhile"):
        train(text, Late())
    assert read_study(OUT) == planned(GROWN)


def test_an_added_run_has_the_threads_of_those_that_say_none_either() -> None:
    text = "runs:\n  teacher: {settings: {train: {threads: 4}}}\n  one:\n"
    before = with_threads(planned(text), 2)
    study = with_threads_of(planned(text + "  late:\n"), before)
    threads = {run.name: run.recipe.train.threads for run in study.runs}
    assert threads == {"teacher": 4, "one": 2, "late": 2}


# What is refused ------------------------------------------------------------------------------


def refused(text: str, *overrides: str) -> str:
    """The changes that a refusal names; nothing was written."""
    before, study = files(), planned(text, *overrides)
    with pytest.raises(InputError) as raised:
        found_study(study, OUT)
    assert files() == before
    said = str(raised.value)
    begin, cure = "--out out holds another study (", "); runs may be added to a study, and none be "
    assert said.startswith(begin) and "with, or another --out" in said
    return said[len(begin) : said.index(cure)]


SEED = "plain-s0 is in the old one only; "
CHANGED: dict[str, tuple[str, str, str]] = {
    "a setting": ("epochs: 2", "epochs: 3", "plain-s1: train.epochs 2 -> 3; kd-s0: "),
    "a seed": ("[0, 1]", "[1, 2]", SEED),
    "a strategy": (
        GROWN[GROWN.index("    self") :],
        "",
        "self-s0 is in the old one only; self-s1 ",
    ),
    "its teacher": ('"plain-s{seed}"', '"plain-s0"', "self-s1: teachers plain-s1 -> plain-s0"),
    "one teacher more": (
        '["plain-s1"]',
        '["plain-s1", "plain-s0"]',
        "plain-s1 -> plain-s1, plain-s0",
    ),
    "its settings": ("temperature: 2", "temperature: 4", "kd-s0: distill.temperature 2.0 -> 4.0"),
    "the data": ("source: digits", "source: cifar10", "data.source 'digits' -> 'cifar10'"),
    "the name": ("name: tiny", "name: other", "name 'tiny' -> 'other'"),
}


@pytest.mark.parametrize("case", CHANGED)
def test_what_changes_the_old_part_is_refused(case: str) -> None:
    old, new, expected = CHANGED[case]
    assert old in GROWN
    kept(GROWN)
    # What is added makes no difference.
    assert expected in refused(GROWN.replace(old, new) + "    late:\n")


def test_settings_of_the_command_are_kept() -> None:
    kept(BEGUN, "--train.epochs=3")
    assert "plain-s1: train.epochs 3 -> 2; " in refused(GROWN)
    assert found_study(planned(GROWN, "--train.epochs=3", "--data.root=here"), OUT) is not None


def test_one_that_is_at_work() -> None:
    kept(BEGUN)
    before = files()
    with alone_in(OUT), pytest.raises(InputError, match="is being trained by another process"):
        train(GROWN, Here())
    assert files() == before


# Weights from elsewhere -----------------------------------------------------------------------

CLASSES = tuple("0123456789")


def weights(name: str, seed: int) -> str:
    """Weights in the folder ``name``; their digest, as the record of a run has it."""
    torch.manual_seed(seed)
    model = gns.create_model("ghostnetv3_small", width=0.05, in_channels=1, num_classes=10)
    assert isinstance(model, GhostNetV3)
    save_model(model, ModelInfo(CLASSES, (8, 8), (0.5,), (0.5,), {}), Path(name))
    return str(Beginning(ModelSettings(width=0.05, weights=name)).about["weights_sha256"])


FROM_ELSEWHERE = {
    "teachers": ("plain:", "plain: {teachers: [PATH]}", "plain-s1: teachers a -> b"),
    "weights": (
        "model: {width: 0.05}",
        "model: {width: 0.05, weights: PATH}",
        "plain-s1: model.weights 'a' -> 'b'; self-s1: model.weights 'a' -> 'b'",
    ),
}


@pytest.mark.parametrize("case", FROM_ELSEWHERE)
def test_weights_from_elsewhere_may_be_moved_and_not_replaced(case: str) -> None:
    old, new, expected = FROM_ELSEWHERE[case]
    digest = weights("a", 0)
    weights("b", 1)

    def text(path: str) -> str:
        return BEGUN.replace(old, new.replace("PATH", path))

    kept(text("a"))
    assert refused(text("b")) == expected
    shutil.copytree("a", "copied")
    assert differences(planned(text("a")), planned(text("copied")), OUT) == []
    # A run that has used them says which they were, once they are not there any more.
    before = planned(text("a"))
    run = RunFolder(OUT / "runs" / "plain-s1")
    run.path.parent.mkdir()
    run.create(before.runs[0].recipe, {"weights_sha256": digest} if case == "weights" else None)
    if case == "teachers":
        run.save_summary({"distill": {"teachers": [{"name": "a", "weights_sha256": digest}]}})
    Path("a").rename("moved")
    assert differences(before, planned(text("moved")), OUT) == []
    assert refused(text("b")) == expected.partition(";")[0]
