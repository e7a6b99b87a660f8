"""Compare two checkouts of this repository: the same commands must leave the same files.

    python tools/compare_trees.py OLD NEW [--images DIR]

Each command runs once with the sources of OLD and once with those of NEW, in this Python and with
one thread. Compared are: recipe hashes and their YAML, the weights and curves of a run of two
epochs, a run that OLD began and NEW ends, folded weights, evaluations and predictions, exported C
in float32 and int8, the cache of decoded images, and a finished study that NEW finds complete.
Exit status 1 where something differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

RECIPES = """
import json
from pathlib import Path
try:
    from ghostnet_small.recipe.recipe import read_recipe
except ImportError:
    from ghostnet_small.study.recipe import read_recipe
found = {}
for file in sorted(Path("recipes").rglob("*.yaml")):
    if "studies" not in file.parts:
        recipe = read_recipe(file)
        found[str(file)] = recipe.hash()
print(json.dumps(found, default=str))
"""
STUDY = """
name: tiny
recipe: quickstart-digits
settings:
  model: {width: 0.1}
  data: {limit: 64}
  train: {epochs: 1, batch_size: 16, threads: 1, device: cpu}
students: {strategies: {plain: {seeds: [0, 1]}}}
"""
TRAIN = (
    "quickstart-digits",
    "--train.epochs",
    "2",
    "--train.threads",
    "1",
    "--train.device",
    "cpu",
)
# Keys that tell when and by what code a run was made, and how long it took.
# Settings that NEW has and OLD has not, at their defaults, as a recipe's YAML writes them.
ADDED = ("  log: []",)
VARYING = ("seconds", "images_per_s", "commit", "dirty", "libraries", "time", "started", "sessions")


class Tree:
    """A checkout, whose program runs in ``place``."""

    def __init__(self, root: Path, place: Path) -> None:
        self.root, self.place = root.resolve(), place
        place.mkdir(parents=True, exist_ok=True)
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(self.root / "src"),
            "PYTHONSAFEPATH": "1",
            "OMP_NUM_THREADS": "1",
            "GHOSTNET_CACHE": str(place.parent / "cache"),
        }

    def python(self, *words: str) -> str:
        """Run Python on this checkout's sources; its standard output."""
        done = subprocess.run(
            [sys.executable, *words],
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            sys.exit(f"{self.root}: {' '.join(words)} ended with {done.returncode}: {done.stderr}")
        return done.stdout

    def program(self, *words: object) -> str:
        """Run one command; its standard output."""
        return self.python("-m", "ghostnet_small", *map(str, words))

    def begin(self, out: Path) -> None:
        """Train until the first epoch is over, then stop by SIGTERM."""
        words = [sys.executable, "-m", "ghostnet_small", "train", *TRAIN, "--out", str(out)]
        more = ["--train.checkpoint_seconds", "0"]
        training = subprocess.Popen([*words, *more], cwd=self.root, env=self.environment)
        while training.poll() is None and not (out / "metrics.jsonl").exists():
            time.sleep(0.05)
        training.send_signal(signal.SIGTERM)
        training.wait()


def tensors(folder: Path, *patterns: str) -> dict[str, str]:
    """The SHA-256 of the tensors of safetensors files, without what is noted beside them.

    A setting that was added stands in the recipe that is noted there, and in no hash.
    """
    found = {}
    for pattern in patterns:
        for file in sorted(folder.glob(pattern)):
            data = file.read_bytes()
            head = 8 + int.from_bytes(data[:8], "little")
            names = {k: v for k, v in json.loads(data[8:head]).items() if k != "__metadata__"}
            sha = hashlib.sha256(json.dumps(names, sort_keys=True).encode() + data[head:])
            found[str(file.relative_to(folder))] = sha.hexdigest()
    return found


def settings_of(file: Path) -> list[str]:
    """The lines of a run's recipe without its digest and without settings that were added."""
    return [line for line in file.read_text().splitlines() if line[:1] != "#" and line not in ADDED]


def written(cache: Path) -> dict[str, int]:
    """When each file of decoded pixels was written, in ns."""
    return {str(file): file.stat().st_mtime_ns for file in sorted(cache.glob("*/pixels"))}


def digests(folder: Path, *patterns: str) -> dict[str, str]:
    """The SHA-256 of the files of ``folder`` that match, by their relative names."""
    files = sorted({file for pattern in patterns for file in folder.glob(pattern)})
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
        if file.is_file()
    }


def steady(value: Any) -> Any:
    """``value``, read from JSON, without what differs from run to run."""
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if not any(word in k for word in VARYING)}
        return {key: steady(inner) for key, inner in kept.items()}
    return [steady(inner) for inner in value] if isinstance(value, list) else value


def rows(file: Path) -> list[Any]:
    """The steady part of each JSON line."""
    return [steady(json.loads(line)) for line in file.read_text().splitlines()]


def results_of(tree: Tree, images: Path) -> dict[str, Any]:
    """Return the files and values that each command leaves, by name."""
    run, found = tree.place / "run", dict[str, Any]()
    found["recipes"] = json.loads(tree.python("-c", RECIPES))
    tree.program("train", *TRAIN, "--out", run)
    found["weights"] = tensors(run, "last/*.safetensors", "best/*.safetensors")
    found["recipe.yaml"] = settings_of(run / "recipe.yaml")
    found["curves"] = rows(run / "metrics.jsonl")
    found["evaluation"] = steady(json.loads(tree.program("evaluate", run, "--json")))
    del found["evaluation"]["weights"]
    answers = json.loads(tree.program("predict", run, images, "--json"))
    found["predictions"] = [{**one, "path": Path(one["path"]).name} for one in answers]
    tree.program("fold", run, "--out", tree.place / "folded")
    found["folded"] = tensors(tree.place / "folded", "*.safetensors")
    tree.program("export", run, "--formats", "c", "--int8", "--out", tree.place / "export")
    found["C"] = digests(tree.place / "export", "*.[ch]")
    found["data"] = json.loads(tree.program("data", "--data.root", images, "--json"))
    del found["data"]["cache"]["bytes"]  # it grows with the first use
    return found


def compare(old: Tree, new: Tree, images: Path) -> dict[str, bool]:
    """Return for each result whether it is the same."""
    before = results_of(old, images)
    decoded = written(old.place.parent / "cache")
    after = results_of(new, images)
    same = {name: before[name] == after[name] for name in before}
    # What OLD has decoded is read by NEW, not written again.
    same["cache"] = bool(decoded) and written(old.place.parent / "cache") == decoded
    begun = old.place / "begun"
    old.begin(begun)
    new.program("train", "--resume", begun)
    same["resumed"] = tensors(begun, "last/*.safetensors") == {
        name: digest for name, digest in after["weights"].items() if name.startswith("last/")
    }
    (old.place / "study.yaml").write_text(STUDY)
    out = old.place / "study"
    old.program("study", old.place / "study.yaml", "--out", out)
    kept = digests(out, "results.jsonl", "runs/*/summary.json", "runs/*/last/*")
    new.program("study", old.place / "study.yaml", "--out", out)
    same["study"] = kept == digests(out, "results.jsonl", "runs/*/summary.json", "runs/*/last/*")
    return same


def main() -> int:
    """Compare the two checkouts and print a line for each result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--images", type=Path, help="a folder of images, one folder per class")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        images = args.images or make_images(folder / "images")
        same = compare(Tree(args.old, folder / "old"), Tree(args.new, folder / "new"), images)
    for name, equal in same.items():
        print(f"{name}: {'the same' if equal else 'DIFFERENT'}")
    return 0 if all(same.values()) else 1


def make_images(root: Path) -> Path:
    """Write sixteen images of noise in two classes and two splits."""
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in ("dark", "light"):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(8):
                pixels = random.integers(0, 256, (16, 16, 3), dtype=np.uint8)
                Image.fromarray(pixels // 2 + 127 * (name == "light")).save(
                    folder / f"{number}.png"
                )
    return root


if __name__ == "__main__":
    sys.exit(main())
