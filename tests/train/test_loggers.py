"""Experiment loggers: what they are given, and that they cost no run."""

from __future__ import annotations

import importlib
import json
import logging
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import ghostnet_small as gns
from ghostnet_small.cli import main
from ghostnet_small.recipe.recipe import Recipe, read_recipe
from ghostnet_small.train.interfaces import Interrupted
from ghostnet_small.train.loggers import LOGGERS, Logged
from ghostnet_small.train.progress import TrainingProgress
from ghostnet_small.train.settings import LOGGER_NAMES, TrainSettings
from small_run import WORDS, resume

pytestmark = pytest.mark.usefixtures("no_pictures")

# The part of trackio that is used; it keeps what it is told, one JSON value a line.
FAKE_TRACKIO = """
import json
from pathlib import Path

FILE = Path(__file__).with_name("told.jsonl")


def tell(*what):
    with FILE.open("a") as file:
        file.write(json.dumps(what) + "\\n")


def log(metrics, step=None):
    tell("log", metrics, step)


def finish():
    print("* Run finished")
    tell("finish")


def init(project, name=None, config=None, resume="never", embed=True):
    print("* Trackio project initialized")
    tell("init", project, name, config["train.epochs"], resume, embed)
"""


class Recorded:
    """A logger that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def start(self, folder: Path, recipe: Mapping[str, Any], name: str) -> None:
        self.told.append(("start", folder, recipe, name))

    def log(self, row: Mapping[str, float], step: int) -> None:
        self.told.append(("log", row, step))

    def finish(self, status: str) -> None:
        self.told.append(("finish", status))


class Failing(Recorded):
    """One that fails at its second row."""

    def log(self, row: Mapping[str, float], step: int) -> None:
        if len(self.told) == 2:
            raise OSError("the disk is full")
        super().log(row, step)


def stop_in_epoch(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the epoch of that number, counted from 0, once."""
    step, left = TrainingProgress.step, [number]

    def stepped(self: TrainingProgress, epoch: int, *state: Any) -> None:
        step(self, epoch, *state)
        if left and epoch == left[0]:
            left.pop()
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("ghostnet_small.train.progress.TrainingProgress.step", stepped)


def scalars(run: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows of a run: the steps and values of each name."""
    events = importlib.import_module("tensorboard.backend.event_processing.event_accumulator")
    found = events.EventAccumulator(str(run / "tensorboard"))
    found.Reload()
    return {
        name: [(one.step, one.value) for one in found.Scalars(name)]
        for name in found.Tags()["scalars"]
    }


def test_tensorboard_goes_on_where_the_run_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    stop_in_epoch(1, monkeypatch)
    assert main(["train", *WORDS, "--train.log", "[tensorboard]", "--out", str(out)]) == 130
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [step for step, _ in scalars(out)["train/loss"]] == [row["step"] for row in rows]
    assert resume(out) == 0
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    shown = scalars(out)
    for name, key in (("train/loss", "train_loss"), ("validation/top1", "validation_top1")):
        assert shown[name] == [(row["step"], pytest.approx(row[key])) for row in rows]
    assert len(rows) == 2 and {"epoch", "learning_rate", "images_per_s"} <= set(shown)
    summary = json.loads((out / "summary.json").read_text())
    test = pytest.approx(summary["last"]["test_top1"])
    assert shown["test/top1"] == [(rows[-1]["step"], test)]


def test_tensorboard_keeps_no_row_twice(tmp_path: Path) -> None:
    """A run that was killed comes once more to steps that were logged before."""
    for first, last in ((1, 3), (2, 4)):
        logger = LOGGERS["tensorboard"]()
        logger.start(tmp_path, {"train.epochs": 4}, "run")
        for step in range(first, last + 1):
            logger.log({"train_loss": first + step / 10}, step)
        logger.finish("stopped")
    found = [(step, round(value, 4)) for step, value in scalars(tmp_path)["train/loss"]]
    assert found == [(1, 1.1), (2, 2.2), (3, 2.3), (4, 2.4)]


def test_trackio_goes_on_with_the_same_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "trackio").mkdir()
    (tmp_path / "trackio/__init__.py").write_text(FAKE_TRACKIO)
    monkeypatch.syspath_prepend(tmp_path)
    out = tmp_path / "mine"
    stop_in_epoch(1, monkeypatch)
    assert main(["train", *WORDS, "--train.log", "[trackio]", "--out", str(out), "--json"]) == 130
    assert main(["train", "--resume", str(out), "--json"]) == 0
    monkeypatch.delitem(sys.modules, "trackio")
    assert json.loads(capsys.readouterr().out)["run"] == str(out)  # and nothing else
    told = [json.loads(line) for line in (tmp_path / "trackio/told.jsonl").read_text().splitlines()]
    name = (out / "trackio").read_text().strip()
    assert name.startswith("mine-")
    init = ["init", "ghostnet-small", name, 2, "allow", False]
    assert [one[0] if one[0] != "init" else one for one in told] == [
        *(init, "log", "finish"),
        *(init, "log", "log", "finish"),
    ]
    logs = [one for one in told if one[0] == "log"]
    assert [one[1].get("epoch") for one in logs] == [1, 2, None]
    assert set(logs[2][1]) == {"test_top1", "test_loss"} and logs[2][2] == logs[1][2]


@pytest.mark.parametrize("name", LOGGER_NAMES)
def test_a_missing_package_is_told_before_the_run_begins(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(gns.InputError, match=rf"pip install 'ghostnet-small\[{name}\]'"):
        gns.train(out=tmp_path / "run", log=[name], limit=32)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("log", "message"),
    [
        (["wandb"], r"^train.log 'wandb' is not allowed; give a list of tensorboard, trackio$"),
        (["trackio", "trackio"], r"^train.log \['trackio', 'trackio'\] names a logger twice"),
        ("tensorboard", r"^train.log is 'tensorboard'; it must be a list of names"),
    ],
)
def test_what_is_no_logger_is_refused(log: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(gns.InputError, match=message):
        gns.train(out=tmp_path / "run", log=log)


def test_loggers_are_no_part_of_the_experiment() -> None:
    logged = read_recipe(None, ["--train.log=[tensorboard, trackio]"])
    assert logged.train.log == ("tensorboard", "trackio") and set(LOGGERS) == set(LOGGER_NAMES)
    assert logged.hash() == Recipe().hash()
    assert Recipe().changes(logged) == []
    assert replace(logged, train=replace(logged.train, log=())) == Recipe()
    assert TrainSettings().log == ()


def test_a_logger_that_fails_costs_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failing, other = Failing(), Recorded()
    monkeypatch.setitem(LOGGERS, "tensorboard", lambda: failing)
    monkeypatch.setitem(LOGGERS, "trackio", lambda: other)
    monkeypatch.setattr("ghostnet_small.run.start.check_loggers", lambda names: None)
    settings = dict(zip((word[2:] for word in WORDS[::2]), WORDS[1::2], strict=True))
    with caplog.at_level(logging.WARNING, "ghostnet_small"):
        run = gns.train(out=tmp_path / "run", log=["tensorboard", "trackio"], settings=settings)
    assert "train.log tensorboard failed, the run continues without it: the disk is full" in (
        caplog.text
    )
    assert len(run.history) == 2
    assert [one[0] for one in failing.told] == ["start", "log"]
    assert [one[0] for one in other.told] == ["start", "log", "log", "log", "finish"]
    _, folder, recipe, name = other.told[0]
    assert (folder, name, recipe["train.epochs"]) == (run.folder, "run", 2)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, "finished"),
        (Interrupted(signal.SIGINT), "stopped"),
        (KeyboardInterrupt(), "stopped"),
        (gns.NotFinite(), "failed"),
    ],
)
def test_loggers_are_told_how_the_run_ended(
    error: BaseException | None,
    status: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    logger = Recorded()
    monkeypatch.setitem(LOGGERS, "trackio", lambda: logger)
    logs = Logged(TrainingProgress(TrainSettings(), quiet=True), ["trackio"])
    with suppress(type(error)), logs.opened(tmp_path, {}):
        if error is not None:
            raise error
    assert logger.told[-1] == ("finish", status)


def test_a_run_that_was_killed_after_its_last_epoch_logs_that_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorBoard forgets what it has of the step that a session begins with."""
    logger = Recorded()
    monkeypatch.setitem(LOGGERS, "trackio", lambda: logger)
    logs = Logged(TrainingProgress(TrainSettings(), quiet=True), ["trackio"])
    rows = [{"epoch": 1, "step": 7, "train_loss": 1.5}]
    logs.end({"epochs": rows, "last": {"test_top1": 50.0}})
    assert logger.told == [
        ("log", {"epoch": 1, "train_loss": 1.5}, 7),
        ("log", {"test_top1": 50.0}, 7),
    ]
