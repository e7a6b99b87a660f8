"""The script of ``completion``, in a real shell."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ghostnet_small import cli
from ghostnet_small.cli.command import Command, Commands
from ghostnet_small.cli.commands import COMMANDS
from ghostnet_small.cli.program import Parser


def printed(shell: str) -> str:
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        assert cli.main(["completion", shell]) == 0
    return output.getvalue()


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("completion") / "script.bash"
    file.write_text(printed("bash"))
    return file


# What bash does at a tab, and then `compgen`'s files where a function has no answer.
TAB = """
source {script}
COMP_WORDS=({words})
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_ghostnet_small
printf '%s\\n' "${{COMPREPLY[@]}}"
complete -p ghostnet-small
"""


def completed(script: Path, *words: str) -> list[str]:
    """What a tab behind ``words`` offers; the last of them is the one to complete."""
    program = TAB.format(script=script, words=shlex.join(["ghostnet-small", *words]))
    done = subprocess.run(
        ["bash", "--norc", "-c", program],
        capture_output=True,
        text=True,
        # No Python: a tab does not wait for it.
        env={**os.environ, "PATH": "/no/such/folder"},
        executable=shutil.which("bash"),
    )
    assert done.stderr == "" and done.returncode == 0
    *found, registered = done.stdout.splitlines()
    assert registered == "complete -o default -F _ghostnet_small ghostnet-small"
    return [word for word in found if word]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["pre"], ["predict"]),
        (["--v"], ["--version"]),
        (["benchmark", "d"], ["distill", "deploy"]),
        (["benchmark", "--h"], ["--help"]),
        (["predict", "--to"], ["--top"]),
        (["train", "RECIPE", "--se"], ["--seeds"]),
        (["train", "--train.epo"], ["--train.epochs"]),
        (["data", "--train.epo"], []),
        (["evaluate", "RUN", "--split", "t"], ["test", "train"]),
        (["evaluate", "RUN", "--split", ""], ["test", "validation", "train"]),
        (["completion", ""], ["bash", "zsh"]),
        # Files, by the shell's own means.
        (["predict", ""], []),
        (["evaluate", "--out", "run"], []),
        (["gone", "--j"], []),
    ],
    ids=lambda words: " ".join(words) or "-",
)
def test_a_tab_in_bash(script: Path, words: list[str], offered: list[str]) -> None:
    assert completed(script, *words) == offered


def every(commands: Commands = COMMANDS, before: tuple[str, ...] = ()) -> Iterator[tuple]:
    for name, found in commands.items():
        if isinstance(found, Command):
            yield (*before, name), found
        else:
            yield from every(found, (*before, name))


def test_each_command_offers_all_that_its_parser_takes(script: Path) -> None:
    assert set(completed(script, "")) == {*COMMANDS, "--help", "--version"}
    found = dict(every())
    assert ("benchmark", "deploy") in found
    text = script.read_text()
    for words, command in found.items():
        parser = Parser(" ".join(words), command)
        options = {*parser._option_string_actions, *(f"--{key}" for key in parser.settings)}
        (line,) = (
            one
            for one in text.splitlines()
            if one.strip().startswith(f'"{" ".join(words)}:"*":-"*')
        )
        assert set(shlex.split(line.partition("offered=")[2])[0].split()) == options - {"-h"}


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
@pytest.mark.parametrize(
    ("words", "offered"),
    [("ghostnet-small benchmark d", ["distill", "deploy"]), ("ghostnet-small tra", ["train"])],
)
def test_a_tab_in_zsh(tmp_path: Path, words: str, offered: list[str]) -> None:
    """In the options that ``bashcompinit`` sets around a function of bash."""
    (tmp_path / "script.zsh").write_text(printed("zsh"))
    program = (
        f"source {tmp_path}/script.zsh || exit 4\n"
        "[[ -n ${_comps[ghostnet-small]} ]] || exit 3\n"
        "tab() {\n"
        "    emulate -L sh; setopt kshglob noshglob braceexpand\n"
        f"    COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n"
        "    _ghostnet_small; print -l -- ${COMPREPLY[@]}\n"
        "}\n"
        "tab\n"
    )
    done = subprocess.run(
        ["zsh", "-f", "-c", program],
        capture_output=True,
        text=True,
        env=os.environ | {"HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    # Which of them fit the word is the business of zsh.
    fitting = [one for one in done.stdout.split() if one.startswith(words.split()[-1])]
    assert fitting == offered


def test_an_unknown_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", "fish"]) == 2
    said = capsys.readouterr().err
    assert "fish" in said and "bash" in said and "zsh" in said
