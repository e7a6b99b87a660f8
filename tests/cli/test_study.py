"""A study by one command, as a user types it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ghostnet_small.cli import main
from ghostnet_small.run.records import REQUIRED, read_rows
from small_study import STUDY

PROGRAM = [sys.executable, "-m", "ghostnet_small"]
NAMES = ["teacher", "plain-s0", "plain-s1", "kd-s0", "kd-s1", "self-s0", "self-s1"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("study.yaml").write_text(STUDY)
    return tmp_path


def test_a_study_from_its_plan_to_its_rows(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "study.yaml", "--out", "out", "--dry-run"]) == 0
    plan = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in plan.splitlines()]
    assert "self-s1 self 0.05 1 plain-s1 missing" in lines and "7 runs" in plan
    assert [path.name for path in place.iterdir()] == ["study.yaml"]

    # Stopped on its way, it goes on where it was.
    process = subprocess.Popen(
        [*PROGRAM, "study", "study.yaml", "--out", "out"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not any(Path("out").glob("runs/*/state.safetensors")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate()
    assert process.returncode == 130 and stdout == "" and "Traceback" not in stderr
    last = stderr.splitlines()[-1]
    assert "stopped by SIGINT, all that ran is saved; go on with: " in last
    assert last.endswith("ghostnet-small study study.yaml --out out")

    assert main(["study", "study.yaml", "--out", "out"]) == 0
    table, err = capsys.readouterr()
    assert "7 of 7 runs finished" in err
    lines = [" ".join(line.split()) for line in table.splitlines()]
    assert any(line.startswith("plain 0.05 2 ") and line.count("±") == 2 for line in lines)
    assert lines[-1] == "report: ghostnet-small report out"
    rows = read_rows(Path("out/results.jsonl"))
    assert [row["study"]["run"] for row in rows] == NAMES
    assert all(key in row for row in rows for key in REQUIRED)
    kd = rows[4]
    assert kd["study"] == {
        **{"name": "tiny", "run": "kd-s1", "strategy": "kd", "width": 0.05, "seed": 1},
        "teachers": ["teacher"],
    }
    assert kd["recipe"]["distill"]["teachers"] == ["out/runs/teacher"] and "distill" in kd

    # A third time there is nothing to do.
    assert main(["study", "study.yaml", "--out", "out", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in value["runs"]] == NAMES and value["failed"] == []
    assert {row["status"] for row in value["runs"]} == {"finished"}


def test_a_run_that_fails_is_told_with_its_reason(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = STUDY[: STUDY.index("runs:")]
    bad = "{settings: {data: {source: cifar10, root: nowhere}}}"
    runs = f"runs:\n  good:\n  teacher: {bad}\n  kd: {{teachers: [teacher]}}\n"
    Path("study.yaml").write_text(settings + runs)
    words = ["study", "study.yaml", "--out", "out", "--max-parallel", "1"]
    assert main(words) == 3
    table, err = capsys.readouterr()
    assert "kd not started: its teacher teacher failed" in table
    assert "teacher failed: failed with status 2: ghostnet-small: error: " in table
    last = err.splitlines()[-1]
    assert "1 of 3 runs failed (teacher), and 1 that need them were not started" in last
    assert last.endswith("ghostnet-small study study.yaml --out out --max-parallel 1")
    failed = read_rows(Path("out/failed.jsonl"))
    assert [row["run"] for row in failed] == ["teacher", "kd"]
    assert [row["study"]["run"] for row in read_rows(Path("out/results.jsonl"))] == ["good"]


REFUSED = {
    "no file": (["nowhere.yaml"], "study nowhere.yaml is not there", "quickstart-digits"),
    "option": (["study.yaml", "--paralel", "2"], "--paralel is not known", "--max-parallel"),
    "parallel": (["study.yaml", "--max-parallel", "0"], "'0' is not", "at least 1"),
    "setting": (["study.yaml", "--train.epoch", "2"], "--train.epoch", "train.epochs"),
    "seed": (["study.yaml", "--train.seed", "2"], "--train.seed", "leave one of them out"),
    "value": (["study.yaml", "--train.epochs", "0"], "run teacher: ", "epochs 0"),
    "device": (["study.yaml", "--train.device", "tpu"], "'tpu'", "cuda"),
    "recipe": (["gns-w1.0-cifar10"], "study gns-w1.0-cifar10 is not there", "shipped study"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_before_anything_is_written(
    case: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, value, cure = REFUSED[case]
    assert main(["study", *words, "--out", "out"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and [path.name for path in place.iterdir()] == ["study.yaml"]
    (line,) = err.splitlines()
    assert value in line and cure in line


def test_without_a_folder(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "study.yaml"]) == 2
    assert "--out" in capsys.readouterr().err
    assert os.listdir(place) == ["study.yaml"]
