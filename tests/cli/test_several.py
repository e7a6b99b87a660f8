"""Several runs by one command, as a user types it."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ghostnet_small.cli import main
from ghostnet_small.recipe.recipe import read_recipe
from ghostnet_small.run.run_folder import RunFolder
from small_run import WORDS, weights_of

PROGRAM = [sys.executable, "-m", "ghostnet_small"]
BOTH = ("--seeds", "0,1")
# Enough of them to be stopped twice on their way.
EPOCHS = ("--train.epochs", "6")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs of seeds 0 and 1 that were each trained by a command of their own."""
    place = tmp_path_factory.mktemp("alone")
    runs = {}
    for seed in (0, 1):
        runs[f"s{seed}"] = place / f"s{seed}"
        words = [*WORDS, *EPOCHS, "--train.seed", str(seed), "--out", str(runs[f"s{seed}"])]
        assert main(["train", *words]) == 0
    return runs


def several(out: Path, *words: str) -> list[str]:
    return ["train", *WORDS, *EPOCHS, "--out", str(out), *(words or BOTH)]


def same_as_alone(out: Path, alone: dict[str, Path]) -> bool:
    return all(weights_of(out / name) == weights_of(run) for name, run in alone.items())


def states_of(out: Path) -> list[int | None]:
    """Changes in a place with every state that a run saves."""
    files = [out / name / "state.safetensors" for name in ("s0", "s1")]
    return [file.stat().st_mtime_ns if file.exists() else None for file in files]


def wait_for_trainings(out: Path) -> None:
    """Until no process holds the folder."""
    handle = os.open(out, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    os.close(handle)


def test_stopped_in_every_way_they_end_like_undisturbed_ones(
    tmp_path: Path, alone: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "runs"
    for number in (signal.SIGINT, signal.SIGKILL):
        before = states_of(out)
        process = subprocess.Popen(
            [*PROGRAM, *several(out)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        while any(now == then for now, then in zip(states_of(out), before, strict=True)):
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        process.send_signal(number)
        stdout, stderr = process.communicate()
        assert stdout == "" and "Traceback" not in stderr
        if number == signal.SIGKILL:
            # Each training finds its standard input closed and saves; the folder is theirs so long.
            wait_for_trainings(out)
        else:
            assert process.returncode == 128 + number
            last = stderr.splitlines()[-1]
            assert f"stopped by {number.name}, all that ran is saved" in last
            assert "error" not in last and f"train --out {out} --seeds 0,1 --model.width" in last
    for name in ("s0", "s1"):
        log = (out / "logs" / f"{name}.log").read_text()
        assert log.count("stopped by SIGTERM, all is saved") == 2 and "Traceback" not in log
        assert not (out / name / "summary.json").exists()
    assert main([*several(out), "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert [row["status"] for row in value["runs"]] == ["finished", "finished"]
    for name in ("s0", "s1"):
        assert len(json.loads((out / name / "summary.json").read_text())["sessions"]) == 3
    assert same_as_alone(out, alone)


def test_one_fails_the_other_is_trained_and_the_next_time_goes_on(
    tmp_path: Path, alone: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "runs"
    folder = RunFolder(out / "s0")
    folder.create(read_recipe(None, [*WORDS, *EPOCHS, "--train.seed=0"]))
    broken = folder.path / "state.safetensors"
    broken.write_bytes(b"no state")
    assert main(several(out, *BOTH, "--together", "1")) == 3
    table, err = capsys.readouterr()
    lines = [" ".join(line.split()) for line in table.splitlines()]
    assert "s0 failed - - -" in lines
    assert any(re.fullmatch(r"s1 finished [0-9.]+ % [0-9.]+ % 0\.\d", line) for line in lines)
    assert any(re.fullmatch(r"width 0\.05 n = 1 [0-9.]+ % [0-9.]+ %", line) for line in lines)
    # Its last words, then the command's.
    assert "s0  failed with status 2:" in err and "    ghostnet-small: error: " in err
    assert str(broken) in err
    last = err.splitlines()[-1]
    assert last.startswith("ghostnet-small: error: 1 of 2 runs failed (s0)")
    assert f"--out {out} --seeds 0,1 --together 1 --model.width=0.05" in last

    broken.unlink()
    before = (out / "s1" / "summary.json").stat().st_mtime_ns
    assert main([*several(out), "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert (out / "s1" / "summary.json").stat().st_mtime_ns == before
    check_figures(value, out)
    assert same_as_alone(out, alone)

    # A third time there is nothing to do.
    assert main([*several(out), "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again == {**value, "together": 0}


def check_figures(value: dict[str, Any], out: Path) -> None:
    assert value["failed"] == [] and value["out"] == str(out)
    figures = []
    for row in value["runs"]:
        summary = json.loads((out / row["name"] / "summary.json").read_text())
        assert row["run"] == str(out / row["name"])
        assert (row["width"], row["seed"]) == (0.05, summary["seed"])
        assert row["validation_top1"] == summary["last"]["validation_top1"]
        assert row["wall_seconds"] == summary["wall_seconds"]
        figures.append(summary["last"]["test_top1"])
        assert row["test_top1"] == figures[-1]
    (group,) = value["widths"]
    spread = group["test_top1"]
    assert spread["n"] == 2 and spread["mean"] == pytest.approx(sum(figures) / 2)
    assert spread["deviation"] == pytest.approx(abs(figures[0] - figures[1]) / 2**0.5)


REFUSED = {
    "seed": (("--seeds", "0,x"), "'x' is not a whole number", "0,1,2"),
    "seed below 0": (("--seeds=-1,2",), "'-1' is not a whole number", "at least 0"),
    "no seed": (("--seeds", ""), "'' is not a whole number", "0,1,2"),
    "seed left out": (("--seeds", "1,,2"), "'' is not a whole number", "0,1,2"),
    "seed twice": (("--seeds", "1,1"), "--seeds gives 1 twice", "once"),
    "huge seed": (("--seeds", "9223372036854775808"), "9223372036854775808", "2^63 - 1"),
    "seed set too": (("--seeds", "1", "--train.seed", "1"), "--train.seed", "leave one"),
    "width": (("--widths", "1.0,wide"), "'wide' is not a number", "--widths"),
    "width below 0": (("--widths=-1",), "width is -1.0", "above 0"),
    "width not finite": (("--widths", "nan"), "nan", "a number"),
    "width set too": (("--widths", "1.0,0.5"), "--model.width", "leave one"),
    "together": (("--seeds", "1", "--together", "0"), "'0' is not", "at least 1"),
    "together alone": (("--together", "2"), "--together 2", "--seeds or --widths"),
    "resume": (("--seeds", "1", "--resume", "x"), "--resume x", "once more"),
    "device": (("--seeds", "1", "--train.device", "tpu"), "'tpu'", "cuda"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_before_anything_is_written(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, value, cure = REFUSED[case]
    small = () if case.startswith("width") and case != "width set too" else WORDS
    assert main(["train", *small, "--out", str(tmp_path / "runs"), *words]) == 2
    out, err = capsys.readouterr()
    assert out == "" and list(tmp_path.iterdir()) == []
    (line,) = err.splitlines()
    assert value in line and cure in line


def test_without_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *BOTH]) == 2
    assert "give --out runs/NAME" in capsys.readouterr().err


def test_a_run_of_another_recipe_stops_all_before_they_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    RunFolder(tmp_path / "s1").create(read_recipe(None, [*WORDS, *EPOCHS, "--train.batch_size=13"]))
    assert main(several(tmp_path)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(tmp_path / "s1") in line and "train.batch_size 13 -> 12" in line
    assert [file.name for file in tmp_path.iterdir()] == ["s1"]


def test_inside_a_launcher_it_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    where = {"RANK": "0", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2", "MASTER_PORT": "29500"}
    for name, value in {**where, "WORLD_SIZE": "2", "MASTER_ADDR": "localhost"}.items():
        monkeypatch.setenv(name, value)
    assert main(several(tmp_path / "runs")) == 2
    assert "the launcher started 2; leave the launcher out" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
