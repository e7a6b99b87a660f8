"""The tools that keep evidence coming, by what they start: tools/evidence."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / "tools/evidence"

pytestmark = pytest.mark.skipif(os.name != "posix", reason="they are for bash")


def run(tool: str, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [TOOLS / tool, *words], capture_output=True, text=True, env={**os.environ, **more}
    )


def program(folder: Path) -> Path:
    """A program that writes down what it is started with."""
    file = folder / "program"
    file.write_text(f'#!/bin/sh\necho "$@" >> {folder}/words\nexit ${{CODE:-0}}\n')
    file.chmod(0o755)
    return file


def words_of(folder: Path) -> list[str]:
    # What is started in the background may not have begun.
    until = time.monotonic() + 60
    while not (folder / "words").exists() and time.monotonic() < until:
        time.sleep(0.05)
    return (folder / "words").read_text().splitlines()


@pytest.mark.parametrize("tool", ["gpu-first", "run-in-background"])
def test_without_words_they_say_what_is_missing(tool: str) -> None:
    done = run(tool)
    assert done.returncode != 0 and "give" in done.stderr


def test_a_study_in_the_background(tmp_path: Path) -> None:
    evidence = tmp_path / "evidence"
    scripts = evidence / "clone/.venv/bin"
    scripts.mkdir(parents=True)
    (evidence / "clone/Makefile").write_text(".venv/.test:\n")
    program(tmp_path).rename(scripts / "ghostnet-small")
    here = {"EVIDENCE": str(evidence)}
    data = str(tmp_path)
    done = run("run-in-background", "headline", data, "--model.pretrained", "w.pth", **here)
    assert done.returncode == 0, done.stderr
    assert f"{evidence}/runs/headline.log" in done.stdout
    (line,) = words_of(tmp_path)
    assert line.startswith(f"study {evidence}/clone/recipes/studies/headline.yaml")
    assert f"--out {evidence}/runs/headline --data.root {data} --train.threads 1" in line
    assert line.endswith("--max-parallel 1 --model.pretrained w.pth")


def test_a_trial_then_the_study(tmp_path: Path) -> None:
    out, given_back = tmp_path / "out", tmp_path / "back"
    weights = out / "study/runs/lite0/last"
    weights.mkdir(parents=True)
    (weights / "model.safetensors").write_text("w")
    (out / "study/results.jsonl").write_text("{}")
    (out / "trial").mkdir()
    given_back.mkdir()
    more = {"PYTHON": str(program(tmp_path)), "RETURN": str(given_back), "CALL_SECONDS": "60"}
    words = ("gpu-first", str(tmp_path), str(out), "--model.pretrained", "w.pth")
    for code in ("3", "0", "3"):
        assert run(*words, **more, CODE=code).returncode == int(code)
    lines = words_of(tmp_path)
    # The trial failed, then passed, and was not made again.
    assert [f"--out {out}/trial" in line for line in lines] == [True, True, False, False]
    assert all("gpu-first.yaml" in line and "--model.pretrained w.pth" in line for line in lines)
    assert sorted(p.name for p in given_back.rglob("*")) == [
        "lite0",
        "model.safetensors",
        "results.jsonl",
    ]


def test_tools_are_bash() -> None:
    for tool in (file for file in TOOLS.iterdir() if file.is_file() and not file.suffix):
        assert os.access(tool, os.X_OK), tool
        subprocess.run(["bash", "-n", tool], check=True)
