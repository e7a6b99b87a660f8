"""What the README promises beside its snippets, which tests/docs runs: `make quickstart`, paths."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ghostnet_small import cli

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
SHORT = ["--train.epochs", "1"]
STUDY = ["--train.epochs", "3", "--data.limit", "200", "--train.batch_size", "8"]


def run(arguments: list[str]) -> int:
    try:
        return cli.main(arguments) or 0
    except SystemExit as exit:
        return int(exit.code or 0)


def test_quickstart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "quickstart"
    recipe = subprocess.run(
        ["make", "--dry-run", "--always-make", "quickstart", f"RUN={out}", f"STUDY={out}-study"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    commands = [
        shlex.split(line)[1:]
        for line in recipe.splitlines()
        if line.startswith(".venv/bin/ghostnet-small ")
    ]
    assert [words[0] for words in commands] == [
        *("train", "evaluate", "fold", "data", "predict"),
        *("study", "report"),
    ]
    monkeypatch.chdir(ROOT)
    short = {"train": SHORT, "study": STUDY}
    for words in commands:
        assert run(words + short.get(words[0], [])) == 0, words
    assert (tmp_path / "quickstart-study" / "report.html").is_file()


def test_benchmark() -> None:
    assert "python benchmarks/batch_making.py" in README
    done = subprocess.run(
        [sys.executable, "benchmarks/batch_making.py", "--batch", "8", "--repeats", "2"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    # Whether its claim holds is the benchmark's to say; a test on a shared machine says nothing.
    assert done.stdout.splitlines()[-1].startswith("ratio") and not done.stderr


def test_paths_exist() -> None:
    """Files that the README points to are there."""
    linked = re.findall(r"\]\(((?!http)[^)#]+)\)", README)
    named = re.findall(r"`((?:recipes|results|docs|benchmarks)/[\w./-]+)`", README)
    assert linked and named
    for path in linked + named:
        assert (ROOT / path).exists(), path
