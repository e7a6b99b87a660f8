"""What a command costs before it works, and what it prints wherever its output goes."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

import ghostnet_small as gns
from ghostnet_small.command import Command, Commands
from ghostnet_small.commands import COMMANDS
from ghostnet_small.deploy.description import Input
from ghostnet_small.deploy.formats import FORMATS
from ghostnet_small.models.peers import PEERS
from ghostnet_small.study import distill_speed, option_values, train_speed
from makers import make_folder

HEAVY = (
    *("torch", "numpy", "matplotlib", "datasets", "accelerate", "jsonargparse", "sklearn", "PIL"),
    *("huggingface_hub", "safetensors", "rich", "yaml"),
)


def heavy_after(*commands: list[str]) -> dict[str, list[str]]:
    """The heavy libraries that a fresh process holds after each of ``commands``."""
    program = (
        "import contextlib, io, json, sys\nfrom ghostnet_small.cli import main\nfound = {}\n"
        f"for words in {commands!r}:\n"
        "    with contextlib.redirect_stdout(io.StringIO()):\n"
        "        status = main(words)\n"
        "    assert status == 0, words\n"
        f"    found[' '.join(words)] = sorted({HEAVY!r} & sys.modules.keys())\n"
        "print(json.dumps(found))\n"
    ).replace(f"{HEAVY!r} &", f"set({HEAVY!r}) &")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


def all_names(commands: Commands = COMMANDS) -> list[list[str]]:
    """The words of every command, and of those that lead to others."""
    found = []
    for name, one in commands.items():
        found.append([name])
        if not isinstance(one, Command):
            found += [[name, *words] for words in all_names(one)]
    return found


def test_help_version_and_list_need_no_heavy_library() -> None:
    helps = [[*words, "--help"] for words in all_names()]
    assert ["benchmark", "deploy", "--help"] in helps and len(helps) > 20
    found = heavy_after(["--version"], ["--help"], *helps)
    assert {words: names for words, names in found.items() if names} == {}


def test_the_list_of_models_needs_only_what_draws_its_table() -> None:
    (found,) = heavy_after(["models"]).values()
    assert found == ["rich"]


def test_a_mistake_in_a_commands_own_words_is_told_at_once() -> None:
    program = (
        "import sys\nfrom ghostnet_small.cli import main\n"
        "assert main(['evaluate']) == main(['train', '--seeds', 'x']) == 2\n"
        "sys.exit('torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_package_imports_what_is_asked_for() -> None:
    program = (
        "import sys\nimport ghostnet_small as gns\n"
        "assert 'torch' not in sys.modules\n"
        "assert set(gns.__all__) <= set(dir(gns))\n"
        "assert gns.list_weights() and issubclass(gns.InputError, ValueError)\n"
        "assert 'torch' not in sys.modules\n"
        "from ghostnet_small import *\n"
        "assert load is gns.load and 'torch' in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", gns.__all__)
def test_each_name_of_the_package_is_that_of_its_module(name: str) -> None:
    module = gns._MODULES.get(name)
    if module is not None:
        home = importlib.import_module(f"ghostnet_small.{module}")
        assert getattr(gns, name) is getattr(home, name)
    assert getattr(gns, name) is not None


def test_an_unknown_name_of_the_package_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'ghostnet_small' has no attribute 'laod'"):
        gns.laod  # noqa: B018


def test_predict_leaves_alone_what_only_trainings_need(picture: Path) -> None:
    (found,) = heavy_after(["predict", gns.list_weights()[0], str(picture)]).values()
    assert found == ["PIL", "numpy", "safetensors", "torch"]


def test_garbage_is_searched_for_again_once_torch_is_there() -> None:
    program = (
        "import gc\nfrom ghostnet_small.command import import_torch\nimport_torch()\n"
        "kept = gc.get_freeze_count()\n"
        "assert gc.isenabled() and kept > 100_000\n"
        "import_torch()\n"
        "assert gc.isenabled() and gc.get_freeze_count() == kept\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_helps_name_what_there_is() -> None:
    assert tuple(FORMATS) == option_values.FORMATS
    assert get_args(Input) == option_values.INPUTS
    assert train_speed.USUAL == option_values.TRAIN_VARIANTS
    every = (*option_values.TRAIN_VARIANTS, *option_values.COMPILED_TRAIN_VARIANTS)
    assert tuple(train_speed.VARIANTS) == every
    assert tuple(distill_speed.VARIANTS) == option_values.DISTILL_VARIANTS
    assert tuple(PEERS) == option_values.PEERS


# Where the output goes ------------------------------------------------------------------------

PROGRAM = f"'{sys.executable}' -m ghostnet_small"
NAMES = ("Gänse", "猫", "собака")


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from PIL import Image

    file = tmp_path_factory.mktemp("pictures") / "Gänse 猫.png"
    Image.linear_gradient("L").resize((32, 32)).convert("RGB").save(file)
    return file


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("named") / "data", classes=NAMES, size=8)


def shell(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", line],
        capture_output=True,
        text=True,
        errors="replace",
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "latin-1"},
    ],
    ids=["ascii", "C", "latin-1"],
)
def test_what_the_terminal_cannot_show_is_escaped(named: Path, environment: dict[str, str]) -> None:
    done = shell(f"{PROGRAM} data --data.root '{named}' --data.cache off", **environment)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    # In the C locale the names of files, and with them of classes, are bytes that say nothing.
    assert (r"\udce7\udc8c\udcab" if "LC_ALL" in environment else r"\u732b") in done.stdout


def test_errors_are_told_in_any_encoding(tmp_path: Path) -> None:
    done = shell(f"{PROGRAM} data --data.root '{tmp_path}/猫'", PYTHONIOENCODING="ascii:strict")
    assert done.returncode == 2 and r"\u732b" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_error(picture: Path, closed: str) -> None:
    weights = gns.list_weights()[0]
    done = shell(f"{PROGRAM} predict {weights} '{picture}' {closed}")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert (picture.name in done.stdout) == (">&-" not in closed.split())
    # Nor do they hide one.
    assert shell(f"{PROGRAM} predict {weights} gone.png {closed}").returncode == 2


def test_a_child_of_a_program_without_output_has_one() -> None:
    program = (
        "import subprocess, sys; from ghostnet_small.command import open_streams; open_streams();"
        "sys.exit(subprocess.run(['sh', '-c', 'echo x && echo y >&2']).returncode)"
    )
    assert shell(f"'{sys.executable}' -c \"{program}\" >&- 2>&-").returncode == 0


@pytest.mark.parametrize("errors", ["replace", "xmlcharrefreplace"])
def test_who_asks_for_another_way_gets_it(named: Path, errors: str) -> None:
    line = f"{PROGRAM} data --data.root '{named}' --data.cache off"
    done = shell(line, PYTHONIOENCODING=f"ascii:{errors}")
    assert done.returncode == 0 and r"\u732b" not in done.stdout
    assert ("&#29483;" if errors == "xmlcharrefreplace" else "?") in done.stdout
