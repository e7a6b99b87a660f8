"""Every command inside a folder of a stranger's: nothing there is imported, and nothing outside of
it is changed.

The folder holds a module of each name that Python or a library may ask for, which leaves a mark
when it is imported, and links to files outside under the names that commands write to.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from ghostnet_small.cli.commands import COMMANDS
from ghostnet_small.cli.program import _summaries
from maintain import COMMANDS as MAINTENANCE
from makers import make_folder
from small_run import WORDS
from small_study import SETTINGS

ROOT = Path(__file__).parents[2]
STUDY = f"name: tiny{SETTINGS}students:\n  strategies: {{plain: {{seeds: [0]}}}}\n"
SMALL = "--model.width 0.05 --train.batch_size 4 --train.device cpu --train.threads 1"

# The words of every command, in this order.
WORKING = {
    "train": f"{' '.join(WORDS)} --out made/run",
    "distill": f"{' '.join(WORDS)} --train.epochs 1 --teachers made/run"
    " --distill.cache made/targets --out made/kd",
    "evaluate": "made/run",
    "predict": "made/run pictures",
    "models": "",
    "completion": "bash",
    "info": "made/run",
    "fold": "made/run --out made/folded",
    "export": "made/run --formats onnx",
    "data": "--data.root pictures --save made/saved --count 2 --views made/views.png",
    "fit": "pictures --flash 100kB --minutes 30 --plan --out made/fit",
    "study": "tiny.yaml --out made/study",
    "report": "made/study",
    "record": "made/run made/results.jsonl",
    "tables": "made/README.md --results made",
    "benchmark train": f"{SMALL} --size 8 --variants plain --warm-up 1 --repetitions 1 --steps 1"
    " --record made/train.jsonl",
    "benchmark distill": f"{SMALL} --variants plain --repetitions 1 --steps 1",
    "benchmark deploy": "made/run/export/model.onnx --peers none --batch 1 --turns 1",
}
# They come as far as a folder without a hub, a browser and a committed checkout lets them.
TRYING = {
    "push": "made/run owner/name",
    "pull": "owner/name --out made/pulled",
    "demo": "made/run --port 0",
    "search": "made/search-x.jsonl made/run --keep 1",
    "ship": "made/run made/results.jsonl --to made/weights --no-demo",
    "queue": "tiny.yaml --results made --out made/queue.md",
}
# Where all that was made is a link to a file outside, or lies in a folder that is one.
LINKED = {
    "train": ("--resume linked/run", f"{' '.join(WORDS)} --seeds 0,1 --out linked"),
    "distill": (f"{' '.join(WORDS)} --teachers made/run --out linked --seeds 0,1",),
    "fold": ("made/run --out linked/folded",),
    "export": ("linked/run --formats onnx --force",),
    "data": (
        "--data.root pictures --save linked/saved",
        "--data.root pictures --views linked/views.png",
    ),
    "study": ("tiny.yaml --out linked/study",),
    "report": ("linked/study",),
    "record": ("made/kd linked/results.jsonl",),
    "search": ("linked/search-x.jsonl made/run --keep 1",),
    "ship": ("made/run linked/results.jsonl --to linked/weights --no-demo --force",),
    "queue": ("other.yaml --results linked --out linked/queue.md",),
    "pull": ("owner/name --out linked/pulled",),
}

# One process for all commands, which imports from where the program `ghostnet-small` does: the
# library takes seconds to import. Commands start processes of their own.
PROGRAM = """
import json, sys
from ghostnet_small.cli import main
from maintain import COMMANDS, main as maintain
from ghostnet_small.data.decoded.decode import _Helper, Format
from ghostnet_small.demo.server import DemoServer
from ghostnet_small.run import run_plots

DemoServer.serve = lambda self: None
run_plots.save_png = lambda figure, path: run_plots.write_atomic(path, b"PNG")
statuses = {}
for words in json.loads(sys.argv[1]):
    print("$", *words, file=sys.stderr, flush=True)
    statuses[" ".join(words)] = (maintain if words[0] in COMMANDS else main)(words)
with _Helper() as helper:
    block = helper.decode([open("picture.png", "rb").read()], ["a"], Format(1, 8, 1, 8, 8))
statuses["helper"] = 0 if block.kinds.tolist() == [1] else 1
print("\\n" + json.dumps(statuses))
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """``strange`` is the stranger's folder, ``mine`` holds files of the user's."""
    strange, mine = tmp_path / "strange", tmp_path / "mine"
    for folder in (strange / "made", mine):
        folder.mkdir(parents=True)
    make_folder(strange / "pictures", train=6, test=2, size=8)
    shutil.copy(next((strange / "pictures/test").rglob("*.png")), strange / "picture.png")
    (strange / "tiny.yaml").write_text(STUDY)
    # Of a set whose size is known, so that its page differs from that of the other.
    other = "name: other\nrecipe: gns-w1.0-cifar10\nstudents: {strategies: {a: {seeds: [0]}}}\n"
    (strange / "other.yaml").write_text(other)
    (strange / "made/README.md").write_text("# Nothing\n")
    names = {*sys.stdlib_module_names, *packages_distributions(), "ghostnet_small", "sitecustomize"}
    names |= {
        "usercustomize",
        "evidence",
        "maintain",
        "run",
        "small_run",
        "pkg_resources",
        "triton",
        "ray",
        "pip",
    }
    for name in filter(str.isidentifier, names):
        mark = tmp_path / "marks" / name
        (strange / f"{name}.py").write_text(f"open({str(mark)!r}, 'w').close()\nraise SystemExit\n")
    (tmp_path / "marks").mkdir()
    (mine / "victim").write_text("mine")
    for name in (".queue.md.partial", ".README.md.partial", ".results.jsonl.partial"):
        (strange / "made" / name).symlink_to(mine / "victim")
    return tmp_path


def run(place: Path, commands: list[list[str]]) -> tuple[dict[str, int], str]:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT / "tools"))),
        "HF_HUB_OFFLINE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM, json.dumps(commands)],
        cwd=place / "strange",
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


def content_of(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file and folder below, its time and its content; links as such."""
    return {
        str(path): (
            path.lstat().st_mtime_ns,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in folder.rglob("*")
    }


def link_all(made: Path, mine: Path, linked: Path) -> None:
    """Make ``linked`` look like ``made``; its files, and the folders that the program makes inside
    its own, are links to copies in ``mine``. What says whose folder it is, is a file."""
    shutil.copytree(made, mine, ignore=shutil.ignore_patterns(".*"))
    for folder, folders, files in os.walk(mine):
        here = linked / Path(folder).relative_to(mine)
        here.mkdir()
        for name in set(folders) & {"last", "best", "pictures", "plots", "logs", "export", "s0"}:
            (here / name).symlink_to(Path(folder) / name)
            folders.remove(name)
        for name in files:
            if name in ("recipe.yaml", "study.yaml"):
                shutil.copy(Path(folder) / name, here)
            else:
                (here / name).symlink_to(Path(folder) / name)
            (here / f".{name}.partial").symlink_to(mine.parent / "victim")


@pytest.mark.timeout(1500)
def test_no_command_imports_or_changes_what_it_must_not(place: Path) -> None:
    words_of = WORKING | TRYING
    every = {name for name, _ in _summaries({**COMMANDS, **MAINTENANCE})}
    assert set(words_of) == every, "a command has no words"
    commands = {name: [*name.split(), *words.split()] for name, words in words_of.items()}
    before = content_of(place / "mine")
    statuses, said = run(place, list(commands.values()))
    assert content_of(place / "mine") == before
    assert os.listdir(place / "marks") == []
    for name, words in commands.items():
        assert statuses[" ".join(words)] == 0 or name in TRYING, said
    assert statuses["helper"] == 0

    made, linked = place / "strange" / "made", place / "strange" / "linked"
    (made / "s0").mkdir()
    link_all(made, place / "mine" / "made", linked)
    (linked / "run/summary.json").unlink()
    before = content_of(place / "mine")
    given = [[*name.split(), *words.split()] for name, every in LINKED.items() for words in every]
    statuses, said = run(place, given)
    assert content_of(place / "mine") == before, said
    assert os.listdir(place / "marks") == []
    for words in given:
        # Weights of a checkout with changes are not shipped; others are, into a new folder.
        assert statuses[" ".join(words)] == 2 or words[0] == "ship", said
