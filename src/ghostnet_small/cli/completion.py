"""``completion``: a script that completes this program's words in a shell, without starting it.

Behind a command, a word that begins with a dash is completed to the command's options and settings,
the value of an option with choices to one of them, and all else to a file.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from ghostnet_small.cli.command import PROGRAM, Command, Commands

SHELLS = ("bash", "zsh")

# zsh runs the functions of bash.
_ZSH = """\
autoload -Uz compinit bashcompinit
(( $+functions[compdef] )) || compinit
bashcompinit
"""
# ``at``: the words of the command; ``before``: the word before the one to complete.
_SCRIPT = """\
_ghostnet_small() {
    local at offered word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}"
    at="${COMP_WORDS[1]}"
    case "$at" in
        %s) at="$at ${COMP_WORDS[2]}" ;;
    esac
    if [ "$COMP_CWORD" = 1 ]; then at=; before=; fi
    if [ "$COMP_CWORD" = 2 ] && [ "$at" != "${COMP_WORDS[1]}" ]; then
        at="${COMP_WORDS[1]}"; before=
    fi
    case "$at:$before:$word" in
%s
    esac
    COMPREPLY=($(compgen -W "$offered" -- "$word"))
}
complete -o default -F _ghostnet_small %s
"""


def completion_options(parser: argparse.ArgumentParser) -> None:
    """The options of ``completion``."""
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help=" or ".join(SHELLS))
    parser.epilog = (
        f"bash: {PROGRAM} completion bash > ~/.local/share/bash-completion/completions/{PROGRAM}. "
        f"zsh: {PROGRAM} completion zsh > ~/.{PROGRAM}.zsh, and in ~/.zshrc: "
        f"source ~/.{PROGRAM}.zsh"
    )


def completion_script(shell: str, commands: Commands) -> str:
    """Return the script that ``shell`` reads to complete the words of ``commands``."""
    groups = [name for name, found in commands.items() if not isinstance(found, Command)]
    cases = "\n".join(
        f"        {pattern}) offered='{words}' ;;" for pattern, words in _cases(commands)
    )
    script = _SCRIPT % ("|".join(groups), cases, PROGRAM)
    return script if shell == "bash" else _ZSH + script


def show_script(script: str) -> None:
    """Print it."""
    print(script, end="")


def _cases(commands: Commands, before: str = "") -> Iterator[tuple[str, str]]:
    """Patterns of ``at:before:word``, the first that fits counts, and the words behind each."""
    for name, found in commands.items():
        if isinstance(found, Command):
            yield from _cases_of(before + name, found)
        else:
            yield from _cases(found, f"{before}{name} ")
    general = " --help" if before else " --help --version"
    yield f'"{before.strip()}::"*', " ".join(commands) + general


def _cases_of(name: str, command: Command) -> Iterator[tuple[str, str]]:
    parser = argparse.ArgumentParser(add_help=False)
    command.options(parser)
    options = ["--json", "--help"]
    for action in parser._actions:
        options += action.option_strings
        choices = " ".join(map(str, action.choices or ()))
        if choices and action.option_strings:
            for option in action.option_strings:
                yield f'"{name}:{option}:"*', choices
        elif choices:
            yield f'"{name}:{name.split()[-1]}:"*', choices
    if command.settings is not None:
        options += ["--help-settings", *(f"--{key}" for key in command.settings())]
    yield f'"{name}:"*":-"*', " ".join(options)
