"""Every command that the README shows is run, the long ones cut short on made data."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ghostnet_small import cli
from makers import make_folder, make_parquet, make_picture
from written_forms import write_idx

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
SHORT = ["--train.epochs", "1"]
# Small batches, for a teacher whose norms have seen only a few gives logits beyond float16.
MADE = ["--data.limit", "256", "--train.batch_size", "8"]
STUDY = ["--train.epochs", "3", "--data.limit", "200", "--train.batch_size", "8"]
FASHION_MNIST = "/usr/share/datasets/fashion-mnist"


def shown_commands() -> list[str]:
    """``ghostnet-small`` commands in the order of the page: of shell blocks and of inline code."""
    pieces = re.findall(r"```sh\n(.*?)```|`(ghostnet-small [^`]+)`", README, re.DOTALL)
    lines = [line for block, inline in pieces for line in (block or inline).splitlines()]
    return [line for line in lines if line.startswith("ghostnet-small ")]


def run(arguments: list[str]) -> int:
    try:
        return cli.main(arguments) or 0
    except SystemExit as exit:
        return int(exit.code or 0)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds all that the README's commands name."""
    place = tmp_path_factory.mktemp("readme")
    (place / "recipes").symlink_to(ROOT / "recipes")
    # Copied, for a report is written beside its rows.
    unfinished = shutil.ignore_patterns("runs", "logs", "recipes")
    shutil.copytree(ROOT / "results", place / "results", ignore=unfinished)
    make_parquet(place / "DIR", train=320, test=32)
    make_folder(place / "pictures", train=20, test=4, classes=("cat", "dog"))
    pixels = np.random.default_rng(1).integers(256, size=(100, 28, 28))
    for split in ("train", "t10k"):
        write_idx(place / "fashion", split, pixels, [k % 10 for k in range(100)], zipped=True)
    shutil.copy(ROOT / "README.md", place)
    (place / "folder").mkdir()
    for path in (place / "picture.png", place / "folder" / "another.png"):
        make_picture(0, 2, size=32, random=np.random.default_rng(0)).save(path)
    return place


def test_the_readme_shows_commands_of_every_kind() -> None:
    kinds = {line.split()[1] for line in shown_commands()}
    assert {"train", "distill", "evaluate", "fold", "predict", "info", "data"} <= kinds
    assert {"study", "report", "export"} <= kinds


def test_commands(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    for line in shown_commands():
        words = [str(place / "fashion") if w == FASHION_MNIST else w for w in shlex.split(line)[1:]]
        if words[0] == "study":
            # test_quickstart runs one to its end.
            words.append("--dry-run")
        if words[0] in ("train", "distill") and "--out" in words:
            # Options given later win; the made set is small enough for a real epoch.
            words += [*SHORT, *MADE] if "DIR" in words else SHORT
        assert run(words) == 0, line


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


def test_python(tmp_path: Path) -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", snippet], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "airplane" in done.stdout


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
