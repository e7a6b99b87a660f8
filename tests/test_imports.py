"""Imports point one way, and the package alone needs neither timm nor torchvision."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "src" / "ghostnet_small"

LEAVES = {
    *(
        "callable_package",
        "errors",
        "fields",
        "files",
        "hub",
        "launcher",
        "option_values",
        "plain_yaml",
        "platforms",
        "provenance",
        "streams",
    ),
    *("tensorfile", "version"),
}
RECIPE = {"data", "train", "distill", "nn", "models", "recipe"}
# What each room may import besides itself, the leaves first. A new room has to be entered here.
ROOMS = {
    "callable_package": set(),
    "errors": set(),
    "option_values": set(),
    "fields": set(),
    "plain_yaml": set(),
    "version": set(),
    "streams": set(),
    "platforms": {"errors"},
    "files": {"errors", "platforms"},
    "launcher": {"errors"},
    "tensorfile": {"errors", "files"},
    "hub": {"errors", "files"},
    "provenance": {"errors", "files", "platforms", "version"},
    "nn": LEAVES,
    "models": LEAVES | {"nn"},
    "fast": LEAVES | {"nn", "models"},
    "data": LEAVES,
    "train": LEAVES | {"data", "fast"},
    "distill": LEAVES | {"data", "train"},
    "deploy": LEAVES | {"nn", "models", "fast"},
    "recipe": LEAVES | RECIPE,
    "use": LEAVES | RECIPE | {"fast", "deploy"},
    "run": LEAVES | RECIPE | {"fast", "deploy", "use"},
    "study": LEAVES | RECIPE | {"run"},
    "report": LEAVES | {"recipe", "run", "study"},
    "benchmark": LEAVES | RECIPE | {"fast", "deploy", "use", "run", "report"},
    "publish": LEAVES | RECIPE | {"run", "report"},
    "demo": LEAVES | RECIPE | {"deploy", "use", "run", "publish"},
    "fit": LEAVES
    | RECIPE
    | {"fast", "deploy", "use", "run", "study", "report", "benchmark", "publish"},
    "timm_models": LEAVES | {"nn", "models"},
    "cli": LEAVES
    | RECIPE
    | {"deploy", "use", "run", "study", "report", "benchmark", "publish", "demo", "fit"},
    "verbs": LEAVES | RECIPE | {"use", "run", "study", "fit"},
    "__init__": LEAVES | RECIPE | {"use", "run", "verbs"},
    "__main__": {"cli"},
}
# No room holds more than this share of the package's lines.
BIGGEST = 0.18


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


def test_no_room_is_too_big() -> None:
    lines = Counter[str]()
    for file in PACKAGE.rglob("*.py"):
        lines[room_of(file)] += len(file.read_text().splitlines())
    room, most = lines.most_common(1)[0]
    share = most / lines.total()
    assert share <= BIGGEST, f"{room} holds {share:.1%} of the package's lines"


def test_no_two_files_have_one_name() -> None:
    """Settings, a command's own file and the fast twin of a block bear its name."""
    places: dict[str, list[str]] = {}
    for file in PACKAGE.rglob("*.py"):
        room = file.relative_to(PACKAGE).parts[0]
        if room not in ("cli", "fast") and file.name not in ("__init__.py", "settings.py"):
            places.setdefault(file.name, []).append(str(file.relative_to(PACKAGE)))
    assert [names for names in places.values() if len(names) > 1] == []
