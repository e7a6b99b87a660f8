"""A study is run by made-up trainings: their order, failures, second tries, the counting."""

from __future__ import annotations

import fcntl
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ghostnet_small.errors import InputError
from ghostnet_small.recipe.recipe import read_recipe
from ghostnet_small.run.records import read_rows
from ghostnet_small.run.run_folder import RunFolder, is_run
from ghostnet_small.study import local_engine, scheduler
from ghostnet_small.study.local_engine import LocalEngine
from ghostnet_small.study.planning import plan_study
from ghostnet_small.study.runner import run_study
from ghostnet_small.study.scheduler import Launch
from ghostnet_small.study.study_plan import Study, read_study
from ghostnet_small.study.study_progress import StudyProgress
from ghostnet_small.study.training_job import Job
from ghostnet_small.train.interfaces import Interrupted

TEXT = """
settings: {model: {width: 0.5}, train: {epochs: 2, device: cpu}}
runs:
  student: {teachers: [teacher]}
  teacher:
students:
  seeds: [0, 1]
  strategies:
    plain:
    self: {teachers: ["plain-s{seed}"]}
"""
NAMES = ["teacher", "student", "plain-s0", "plain-s1", "self-s0", "self-s1"]


class Made:
    """A made-up training: it has its folder at once, and its end at the third look."""

    def __init__(self, folder: Path, status: int, at_work: set[str]) -> None:
        self.folder, self.status, self.at_work = folder, status, at_work
        self.looks, self.asked = 0, 0
        at_work.add(folder.name)

    def poll(self) -> int | None:
        self.looks += 1
        if self.looks < 3:
            return None
        self.at_work.discard(self.folder.name)
        if self.status == 0:
            finish(self.folder)
        return self.status

    def terminate(self) -> None:
        self.asked += 1

    def wait(self) -> int:
        return 143


def finish(folder: Path) -> None:
    values = {"last": {"test_top1": 50.0, "validation_top1": 40.0}, "wall_seconds": 6.0}
    RunFolder(folder).save_summary(
        {**values, "seed": read_recipe(folder / "recipe.yaml").train.seed}
    )


class Engine(LocalEngine):
    """Launches made-up trainings; ``statuses`` by name, one for each try, the last for all more."""

    def __init__(self, **statuses: Sequence[int]) -> None:
        self.statuses = {name.replace("_", "-"): list(given) for name, given in statuses.items()}
        self.begun: list[str] = []
        self.words: list[list[str]] = []
        self.at_work: set[str] = set()
        self.most = 0
        self.made: list[Made] = []

    @contextmanager
    def trainings(self, lock: int) -> Iterator[Launch]:
        yield self.launch

    def launch(self, job: Job, words: Sequence[str], log: Path) -> Made:
        for teacher in job.recipe.distill.teachers:
            assert RunFolder(Path(teacher)).summary() is not None
        if not is_run(job.folder):
            recipe = read_recipe(Path(words[1]))
            assert recipe == job.recipe
            RunFolder(job.folder).create(recipe)
        given = self.statuses.get(job.name, [0])
        status = given.pop(0) if len(given) > 1 else given[0]
        log.write_text(f"{job.name} says\nits last word\n")
        self.begun.append(job.name)
        self.words.append(list(words))
        made = Made(job.folder, status, self.at_work)
        self.made.append(made)
        self.most = max(self.most, len(self.at_work))
        return made


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "LOOK_SECONDS", 0)


def planned(tmp_path: Path, text: str = TEXT, *overrides: str) -> Study:
    file = tmp_path / "file.yaml"
    file.write_text(text)
    return plan_study(file, overrides, tmp_path / "out")


def run(
    study: Study,
    tmp_path: Path,
    engine: Engine,
    *overrides: str,
    together: int | None = 2,
    stop: Callable[[], int | None] = lambda: None,
) -> tuple[dict[str, Any], str]:
    out, said = tmp_path / "out", io.StringIO()
    with StudyProgress(study.jobs(out), Console(file=said, width=120)) as progress:
        value = run_study(
            study,
            out,
            max_parallel=together,
            overrides=overrides,
            watcher=progress,
            stop_signal=stop,
            engine=engine,
        )
    return value, said.getvalue()


def rows(tmp_path: Path) -> list[dict[str, Any]]:
    return read_rows(tmp_path / "out" / "results.jsonl")


@pytest.mark.parametrize("together", [1, 2, 9])
def test_teachers_are_trained_first_and_each_run_is_counted_once(
    together: int, tmp_path: Path
) -> None:
    engine = Engine()
    value, said = run(planned(tmp_path), tmp_path, engine, together=together)
    # What must wait lets others pass, so that no place is left empty.
    first = ["teacher", "plain-s0", "plain-s1"]
    assert sorted(engine.begun) == sorted(NAMES)
    assert engine.begun == NAMES if together == 1 else engine.begun[:2] == first[:2]
    assert engine.most == min(3, together)
    assert value["failed"] == value["not_started"] == []
    assert [row["name"] for row in value["runs"]] == NAMES
    assert {row["status"] for row in value["runs"]} == {"finished"}
    means = [(one["strategy"], one["width"], one["test_top1"]) for one in value["strategies"]]
    fifty = {"n": 2, "mean": 50.0, "deviation": 0.0}
    assert means == [("plain", 0.5, fifty), ("self", 0.5, fifty)]
    assert "6 of 6 runs finished" in said
    found = rows(tmp_path)
    assert [row["study"]["run"] for row in found] == NAMES
    summary = json.loads((tmp_path / "out" / "runs" / "self-s1" / "summary.json").read_text())
    del summary["digest"]
    about = dict(name="file", run="self-s1", strategy="self", width=0.5, seed=1)
    assert found[-1] == {**summary, "study": {**about, "teachers": ["plain-s1"]}}
    assert read_rows(tmp_path / "out" / "failed.jsonl") == []

    again = Engine()
    assert run(planned(tmp_path), tmp_path, again, together=together)[0] == value
    assert again.begun == [] and rows(tmp_path) == found


def test_what_fails_stops_only_those_that_need_it(tmp_path: Path) -> None:
    text = TEXT.replace("[teacher]}", "[teacher]}\n  late: {teachers: [student]}")
    engine = Engine(teacher=[2])
    value, said = run(planned(tmp_path, text), tmp_path, engine)
    assert engine.begun.count("teacher") == 1
    assert value["failed"] == ["teacher"] and value["not_started"] == ["student", "late"]
    assert [row["study"]["run"] for row in rows(tmp_path)] == NAMES[2:]
    failed = read_rows(tmp_path / "out" / "failed.jsonl")
    assert failed == [
        {
            "run": "teacher",
            "status": "failed",
            "exit_status": 2,
            "reason": "failed with status 2: its last word",
            "last_lines": ["teacher says", "its last word"],
        },
        *(
            dict(run=name, status="not started", exit_status=None, reason=reason, last_lines=[])
            for name, reason in (
                ("student", "its teacher teacher failed"),
                ("late", "its teacher student was not started"),
            )
        ),
    ]
    assert "teacher  failed with status 2:\n    teacher says\n" in said
    # The next time it goes on, and nothing of the failure is left.
    engine = Engine()
    value, _ = run(planned(tmp_path, text), tmp_path, engine)
    assert engine.begun == ["teacher", "student", "late"]
    assert engine.words[0][:2] == ["train", "--resume"] and value["failed"] == []
    assert len(rows(tmp_path)) == 7 and read_rows(tmp_path / "out" / "failed.jsonl") == []


def test_what_is_ended_from_outside_is_tried_again_from_its_state(tmp_path: Path) -> None:
    engine = Engine(teacher=[-9, 143, 0], plain_s0=[-9, 3], plain_s1=[-15])
    value, said = run(planned(tmp_path), tmp_path, engine)
    assert [engine.begun.count(name) for name in NAMES] == [3, 1, 2, 3, 0, 0]
    assert value["failed"] == ["plain-s0", "plain-s1"]
    assert value["not_started"] == ["self-s0", "self-s1"]
    tries = [words for words in engine.words if words[-1].endswith("/teacher")]
    folder = str(tmp_path / "out" / "runs" / "teacher")
    assert tries[0] == ["train", str(tmp_path / "out/recipes/teacher.yaml"), "--out", folder]
    assert tries[1] == tries[2] == ["train", "--resume", folder]
    assert "teacher  was ended by SIGKILL; it goes on from its last state\n" in said
    assert "plain-s1  was ended by SIGTERM:\n" in said


def test_a_stop_saves_what_runs_and_starts_nothing(tmp_path: Path) -> None:
    engine = Engine()

    def stop() -> int | None:
        return 2 if len(engine.begun) == 2 else None

    with pytest.raises(Interrupted) as raised:
        run(planned(tmp_path), tmp_path, engine, stop=stop)
    assert raised.value.signal_number == 2 and len(engine.begun) == 2
    assert all(made.asked == 1 for made in engine.made)
    assert rows(tmp_path) == []
    run(planned(tmp_path), tmp_path, engine)
    assert [row["study"]["run"] for row in rows(tmp_path)] == NAMES


def test_killed_between_a_summary_and_its_row_a_run_is_counted_once(tmp_path: Path) -> None:
    run(planned(tmp_path), tmp_path, Engine())
    file = tmp_path / "out" / "results.jsonl"
    whole = file.read_text()
    for left in ("", "".join(whole.splitlines(keepends=True)[:3]), whole + whole):
        file.write_text(left)
        run(planned(tmp_path), tmp_path, Engine())
        assert file.read_text() == whole


def test_where_it_goes_on_the_command_says_the_place(tmp_path: Path) -> None:
    engine = Engine(student=[2])
    run(planned(tmp_path), tmp_path, engine)
    moved = tmp_path / "elsewhere" / "out"
    moved.parent.mkdir()
    os.rename(tmp_path / "out", moved)
    overrides = ("--data.root=here", "--train.epochs=2")
    study = plan_study(tmp_path / "file.yaml", overrides, moved)
    engine = Engine()
    run(study, tmp_path / "elsewhere", engine, *overrides)
    teacher = json.dumps([str(moved / "runs" / "teacher")])
    place = "--data.root=here"
    folder = str(moved / "runs" / "student")
    assert engine.words == [["train", "--resume", folder, place, f"--distill.teachers={teacher}"]]


def test_threads_are_those_of_the_first_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for cores, statuses in ((8, {"teacher": [2]}), (2, {})):
        monkeypatch.setattr(local_engine, "available_cores", lambda cores=cores: cores)
        value, _ = run(planned(tmp_path), tmp_path, Engine(**statuses), together=None)
        # Six at once would have a thread each of eight cores; afterwards two have room.
        assert value["together"] == {8: 6, 2: 2}[cores]
        study = read_study(tmp_path / "out")
        assert study is not None
        assert {run.recipe.train.threads for run in study.runs} == {1}
    for name in NAMES:
        recipe = read_recipe(tmp_path / "out" / "runs" / name / "recipe.yaml")
        assert recipe.train.threads == 1


def test_a_study_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_engine, "available_cores", lambda: 8)
    run(planned(tmp_path), tmp_path, Engine(), together=4)
    before = {row["study"]["run"]: row for row in rows(tmp_path)}
    engine = Engine()
    # What is added has the threads of what it is compared with.
    run(planned(tmp_path, TEXT.replace("[0, 1]", "[0, 1, 2]")), tmp_path, engine, together=1)
    assert sorted(engine.begun) == ["plain-s2", "self-s2"]
    found = {row["study"]["run"]: row for row in rows(tmp_path)}
    assert list(found) == [*NAMES[:4], "plain-s2", *NAMES[4:], "self-s2"]
    assert {name: found[name] for name in NAMES} == before
    study = read_study(tmp_path / "out")
    assert study is not None and [run.name for run in study.runs] == list(found)
    assert {run.recipe.train.threads for run in study.runs} == {2}


# What is refused ------------------------------------------------------------------------------


def refused(study: Study, tmp_path: Path) -> str:
    engine = Engine()
    with pytest.raises(InputError) as raised:
        run(study, tmp_path, engine)
    assert engine.begun == []
    return str(raised.value)


def test_another_study_in_the_folder(tmp_path: Path) -> None:
    study = planned(tmp_path)
    run(study, tmp_path, Engine())
    said = refused(planned(tmp_path, TEXT.replace("epochs: 2", "epochs: 3")), tmp_path)
    assert "holds another study (teacher: train.epochs 2 -> 3; student" in said
    assert "another --out" in said
    fewer = planned(tmp_path, TEXT.replace("[0, 1]", "[0]"))
    assert "plain-s1 is in the old one only" in refused(fewer, tmp_path)
    # The place, and what a report says, are no other study.
    again = TEXT.replace("device: cpu", "device: auto, threads: 1") + "about: more words\n"
    assert run(planned(tmp_path, again), tmp_path, Engine())[0]["failed"] == []
    found = read_study(tmp_path / "out")
    assert found is not None and found.about == "more words"


def test_rows_whose_runs_are_elsewhere_are_not_lost(tmp_path: Path) -> None:
    study, out = planned(tmp_path), tmp_path / "out"
    run(study, tmp_path, Engine())
    kept = (out / "results.jsonl").read_bytes()
    shutil.move(out / "runs", tmp_path / "elsewhere")
    said = refused(study, tmp_path)
    assert f"not in {out / 'runs'} (teacher; " in said and "another --out" in said
    assert (out / "results.jsonl").read_bytes() == kept
    shutil.move(tmp_path / "elsewhere", out / "runs")
    run(study, tmp_path, Engine())
    assert (out / "results.jsonl").read_bytes() == kept


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    study, out = planned(tmp_path), tmp_path / "out"
    out.write_text("a file")
    assert "--out" in refused(study, tmp_path) and out.read_text() == "a file"
    out.unlink()
    RunFolder(out).create(study.runs[0].recipe)
    assert "one run's folder" in refused(study, tmp_path)
    (out / "recipe.yaml").rename(out / "notes.txt")
    assert "holds files, and no study" in refused(study, tmp_path)
    (out / "notes.txt").unlink()
    assert run(study, tmp_path, Engine())[0]["failed"] == []


def test_a_run_of_another_recipe_in_the_folder(tmp_path: Path) -> None:
    study = planned(tmp_path)
    run(study, tmp_path, Engine(plain_s0=[2]))
    folder = tmp_path / "out" / "runs" / "plain-s0"
    (folder / "recipe.yaml").unlink()
    folder.rmdir()
    RunFolder(folder).create(read_recipe(None, ["--train.epochs=7"]))
    said = refused(study, tmp_path)
    assert str(folder) in said and "train.epochs 7 -> 2" in said


def test_a_device_that_is_not_there(tmp_path: Path) -> None:
    said = refused(planned(tmp_path, TEXT, "--train.device=tpu"), tmp_path)
    assert "'tpu'" in said and not (tmp_path / "out").exists()


def test_a_second_one_at_once(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    handle = os.open(tmp_path / "out", os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    assert "being trained by another process" in refused(planned(tmp_path), tmp_path)
    assert list((tmp_path / "out").iterdir()) == []
    os.close(handle)
    assert run(planned(tmp_path), tmp_path, Engine())[0]["failed"] == []
