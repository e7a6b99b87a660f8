"""Imports point one way, and the package alone needs neither timm nor torchvision."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "src" / "ghostnet_small"

LEAVES = {"errors", "version", "fields", "files", "plain_yaml", "tensorfile", "launcher", "hub"}
# What each room may import besides itself. A new room has to be entered here.
ROOMS = {
    "errors": set(),
    "launcher": {"errors"},
    "version": set(),
    "fields": set(),
    "files": {"errors"},
    "plain_yaml": set(),
    "tensorfile": {"errors", "files"},
    "hub": {"errors", "files"},
    "native": LEAVES,
    "nn": LEAVES | {"native"},
    "models": LEAVES | {"nn"},
    "gpu": LEAVES | {"native", "nn", "models"},
    "data": LEAVES,
    "train": LEAVES | {"data"},
    "distill": LEAVES | {"data", "train"},
    "deploy": LEAVES | {"native", "nn", "models"},
    "study": LEAVES | {"nn", "models", "gpu", "data", "train", "distill", "deploy"},
    "demo": LEAVES | {"nn", "models", "data", "deploy", "study"},
    "timm_models": LEAVES | {"nn", "models"},
    "__init__": LEAVES | {"nn", "models", "data", "train", "distill", "study"},
    "terminal": LEAVES,
    "speed_terminal": LEAVES | {"terminal"},
    "deploy_terminal": LEAVES | {"command", "terminal"},
    "command": set(),
    "benchmark_commands": LEAVES
    | {"models", "deploy", "study", "speed_terminal", "deploy_terminal", "command"},
    "demo_command": LEAVES | {"study", "demo", "command"},
    "deploy_command": LEAVES | {"deploy", "study", "command", "terminal"},
    "hub_command": LEAVES | {"study", "command", "terminal"},
    "models_command": LEAVES | {"deploy", "study", "demo", "command", "terminal"},
    "results_command": LEAVES | {"study", "command"},
    "several_command": LEAVES | {"train", "study", "command", "terminal"},
    "study_command": LEAVES | {"study", "command", "several_command", "terminal"},
    "train_command": LEAVES | {"train", "study", "terminal", "command", "several_command"},
    "commands": LEAVES
    | {"nn", "models", "data", "train", "study", "terminal"}
    | {"command", "benchmark_commands", "demo_command", "deploy_command", "hub_command"}
    | {"models_command", "results_command", "study_command", "train_command"},
    "cli": LEAVES | {"study", "command", "commands"},
    "__main__": {"cli"},
}


def room_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def rooms_imported(source: str) -> set[str]:
    """The rooms that a module's source imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: write the import in full"
            # `from ghostnet_small import data` names the room after the import.
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            package, _, rest = name.partition(".")
            if package == "ghostnet_small":
                found.add(rest.partition(".")[0] or "__init__")
    return found


def test_the_reader_of_imports_sees_every_form() -> None:
    source = (
        "import ghostnet_small.nn.ghost\n"
        "from ghostnet_small import models\n"
        "from ghostnet_small.data.split import x\n"
        "def f():\n    import ghostnet_small\n    import torch\n"
    )
    assert rooms_imported(source) == {"nn", "models", "data", "__init__"}


@pytest.mark.parametrize(
    "file", sorted(PACKAGE.rglob("*.py")), ids=lambda file: str(file.relative_to(PACKAGE))
)
def test_imports_point_one_way(file: Path) -> None:
    room = room_of(file)
    assert room in ROOMS, f"room {room!r} is new: say in ROOMS what it may import"
    upward = rooms_imported(file.read_text()) - ROOMS[room] - {room}
    assert not upward, f"{room} must not import {', '.join(sorted(upward))}"


def test_the_package_alone_imports_neither_timm_nor_torchvision() -> None:
    program = (
        "import sys, ghostnet_small\n"
        "print(*sorted({'timm', 'torchvision'} & set(sys.modules)), end='')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
