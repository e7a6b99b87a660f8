"""What the README promises beside its snippets, which tests/docs runs: `make quickstart`, paths."""

from __future__ import annotations

import json
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
STUDY = ["--train.epochs", "1", "--data.limit", "200", "--train.batch_size", "16"]
# At the recipe's rate so few steps leave noise, and rounding decides whether a teacher's answers
# are numbers that can be kept.
STUDY += ["--optimizer.learning_rate", "1e-3"]


def run(arguments: list[str]) -> int:
    try:
        return cli.main(arguments) or 0
    except SystemExit as exit:
        return int(exit.code or 0)


def made(target: str, *variables: str) -> list[str]:
    """The lines that make would run for ``target``."""
    command = ["make", "--dry-run", "--always-make", target, *variables]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def commands(lines: list[str]) -> list[list[str]]:
    """The words of those that are commands of this program."""
    start = ".venv/bin/ghostnet-small "
    return [shlex.split(line)[1:] for line in lines if line.startswith(start)]


def test_quickstart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "quickstart"
    lines = made("quickstart", f"RUN={out}")
    found = commands(lines)
    assert [words[0] for words in found] == ["predict", "train", "evaluate", "fold", "export"]
    monkeypatch.chdir(ROOT)
    for words in found:
        assert run(words + (SHORT if words[0] == "train" else [])) == 0, words
        shown = capsys.readouterr().out
        if words[0] == "predict":
            # Each drawing is called what its file is called.
            names = [line.split()[:2] for line in shown.splitlines()]
            assert len(names) == 3 and all(Path(file).stem == name for file, name in names)
        if words[0] == "train":
            # The heading of the step says how many images there are.
            data = json.loads((out / "summary.json").read_text())["data"]
            for split in ("train", "validation", "test"):
                assert any(f" {data[f'{split}_images']:,} " in line for line in lines), split
    # What the last lines name is there.
    start = lines.index(f"echo 'Done. All of it lies in {out}:'") + 1
    ends = lines.index("echo", start)
    named = re.findall(r"([\w.]+(?:/|\.\w+))(?=[ ,:']|$)", "\n".join(lines[start:ends]))
    assert len(named) > 9
    for name in named:
        assert list(out.rglob(name.rstrip("/"))), name


def test_quickstart_without_a_compiler() -> None:
    lines = made("quickstart", "C=")
    assert [words[0] for words in commands(lines)] == ["predict", "train", "evaluate", "fold"]
    assert any("Skipped: no C compiler" in line for line in lines)


def test_quickstart_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = commands(made("quickstart-study", f"STUDY={tmp_path / 'study'}"))
    assert [words[0] for words in found] == ["study", "report"]
    monkeypatch.chdir(ROOT)
    for words in found:
        assert run(words + (STUDY if words[0] == "study" else [])) == 0, words
    assert (tmp_path / "study" / "report.html").is_file()


def test_help_names_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    helped = re.findall(r"@echo 'make ([\w-]+) ", makefile)
    assert set(helped) == set(phony.split()) - {"help"}


def test_benchmark() -> None:
    assert "python tools/benchmarks/batch_making.py" in README
    done = subprocess.run(
        [sys.executable, "tools/benchmarks/batch_making.py", "--batch", "8", "--repeats", "2"],
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
    assert linked
    for path in linked + named:
        assert (ROOT / path).exists(), path
