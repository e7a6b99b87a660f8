"""A copy of the sources follows each task of ``docs/extending.md``, which touches two files."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from docs_blocks import ROOT, Block, blocks, text_of
from makers import make_picture

PAGE = "docs/extending.md"
MOST_FILES = 2
# So many images and epochs make a training short.
SHORT = (
    *("--train.epochs", "1", "--train.device", "cpu", "--train.threads", "1"),
    *("--model.width", "0.25"),
)


def tasks() -> dict[str, list[Block]]:
    """The blocks of each section."""
    text = text_of(PAGE)
    heads = {text[: m.start()].count("\n") + 1: m[1] for m in re.finditer("^## (.*)$", text, re.M)}
    found: dict[str, list[Block]] = {name: [] for name in heads.values()}
    for block in blocks(PAGE):
        line = max(line for line in heads if line < block.line)
        found[heads[line]].append(block)
    return found


def follow(block: Block, copy: Path) -> str | None:
    """Do what a block shows in the ``copy`` of the sources; the file that it touches."""
    if block.language == "python":
        first, _, _ = block.text.partition("\n")
        name = first.removeprefix("# ")
        assert not (copy / name).exists(), f"{block.where}: {name} is there already"
        (copy / name).write_text(block.text.partition("\n")[2])
        return name
    if block.language == "diff":
        head, *lines = block.text.splitlines()
        name = head.removeprefix("--- ")
        text = (copy / name).read_text()
        before = "\n".join(line[1:] for line in lines if line[:1] != "+")
        after = "\n".join(line[1:] for line in lines if line[:1] != "-")
        assert text.count(before) == 1, f"{block.where}: {before!r} is not once in {name}"
        (copy / name).write_text(text.replace(before, after))
        return name
    return None


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the sources as they are."""
    out = tmp_path_factory.mktemp("teacher") / "run"
    run(ROOT, out.parent, ["train", "quickstart-digits", *SHORT, "--out", str(out)])
    return out


def run(sources: Path, folder: Path, words: list[str]) -> str:
    """Run a command of ``sources`` in ``folder``; its standard output."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "ghostnet_small", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(sources / "src")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout


@pytest.mark.parametrize("task", tasks())
def test_a_task_works_and_touches_two_files_at_most(
    task: str, teacher: Path, tmp_path: Path
) -> None:
    copy, folder = tmp_path / "copy", tmp_path / "folder"
    shutil.copytree(ROOT / "src", copy / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("recipes", "results/weights"):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).symlink_to(ROOT / name)
    (folder / "FLAT").mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(20):
        label = number % 2
        path = folder / "FLAT" / f"{'dog' if label else 'cat'}-{number}.png"
        make_picture(label, 2, size=16, random=random).save(path)
    (folder / "TEACHER").symlink_to(teacher)
    touched = {follow(block, copy) for block in tasks()[task]} - {None}
    assert 1 <= len(touched) <= MOST_FILES, touched
    commands = [
        line for block in tasks()[task] if block.language == "sh" for line in block.commands()
    ]
    assert commands
    for line in commands:
        words = shlex.split(line)
        assert words.pop(0) == "ghostnet-small"
        short = SHORT if words[0] in ("train", "distill") else ()
        run(copy, folder, [*words, *short])


def test_the_page_has_the_tasks_that_are_promised() -> None:
    assert list(tasks()) == [
        *("A loss", "A recipe setting", "A file format", "A data format"),
        *("A network of known blocks", "A block"),
    ]
