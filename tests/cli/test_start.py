"""The imports of a command before it works, and its output to any kind of stream."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from PIL import Image

import ghostnet_small as gns
from fresh_process import output_of
from ghostnet_small import option_values
from ghostnet_small.benchmark import distill_speed, train_variants
from ghostnet_small.cli.command import Command, Commands
from ghostnet_small.cli.commands import COMMANDS
from ghostnet_small.deploy.description import Input
from ghostnet_small.models.peers import PEERS
from ghostnet_small.models.shipped_weights import shipped_weights

HEAVY = (
    *("torch", "numpy", "matplotlib", "datasets", "accelerate", "pydantic", "sklearn", "PIL"),
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
        f"    found[' '.join(words)] = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "print(json.dumps(found))\n"
    )
    found: dict[str, list[str]] = json.loads(output_of(program))
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
    assert ["benchmark", "deploy", "--help"] in helps and len(helps) > 15
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
    output_of(program)


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
    output_of(program)


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


def test_predict_leaves_alone_what_only_trainings_need(tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    Image.linear_gradient("L").resize((32, 32)).save(picture)
    (found,) = heavy_after(["predict", gns.list_weights()[0], str(picture)]).values()
    assert sorted(found) == ["PIL", "numpy", "safetensors", "torch"]


def test_garbage_is_searched_for_again_once_torch_is_there() -> None:
    program = (
        "import gc\nfrom ghostnet_small.cli.command import import_torch\nimport_torch()\n"
        "kept = gc.get_freeze_count()\n"
        "assert gc.isenabled() and kept > 100_000\n"
        "import_torch()\n"
        "assert gc.isenabled() and gc.get_freeze_count() == kept\n"
    )
    output_of(program)


def test_helps_name_what_there_is() -> None:
    assert get_args(Input) == option_values.INPUTS
    assert train_variants.USUAL == option_values.TRAIN_VARIANTS
    every = (*option_values.TRAIN_VARIANTS, *option_values.COMPILED_TRAIN_VARIANTS)
    assert tuple(train_variants.VARIANTS) == every
    assert tuple(distill_speed.VARIANTS) == option_values.DISTILL_VARIANTS
    assert tuple(PEERS) == option_values.PEERS


# Where the output goes ------------------------------------------------------------------------

# The program, with other weights beside it than its own.
LISTING = """
import sys
from pathlib import Path
from ghostnet_small.models import shipped_weights
shipped_weights.FOLDERS = (Path(__file__).parent / "weights",)
from ghostnet_small.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def listing(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A program whose ``models`` have names that few encodings hold, as a shell's words."""
    folder = tmp_path_factory.mktemp("listing")
    (folder / "weights").mkdir()
    for name in ("Gänse", "猫"):
        (folder / "weights" / name).symlink_to(shipped_weights()[gns.list_weights()[0]])
    (folder / "listing.py").write_text(LISTING)
    return f"'{sys.executable}' '{folder / 'listing.py'}'"


def shell(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", line],
        capture_output=True,
        text=True,
        errors="replace",
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize(
    ("environment", "shown"),
    [
        ({"PYTHONIOENCODING": "ascii"}, r"\u732b"),
        ({"PYTHONIOENCODING": "latin-1"}, r"\u732b"),
        # The names of files are bytes there, of an encoding that nobody tells.
        (
            {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
            r"\udce7\udc8c\udcab",
        ),
        # Who asks for another way gets it.
        ({"PYTHONIOENCODING": "ascii:xmlcharrefreplace"}, "&#29483;"),
        ({"PYTHONIOENCODING": "utf-8"}, "猫"),
    ],
    ids=["ascii", "latin-1", "C", "xml", "utf-8"],
)
def test_what_the_output_cannot_hold_is_escaped(
    listing: str, environment: dict[str, str], shown: str
) -> None:
    done = shell(f"{listing} models", **environment)
    assert done.returncode == 0 and done.stderr == ""
    assert shown in done.stdout


def test_errors_are_told_in_any_encoding(listing: str) -> None:
    done = shell(f"{listing} models 狗", PYTHONIOENCODING="ascii")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert r"\u72d7" in done.stderr and r"\u732b" in done.stderr


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_error(listing: str, closed: str) -> None:
    done = shell(f"{listing} models {closed}")
    assert done.returncode == 0 and done.stderr == ""
    assert ("Gänse" in done.stdout) == (">&-" not in closed.split())
    # Nor do they hide one.
    assert shell(f"{listing} models gone {closed}").returncode == 2


def test_libraries_have_somewhere_to_print_where_the_streams_are_closed() -> None:
    program = (
        "import subprocess, sys\n"
        "from ghostnet_small.streams import libraries_apart, open_streams\n"
        "open_streams(); "
        "child = ['sh', '-c', 'echo x && echo y >&2']; "
        "first = subprocess.run(child).returncode\n"
        "with libraries_apart(): print(subprocess.run(child).returncode)\n"
        "sys.exit(first)"
    )
    done = shell(f"'{sys.executable}' -c \"{program}\" >&- 2>&-")
    assert done.returncode == 0 and done.stdout == ""
