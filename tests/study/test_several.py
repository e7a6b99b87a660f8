"""The plan of several runs, and the processes that carry it out, here made-up ones."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ghostnet_small.errors import InputError
from ghostnet_small.files import write_atomic
from ghostnet_small.recipe.recipe import read_recipe
from ghostnet_small.run.run_folder import RunFolder
from ghostnet_small.study import scheduler
from ghostnet_small.study.local_engine import LocalEngine
from ghostnet_small.study.planning import plan_variants
from ghostnet_small.study.runner import found_study, outcome, run_study
from ghostnet_small.study.scheduler import Launch, ending, run_jobs
from ghostnet_small.study.study_plan import Study
from ghostnet_small.study.study_progress import StudyProgress
from ghostnet_small.study.training_job import Job, Sharing, share, states
from ghostnet_small.train.interfaces import Interrupted

EPOCHS = "--train.epochs=2"


def planned(seeds: Sequence[int] = (0, 1, 2), *overrides: str) -> Study:
    return plan_variants(None, [EPOCHS, *overrides], seeds=seeds, widths=None)


def made(out: Path, seeds: Sequence[int] = (0, 1, 2), *overrides: str) -> list[Job]:
    return planned(seeds, *overrides).jobs(out)


def finish(job: Job, top1: float = 50.0) -> None:
    """Make the folder of a run that came to its end."""
    folder = RunFolder(job.folder)
    folder.create(job.recipe)
    last = {"validation_top1": top1, "test_top1": top1 + 1}
    folder.save_summary({"last": last, "wall_seconds": 60.0})


@pytest.mark.parametrize("name", ["logs", "recipes", "s0", "logs/s0.log"])
def test_links_in_a_strangers_folder_are_refused(name: str, tmp_path: Path) -> None:
    mine, out = tmp_path / "mine", tmp_path / "out"
    made_run = Job("s0", mine, made(mine, [0])[0].recipe)
    finish(made_run)
    (mine / "notes").write_text("old")
    (out / name).parent.mkdir(parents=True)
    (out / name).symlink_to(mine / "notes" if name.endswith("log") else mine)
    before = {file: file.stat().st_mtime_ns for file in mine.rglob("*")}
    with pytest.raises(InputError, match=f"{name} is a link to {mine}"):
        train(planned([0, 1]), out)
    assert {file: file.stat().st_mtime_ns for file in mine.rglob("*")} == before


# The plan ------------------------------------------------------------------------------------


def test_a_job_for_each_width_and_seed(tmp_path: Path) -> None:
    study = plan_variants(None, [EPOCHS], seeds=[0, 7], widths=[0.5, 1.0])
    jobs = study.jobs(tmp_path)
    assert [job.name for job in jobs] == ["w0.5-s0", "w0.5-s7", "w1.0-s0", "w1.0-s7"]
    assert [job.folder for job in jobs] == [tmp_path / job.name for job in jobs]
    recipes = [job.recipe for job in jobs]
    assert [(r.model.width, r.train.seed) for r in recipes] == [
        (0.5, 0),
        (0.5, 7),
        (1.0, 0),
        (1.0, 7),
    ]
    assert {r.train.epochs for r in recipes} == {2}


def test_a_name_has_parts_for_what_was_asked_for(tmp_path: Path) -> None:
    assert [job.name for job in made(tmp_path)] == ["s0", "s1", "s2"]
    study = plan_variants(None, [], seeds=None, widths=[1])
    assert [run.name for run in study.runs] == ["w1"]


BAD_VALUES = {
    "seed twice": (dict(seeds=[1, 2, 1], widths=None), [], "--seeds gives 1 twice"),
    "width twice": (dict(seeds=None, widths=[0.5, 0.50]), [], "--widths gives 0.5 twice"),
    "seed too large": (dict(seeds=[2**63], widths=None), [], "seed 9223372036854775808"),
    "seed also set": (dict(seeds=[1], widths=None), ["--train.seed=1"], "--seeds"),
    "width also set": (dict(seeds=None, widths=[1.0]), ["--model.width=1"], "--widths"),
}


@pytest.mark.parametrize("case", BAD_VALUES)
def test_values_that_cannot_be(case: str) -> None:
    values, overrides, said = BAD_VALUES[case]
    with pytest.raises(InputError, match=said):
        plan_variants(None, overrides, **values)


def test_finished_stopped_and_missing_runs_are_told_apart(tmp_path: Path) -> None:
    jobs = made(tmp_path)
    finish(jobs[0])
    RunFolder(jobs[1].folder).create(jobs[1].recipe)
    assert list(states(jobs).values()) == ["finished", "stopped", "missing"]


def test_where_a_run_takes_place_makes_no_other_recipe(tmp_path: Path) -> None:
    (job,) = made(tmp_path, [0])
    RunFolder(job.folder).create(read_recipe(None, [EPOCHS, "--train.threads=3"]))
    assert list(states(made(tmp_path, [0], "--train.device=cpu")).values()) == ["stopped"]


@pytest.mark.parametrize("finished", [False, True])
def test_a_run_of_another_recipe_is_refused(tmp_path: Path, finished: bool) -> None:
    (job,) = made(tmp_path, [1], "--train.batch_size=64")
    if finished:
        finish(job)
    else:
        RunFolder(job.folder).create(job.recipe)
    with pytest.raises(InputError, match=r"s1.*train.batch_size 64 -> 128.*another --out"):
        states(made(tmp_path))


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s1").mkdir()
    with pytest.raises(InputError, match="s1 exists"):
        states(made(tmp_path))


def test_the_folder_of_several_runs_is_not_that_of_one(tmp_path: Path) -> None:
    (job,) = made(tmp_path, [0])
    finish(job)
    assert found_study(planned(), tmp_path) is None
    assert found_study(planned(), tmp_path / "new" / "runs") is None
    with pytest.raises(InputError, match=r"one run's folder; .* leave out --seeds and --widths"):
        found_study(planned(), job.folder)
    with pytest.raises(InputError, match="give another"):
        found_study(planned(), job.folder / "recipe.yaml")


SHARES = {
    # on a CPU, cores, runs, --together, the recipe's threads: at once, threads of each
    "a core each": ((True, 2, 2, None, None), (2, 1)),
    "more runs than cores": ((True, 2, 5, None, None), (2, 1)),
    "more cores than runs": ((True, 16, 3, None, None), (3, 5)),
    "threads given": ((True, 16, 8, None, 4), (4, 4)),
    "more threads than cores": ((True, 2, 3, None, 4), (1, 4)),
    "asked for": ((True, 8, 3, 2, None), (2, 4)),
    "more than cores": ((True, 2, 9, 4, None), (4, 1)),
    "more than runs": ((True, 8, 2, 4, None), (2, 4)),
    "one run": ((True, 8, 1, None, None), (1, 8)),
    "a GPU": ((False, 16, 8, None, None), (2, None)),
    "a GPU, one run": ((False, 16, 1, None, None), (1, None)),
    "a GPU, asked for": ((False, 16, 8, 6, 2), (6, 2)),
}


@pytest.mark.parametrize("case", SHARES)
def test_how_runs_share_a_machine(case: str) -> None:
    (on_cpu, cores, runs, together, threads), expected = SHARES[case]
    words = [] if threads is None else [f"--train.threads={threads}"]
    recipe = read_recipe(None, words)
    found = share(recipe, runs, together=together, on_cpu=on_cpu, cores=cores)
    assert found == Sharing(*expected)


def test_means_and_deviations_of_each_width(tmp_path: Path) -> None:
    study = plan_variants(None, [], seeds=[0, 1], widths=[0.5, 1.0])
    for job, top1 in zip(study.jobs(tmp_path), (50.0, 54.0, 70.0, 0.0), strict=True):
        if top1:
            finish(job, top1)
    failed = {"w1.0-s1": {"status": "failed", "exit_status": 2}}
    value = outcome(study, tmp_path, failed, together=2)
    assert list(value) == ["out", "together", "runs", "widths", "failed"]
    assert value["failed"] == ["w1.0-s1"]
    rows = value["runs"]
    assert list(rows[0]) == [
        *("name", "run", "width", "seed", "status", "validation_top1", "test_top1"),
        *("wall_seconds", "exit_status"),
    ]
    assert [row["exit_status"] for row in rows] == [0, 0, 0, 2]
    assert rows[0]["wall_seconds"] == 60 and rows[3]["test_top1"] is None
    narrow, wide = value["widths"]
    assert narrow["width"] == 0.5 and wide["width"] == 1.0
    validation = narrow["validation_top1"]
    assert validation == {"n": 2, "mean": 52.0, "deviation": pytest.approx(8**0.5)}
    assert narrow["test_top1"]["mean"] == 53
    assert wide["test_top1"] == {"n": 1, "mean": 71.0, "deviation": None}


# The processes -------------------------------------------------------------------------------


class Made:
    """A made-up training that ends with ``status`` at the third look, or when it is asked to."""

    def __init__(self, status: int, on_end: Callable[[], None]) -> None:
        self.status, self.on_end = status, on_end
        self.looks, self.asked, self.waited = 0, 0, False

    def poll(self) -> int | None:
        self.looks += 1
        if self.looks < 3:
            return None
        self.on_end()
        return self.status

    def terminate(self) -> None:
        self.asked += 1

    def wait(self) -> int:
        self.waited = True
        return 143


class Starter:
    """Launches made-up trainings, and counts those at work."""

    def __init__(self, **statuses: int) -> None:
        self.statuses = statuses
        self.begun: dict[str, Made] = {}
        self.words: dict[str, list[str]] = {}
        self.at_work = self.most = 0

    def __call__(self, job: Job, words: Sequence[str], log: Path) -> Made:
        self.at_work += 1
        self.most = max(self.most, self.at_work)
        self.words[log.stem] = list(words)
        status = self.statuses.get(log.stem, 0)
        log.write_text("".join(f"line {number}\n" for number in range(9)))
        made = self.begun[log.stem] = Made(status, self._ended)
        return made

    def _ended(self) -> None:
        self.at_work -= 1


class Silent:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def started(self, job: Job) -> None:
        self.told.append(("started", job.name))

    def look(self) -> None:
        pass

    def again(self, job: Job, status: int) -> None:
        self.told.append(("again", job.name, status))

    def ended(self, job: Job, status: int, last_lines: Sequence[str]) -> None:
        self.told.append(("ended", job.name, status, *last_lines))


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "LOOK_SECONDS", 0)


def run(
    jobs: list[Job], starter: Starter, together: int, stop: Callable[[], int | None] = lambda: None
) -> tuple[dict[str, int], Silent]:
    watcher = Silent()
    statuses = run_jobs(
        jobs,
        lambda job: ["train"],
        jobs[0].folder.parent / "logs",
        together=together,
        launch=starter,
        watcher=watcher,
        stop_signal=stop,
    )
    return {job.name: status for job, status in statuses.items()}, watcher


@pytest.mark.parametrize("together", [1, 2, 9])
def test_so_many_run_at_once_and_the_rest_in_turn(tmp_path: Path, together: int) -> None:
    starter = Starter()
    statuses, watcher = run(made(tmp_path, range(5)), starter, together)
    assert statuses == dict.fromkeys(("s0", "s1", "s2", "s3", "s4"), 0)
    assert list(starter.begun) == list(statuses)
    assert starter.most == min(5, together)
    assert [name for what, name, *_ in watcher.told if what == "started"] == list(statuses)


def test_one_that_fails_stops_no_other(tmp_path: Path) -> None:
    statuses, watcher = run(made(tmp_path), Starter(s0=3, s1=-9), 1)
    assert statuses == {"s0": 3, "s1": -9, "s2": 0}
    lines = [f"line {number}" for number in range(4, 9)]
    assert ("ended", "s0", 3, *lines) in watcher.told
    assert ("ended", "s2", 0) in watcher.told


def test_a_signal_ends_all_and_begins_none(tmp_path: Path) -> None:
    starter = Starter()

    def stop() -> int | None:
        return 2 if len(starter.begun) == 2 else None

    with pytest.raises(Interrupted) as raised:
        run(made(tmp_path, range(4)), starter, 2, stop)
    assert raised.value.signal_number == 2
    assert list(starter.begun) == ["s0", "s1"]
    assert all(one.asked == 1 and one.waited for one in starter.begun.values())


def test_an_error_of_its_own_leaves_none_running(tmp_path: Path) -> None:
    starter = Starter()

    def launch(job: Job, words: Sequence[str], log: Path) -> Made:
        if log.stem == "s1":
            raise OSError(11, "no process left")
        return starter(job, words, log)

    jobs = made(tmp_path)
    with pytest.raises(OSError, match="no process left"):
        run_jobs(
            jobs,
            lambda job: [],
            tmp_path / "logs",
            together=3,
            launch=launch,
            watcher=Silent(),
            stop_signal=lambda: None,
        )
    assert starter.begun["s0"].asked == 1 and starter.begun["s0"].waited


def train(
    study: Study, out: Path, starter: Starter | None = None, *overrides: str
) -> dict[str, Any]:
    """Train the runs of ``study``, by processes or by made-up ones."""
    return run_study(
        study,
        out,
        max_parallel=None,
        overrides=overrides,
        watcher=Silent(),
        stop_signal=lambda: None,
        engine=LocalEngine() if starter is None else MadeHere(starter),
    )


class MadeHere(LocalEngine):
    """Its trainings are made-up ones."""

    def __init__(self, starter: Starter) -> None:
        self.starter = starter

    @contextmanager
    def trainings(self, lock: int) -> Iterator[Launch]:
        yield self.starter


def test_a_folder_of_an_earlier_version_goes_on_and_keeps_its_layout(tmp_path: Path) -> None:
    # One run is finished, one was stopped and one has not begun.
    first, second, third = made(tmp_path)
    finish(first)
    RunFolder(second.folder).create(second.recipe)
    starter = Starter(s1=-9)
    place = ("--train.device=cpu", "--data.root=a b")
    value = train(planned((0, 1, 2), *place), tmp_path, starter, EPOCHS, *place)
    recipe = tmp_path / "recipes" / "s2.yaml"
    assert starter.words == {
        "s1": ["train", "--resume", str(second.folder), *place],
        "s2": ["train", str(recipe), "--out", str(third.folder)],
    }
    names = ["logs", "recipes", "s0", "s1"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    written = read_recipe(recipe)
    assert written.train.threads and not third.recipe.changes(written)
    # It is not tried again by itself.
    assert value["failed"] == ["s1"] and value["runs"][1]["exit_status"] == -9


def test_what_is_finished_starts_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for job in made(tmp_path):
        finish(job)
    monkeypatch.setattr(subprocess, "Popen", None)
    # Nor does it need the device.
    value = train(planned((0, 1, 2), "--train.device=tpu"), tmp_path)
    assert value["failed"] == [] and value["together"] == 0
    assert [row["status"] for row in value["runs"]] == ["finished"] * 3


def test_two_at_work_in_one_folder_are_one_too_many(tmp_path: Path) -> None:
    program = "import fcntl, os, sys\nfcntl.flock(os.open(sys.argv[1], 0), fcntl.LOCK_EX)\n"
    program += "print('held', flush=True)\nsys.stdin.read()\n"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(InputError, match="by another process"):
            train(planned(), tmp_path)
        holder.kill()
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match=r"width is -1\.0"):
        plan_variants(None, [], seeds=None, widths=[1.0, -1.0])


# Its lines -----------------------------------------------------------------------------------


def write_epochs(job: Job, count: int) -> None:
    rows = [
        {"epoch": n, "train_top1": 10.0 * n, "validation_top1": 20.0 * n, "images_per_s": 1234.0}
        for n in range(1, count + 1)
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    write_atomic(job.folder / "metrics.jsonl", text)


@pytest.mark.parametrize("terminal", [False, True])
def test_a_line_for_each_run(tmp_path: Path, terminal: bool) -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=120)
    first, second = made(tmp_path, [0, 1])
    with StudyProgress([first, second], console) as progress:
        for job in (first, second):
            progress.started(job)
            progress.look()
            job.folder.mkdir()
        write_epochs(first, 1)
        progress.look()
        progress.look()
        progress.bar.refresh()
        write_epochs(first, 2)
        progress.ended(first, 0, [])
        write_epochs(second, 1)
        progress.look()
        # What cannot be read now is as it was.
        (second.folder / "metrics.jsonl").unlink()
        progress.ended(second, 3, ["the loss [is] nan"])
    shown = file.getvalue()
    assert "s0  finished" in shown and "1 of 2 runs finished" in shown
    assert "s1  failed with status 3:\n" in shown
    assert "    the loss [is] nan" in shown
    assert "epoch 1/2  top-1: train 10.00 %, validation 20.00 %  1,234 images/s" in shown
    if not terminal:
        lines = shown.splitlines()
        assert [line.split("  ")[1] for line in lines[:3]] == ["epoch 1/2", "epoch 2/2", "finished"]
        assert lines[0].endswith("left") and lines[1].endswith("done")


def test_an_end_in_words() -> None:
    assert [ending(status) for status in (0, 2, 143, -9, -300)] == [
        "finished",
        "failed with status 2",
        "was stopped by SIGTERM",
        "was ended by SIGKILL",
        "was ended by signal 300",
    ]
