"""Claim: a training that is killed again and again ends in the same files, bit for bit.

A small CPU training on made images saves its state after every step and is killed (SIGKILL) at
random moments: after a random time, while a file is being written, right after one was replaced,
between the files of an epoch's end, while its plots are drawn. It is then started again by the
ordinary command, until it is finished; all its files, apart from times, are compared with those of
an undisturbed training. Trainings follow one another until there were enough kills.

    python tools/reliability/kill.py --kills 200 --record results/kills.jsonl

To make many kills affordable most trainings are forked from this process, which has imported all
they need and has computed nothing; every --command-every th is a process of its own.
Exit status 1 where a training does not end in the same files.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Before torch: one thread, so that a fork leaves no other thread behind.
os.environ["OMP_NUM_THREADS"] = "1"

from PIL import Image

from ghostnet_small.cli import main as command
from ghostnet_small.errors import InputError
from ghostnet_small.launcher import PYTHON
from ghostnet_small.tensorfile import read_tensors

EPOCHS = 2
SETTINGS = (
    *("--model.width", "0.1", "--data.validation", "0.25"),
    *("--augment.crop_padding", "1", "--train.batch_size", "16", "--train.epochs", str(EPOCHS)),
    *("--train.accumulate", "2", "--train.ema_decay", "0.9", "--train.clip_norm", "1"),
    *("--train.device", "cpu", "--train.threads", "1", "--train.checkpoint_seconds", "0"),
)
# What depends on the clock, on how often the training was started and on the state of a checkout.
FREE = ("seconds", "images_per_s", "wall_seconds", "sessions", "digest", "commit", "dirty")
FREE += ("epoch_seconds",)
FILES = ("state.safetensors", "metrics.jsonl", "summary.json")
FILES += tuple(f"{kind}/{file}" for kind in ("last", "best") for file in ("model.safetensors",))
INSIDE, BEFORE, BETWEEN = "inside a save", "before the first state", "between an epoch's files"
AFTER, ELSEWHERE = "after the last epoch", "elsewhere"


# What a training imports on its way, the slowest of it late.
IMPORTS = ("ghostnet_small.run.start", "ghostnet_small.run.run_plots")
IMPORTS += (
    "torch._dynamo",
    "sklearn.metrics",
    "PIL.PngImagePlugin",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
    "accelerate",
)


def warm_up() -> None:
    """Import what a training needs, and compute nothing: a fork loses no thread."""
    for name in IMPORTS:
        importlib.import_module(name)


class Process:
    """A running training, forked or as a command of its own; its output goes to ``log``."""

    def __init__(self, words: list[str], log: Path, own: bool) -> None:
        self.log = log
        sys.stdout.flush()
        self.number = os.fork()
        if self.number == 0:
            status = 70
            try:
                sys.stdout = sys.stderr = log.open("w", buffering=1)
                if own:
                    os.dup2(sys.stdout.fileno(), 1)
                    os.dup2(sys.stdout.fileno(), 2)
                    os.execv(PYTHON[0], [*PYTHON, "-m", "ghostnet_small", *words])
                status = command(words)
            except BaseException:
                traceback.print_exc()  # before the exit below hides it
            finally:
                os._exit(status)

    def ended(self) -> bool:
        """Return whether it has ended by itself; raises ``RuntimeError`` where it failed."""
        number, status = os.waitpid(self.number, os.WNOHANG)
        if number and status:
            raise RuntimeError(f"status {status}: {self.log.read_text()}")
        return bool(number)

    def kill(self) -> bool:
        """Kill it as a loss of power would; returns whether it was still running."""
        os.kill(self.number, signal.SIGKILL)
        _, status = os.waitpid(self.number, 0)
        return os.WIFSIGNALED(status)


def make_set(root: Path) -> None:
    """Noise of 8x8 in two classes, so few that drawing the answers takes little time."""
    noise = random.Random(0)
    for split, count in (("train", 24), ("test", 2)):
        for name in ("ant", "bee"):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                picture = Image.frombytes("L", (8, 8), noise.randbytes(64))
                picture.save(root / split / name / f"{number:02}.png")


def words_for(folder: Path) -> list[str]:
    """Return the command that a user would give now, to start or to go on."""
    if (folder / "recipe.yaml").is_file():
        return ["train", "--resume", str(folder)]
    data = folder.parent / "data"
    return ["train", "--data.root", str(data), *SETTINGS, "--out", str(folder)]


def moment(folder: Path, chance: random.Random, seconds: float) -> Callable[[], bool]:
    """A random moment to kill at, as a function that says whether it has come."""
    partials = [folder / file for file in FILES]
    partials = [path.with_name(f".{path.name}.partial") for path in partials]
    state, begun = folder / FILES[0], time.monotonic()
    late = chance.uniform(0, 0.6 * seconds)
    left, seen = chance.randrange(1, 6), _identity(state)
    delay = chance.choice((0, 0, chance.uniform(0, 0.002)))
    kind = chance.choice(("time", "start", "partial", "partial", "replaced", "epoch", "end"))

    def come() -> bool:
        nonlocal left, seen
        if kind == "time":
            return time.monotonic() - begun > late
        if kind == "start":
            return time.monotonic() - begun > 0.2 * late
        if kind == "partial":
            left -= any(path.exists() for path in partials)
        elif kind == "replaced":
            now = _identity(state)
            left, seen = left - (now != seen), now
        elif kind == "epoch":
            left -= 3 * any(path.exists() for path in partials[1:])
        elif (folder / "pictures").exists():
            left = 0
        if left <= 0:
            time.sleep(delay if kind != "replaced" else 0)
        return left <= 0

    return come


def _identity(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0, 0
    return found.st_ino, found.st_mtime_ns


def where_killed(folder: Path) -> str:
    """Return the work that a kill fell in, by the files that it left; raises ``InputError`` where a
    file is damaged.
    """
    left = [*folder.rglob(".*.partial"), *folder.parent.glob(f".{folder.name}.partial")]
    state = folder / FILES[0]
    rows = []
    if state.exists():
        rows = read_tensors(state)[1]["counters"]["rows"]
    if left:
        return INSIDE
    if not state.exists():
        return BEFORE
    metrics = folder / "metrics.jsonl"
    written = len(metrics.read_text().splitlines()) if metrics.exists() else 0
    weights = [_identity(folder / file)[1] for file in FILES[3:]]
    if written > len(rows) or max(weights) > _identity(state)[1]:
        return BETWEEN
    return AFTER if len(rows) == EPOCHS else ELSEWHERE


def differences(folder: Path, whole: Path) -> list[str]:
    """The files of ``folder`` that are not those of ``whole``."""
    ours, theirs = _files(folder), _files(whole)
    found = [f"{name} is in one of them only" for name in sorted(ours ^ theirs)]
    return found + [
        name for name in sorted(ours & theirs) if _content(folder / name) != _content(whole / name)
    ]


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def _content(file: Path) -> Any:
    """Return the part of a file that must be the same."""
    if "state" in file.name:
        tensors, values = read_tensors(file)
        plain = {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}
        return plain, timeless(values)
    if file.suffix == ".jsonl":
        return [timeless(json.loads(line)) for line in file.read_text().splitlines()]
    if file.name == "summary.json":
        return timeless(json.loads(file.read_text()))
    return file.read_bytes()


def timeless(value: Any) -> Any:
    """Return ``value`` without what depends on the clock, at any depth."""
    if isinstance(value, dict):
        return {key: timeless(inner) for key, inner in value.items() if key not in FREE}
    return [timeless(inner) for inner in value] if isinstance(value, list) else value


def run_kills(
    kills: int, place: Path, *, command_every: int = 25, seed: int | None = None
) -> tuple[dict[str, Any], list[str]]:
    """Kill trainings below ``place`` so many times; returns the row, and what went wrong."""
    warm_up()
    began = time.monotonic()
    chance = random.Random(seed)
    make_set(place / "data")
    whole = place / "undisturbed"
    process = Process(words_for(whole), place / "log", own=False)
    while not process.ended():
        time.sleep(0.01)
    seconds = time.monotonic() - began
    done, own, trainings, wrong = 0, 0, 0, []
    places: Counter[str] = Counter()
    while done < kills or trainings == 0:
        folder = place / "killed"
        try:
            while True:
                by_command = command_every > 0 and (done + 1) % command_every == 0
                process = Process(words_for(folder), place / "log", own=by_command)
                come = moment(folder, chance, seconds + 5 * by_command)
                ended = False
                while not (ended := process.ended()) and (done >= kills or not come()):
                    time.sleep(0.0002 if done < kills else 0.01)
                if ended or not process.kill():
                    break
                done, own = done + 1, own + by_command
                places[where_killed(folder)] += 1
            wrong += differences(folder, whole)
        except (InputError, RuntimeError) as error:
            wrong.append(str(error))
        if wrong:
            shutil.copytree(folder, Path(tempfile.mkdtemp(prefix="killed-")) / "run")
        trainings += 1
        shutil.rmtree(folder, ignore_errors=True)
    row = {
        "kills": done,
        "trainings": trainings,
        **{name: places[name] for name in (INSIDE, BEFORE, BETWEEN, AFTER, ELSEWHERE)},
        "of a command": own,
        "files that differ": len(wrong),
        "minutes": round((time.monotonic() - began) / 60, 1),
    }
    return row, wrong


def main() -> int:
    """Kill, compare, print, and say by the exit status whether the claim holds."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--command-every", type=int, default=25, metavar="N", help="0: none")
    parser.add_argument("--seed", type=int, help="of the moments (random)")
    parser.add_argument("--record", type=Path, metavar="FILE.jsonl")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kills-") as place:
        row, wrong = run_kills(
            asked.kills, Path(place), command_every=asked.command_every, seed=asked.seed
        )
    print(row)
    for line in wrong:
        print(line, file=sys.stderr)
    if asked.record is not None:
        from ghostnet_small.provenance import provenance_row
        from ghostnet_small.run.records import append_row

        append_row({**row, **provenance_row()}, asked.record)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
