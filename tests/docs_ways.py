"""How each block of a page is run: really where that takes a second, else as far as it goes.

A training is run once for each kind of data, cut short; further ones are read with all their
options, their recipe resolved, and get a copy of that run's folder, so that what follows works.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

import maintain
from docs_blocks import ROOT, Block
from docs_programs import launcher, script
from docs_reasons import ELSEWHERE, LONG, NAMES, NOT_RUN, PARSED_PROGRAMS, RUN_PROGRAMS, SYNOPSES
from ghostnet_small import cli
from ghostnet_small.cli.command import Command, Commands
from ghostnet_small.cli.commands import COMMANDS
from ghostnet_small.cli.program import _dispatch as dispatch
from ghostnet_small.recipe.recipe import Recipe, read_recipe
from ghostnet_small.recipe.shipped_recipes import find_recipe, find_study
from ghostnet_small.study.planning import plan_study
from ghostnet_small.use.export import default_folder

# Options given later win. Small batches, for a teacher whose norms have seen only a few gives
# logits beyond float16.
SHORT = ["--train.epochs", "1", "--train.batch_size", "8", "--train.threads", "1"]
# Of what so few steps make of random weights, rounding decides what it names, and no file in 8 bits
# does so too: where the recipe's network is the shipped one, its weights are where they begin.
TRAINED = [
    *("--model.weights", "ghostnetv3_small_w1.0_cifar10"),
    *("--optimizer.learning_rate", "1e-2", "--train.epochs", "3"),
]
# Where the pictures are more than are wanted.
LIMIT = ("--data.limit", "256")


@dataclass
class Page:
    """A page at work in its folder. ``runs``: a finished run for each kind of data, of all pages.

    ``printed`` is what the last shell block put out, None where that was not all it would.
    """

    name: str
    folder: Path
    runs: dict[str, Path]
    printed: str | None = None
    names: dict[str, Any] = field(default_factory=dict)

    def run(self, block: Block) -> None:
        """Run one block, in the page's folder; raises where it cannot be."""
        if block.language not in WAYS:
            raise AssertionError(f"{block.where}: no way to run {block.language!r}")
        if block.language not in ("text", "inline", ""):
            self.printed = None
        WAYS[block.language](self, block)

    def stand_in(self, out: Path, kind: str) -> None:
        """A finished run in ``out``."""
        if not out.exists():
            shutil.copytree(self.runs[kind], out)


def shell(page: Page, block: Block) -> None:
    """Each command of the block, in its turn."""
    shown: list[str] = []
    whole = True
    for line in block.commands():
        words = [NAMES.get(word, word) for word in shlex.split(line, comments=True)]
        if reason := NOT_RUN.get(shlex.join(shlex.split(line, comments=True))):
            assert reason
            whole = False
            if words[0] != "ghostnet-small":
                continue
            parsed(words[1:])
        elif words[0] == "ghostnet-small":
            output = command(page, words[1:])
            whole = whole and output is not None
            shown.append(output or "")
        elif words[0] in RUN_PROGRAMS:
            done = subprocess.run(line, shell=True, capture_output=True, text=True)
            assert done.returncode == 0, f"{block.where}: {line}: {done.stderr}"
            shown.append(done.stdout)
        elif words[0] in PARSED_PROGRAMS:
            program(words)
            whole = False
        else:
            raise AssertionError(f"{block.where}: no way to run {line!r}, and no reason not to")
    page.printed = "".join(shown) if whole else None


def command(page: Page, words: list[str]) -> str | None:
    """One of this program's commands; its output, or None where it is not run as it is written."""
    args, name = parsed(words)
    if name in LONG or any(word.startswith(tuple(ELSEWHERE)) for word in words):
        return None
    if name in ("train", "distill") and args.out is not None:
        train(page, words, args)
        return None
    if name == "export":
        export(page, words, args)
        return None
    planned = name == "study" and not args.dry_run
    output = run([*words, "--dry-run"] if planned else words)
    if planned and not args.out.exists():
        # The rows of a finished study, for what comes after.
        shutil.copytree(ROOT / "results/strategies", args.out)
    return None if planned else output


def train(page: Page, words: list[str], args: argparse.Namespace) -> None:
    """The first training on some kind of data, and with teachers, cut short; else a copy of it."""
    recipe = recipe_of(args)
    taught = [*(getattr(args, "teachers", None) or ()), *map(Path, recipe.distill.teachers)]
    assert all(folder.is_dir() for folder in taught), f"{words}: no such teachers"
    if args.seeds or args.widths:
        return  # tests/cli/test_several.py has several runs
    root = recipe.data.root
    kind = "digits" if root is None and recipe.data.source == "digits" else "DIR"
    if root not in (None, "DIR"):
        kind = f"{root} of {page.name}"
    one = f"{kind}, taught"
    if kind not in page.runs or (taught and not any("taught" in name for name in page.runs)):
        limit = LIMIT if kind in ("DIR", "digits") or "own-pictures" in page.name else ()
        place = () if root or kind == "digits" else ("--data.root", "DIR")
        shipped = (recipe.model.name, recipe.model.width) == ("ghostnetv3_small", 1.0)
        run([*words, *place, *SHORT, *limit, *(TRAINED if shipped else ())])
        # Kept apart, for a page may write into its own.
        name = one if taught else kind
        page.runs[name] = page.folder.parent / f"run {len(page.runs)}"
        shutil.copytree(args.out, page.runs[name])
    else:
        page.stand_in(args.out, one if taught and one in page.runs else kind)


def export(page: Page, words: list[str], args: argparse.Namespace) -> None:
    """The first export to some formats; copies of its files in place of others."""
    out = args.out or default_folder(args.path)
    kind = f"export to {args.formats}, {args.int8}, {args.input}"
    if kind not in page.runs:
        run(words)
        page.runs[kind] = page.folder.parent / f"run {len(page.runs)}"
        shutil.copytree(out, page.runs[kind])
    page.stand_in(out, kind)


def recipe_of(args: argparse.Namespace) -> Recipe:
    """The recipe that a training would have, with everything given."""
    return read_recipe(None if args.recipe is None else find_recipe(args.recipe), args.overrides)


def run(words: list[str]) -> str:
    """Run a command in this process; its standard output."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        status = cli.main(words)
    assert status == 0, f"{shlex.join(words)} ended with {status}"
    return output.getvalue()


def parsed(words: list[str], commands: Commands = COMMANDS) -> tuple[argparse.Namespace, str]:
    """A command's words read by its own parser, recipes and settings too; and its name."""
    found: list[tuple[argparse.Namespace, str]] = []
    with contextlib.redirect_stdout(io.StringIO()):
        dispatch(words, _only_read(commands, found))
    if not found and any(word.startswith("--help") for word in words):
        return argparse.Namespace(), "help"
    ((args, name),) = found
    if hasattr(args, "recipe") and getattr(args, "resume", None) is None:
        recipe_of(args)
    elif name == "study":
        assert find_study(args.study).is_file()
    elif args.overrides:
        read_recipe(None, args.overrides)
    return args, name


def _only_read(commands: Commands, found: list[Any], before: str = "") -> Commands:
    """``commands``, which do nothing but to note what they were given."""

    def noting(name: str, one: Command) -> Command:
        return replace(one, run=lambda args: found.append((args, name)), show=lambda value: None)

    return {
        name: noting(before + name, one)
        if isinstance(one, Command)
        else _only_read(one, found, f"{before}{name} ")
        for name, one in commands.items()
    }


def program(words: list[str]) -> None:
    """Another program's options by its own parser, its files by whether they are there."""
    if words[:2] == ["python", "tools/maintain.py"]:
        parsed(words[2:], maintain.COMMANDS)
    elif words[0] == "python":
        script(words[1:])
    elif words[0] == "make":
        subprocess.run(["make", "--dry-run", *words[1:]], cwd=ROOT, check=True, capture_output=True)
    elif words[0] == "pip":
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        named = re.findall(r"\[([\w,]+)\]", words[-1])
        assert named and set(named[0].split(",")) <= set(extras["optional-dependencies"]), words
    else:
        start = words.index("-m")
        assert words[start + 1] == "ghostnet_small"
        parsed(words[start + 2 :])
        launcher(words[0])(words[1:])


def inline(page: Page, block: Block) -> None:
    """A command within text: run where the front page has it, else read."""
    words = [NAMES.get(word, word) for word in shlex.split(block.text)[1:]]
    if words[0] in SYNOPSES:
        return
    if page.name == "README.md":
        command(page, words)
    elif len(words) > 1 and not set(words) & set(SYNOPSES):
        parsed(words)
    else:
        assert words[0] in COMMANDS, block.where


def python(page: Page, block: Block) -> None:
    """The block, after those before it on the page."""
    output = io.StringIO()
    code = compile(block.text, block.where, "exec")
    if any(f'"{start}' in block.text for start in ELSEWHERE):
        return
    with contextlib.redirect_stdout(output):
        exec(code, page.names)
    page.printed = output.getvalue()


def yaml_file(page: Page, block: Block) -> None:
    """A study that could begin, or a recipe."""
    file = page.folder / (block.file or "block.yaml")
    file.write_text(block.text)
    if "students" in yaml.safe_load(block.text):
        plan_study(file, [], page.folder / "planned")
    else:
        read_recipe(file)


def c_file(page: Page, block: Block) -> None:
    """A file that compiles without a warning, with the header of what was exported before."""
    file = page.folder / (block.file or "block.c")
    file.write_text(block.text)
    folders = [f"-I{header.parent}" for header in page.folder.rglob("model.h")]
    strict = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
    subprocess.run(["cc", *strict, f"-I{page.folder}", *folders, str(file)], check=True)


def text(page: Page, block: Block) -> None:
    """What the block before it prints, where it follows one that was run as it is written."""
    if page.printed is not None:
        assert _lines(page.printed) == _lines(block.text), f"{block.where}: {page.printed}"


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines() if line.strip()]


WAYS: dict[str, Callable[[Page, Block], None]] = {
    "sh": shell,
    "inline": inline,
    "python": python,
    "yaml": yaml_file,
    "c": c_file,
    "text": text,
    # A layout of files; test_snippets.py holds that no command stands in one.
    "": text,
}
