"""Compare ``fit`` with the plain recipe that a user would have taken, in the same time.

``ghostnet-small fit`` is timed as a whole; ``train`` with the recipe follows, its epochs cut to the
same minutes at the speed that a first epoch of it shows, and with ``--longest`` also with as many
epochs as they allow. All classify the test images, fit's by its int8 C file, the recipe's in
float32. A row goes to ``--record``:

    python tools/benchmarks/fit_and_recipe.py IMAGES [--flash 450kB] [--ram 128kB] [--minutes 20]
        [--seed 0] [--limit N] [--recipe gns-w1.0-cifar10-16ep] [--longest]
        [--record results/fit.jsonl]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ghostnet_small.files import temporary_folder
from ghostnet_small.fit.fit_images import fit_words
from ghostnet_small.provenance import provenance_row
from ghostnet_small.recipe.recipe import read_recipe
from ghostnet_small.recipe.shipped_recipes import find_recipe
from ghostnet_small.run.records import append_row

PROGRAM = [sys.executable, "-m", "ghostnet_small"]


def called(words: Sequence[str]) -> tuple[dict[str, Any], float]:
    """Return what a command of the program gives, and the seconds that it took.

    Raises ``SystemExit`` where it fails.
    """
    started = time.monotonic()
    done = subprocess.run([*PROGRAM, *words, "--json"], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{words[0]} failed: {done.stdout[-2000:]}")
    return json.loads(done.stdout), time.monotonic() - started


def recipe_runs(
    recipe: str, words: Sequence[str], minutes: float, folder: Path, *, longest: bool
) -> dict[str, Any]:
    """Return the figures of the recipe: ``as_it_is``, its epochs cut to what ``minutes`` allow, and
    if ``longest`` also ``plain``, with as many as they allow."""

    def trained(epochs: int, name: str) -> tuple[dict[str, Any], float]:
        out = ["--train.epochs", str(epochs), "--out", str(folder / name)]
        return called(["train", recipe, *words, *out])

    def figures(epochs: int, name: str) -> dict[str, Any]:
        found, seconds = trained(epochs, name)
        last = {key: found["last"][key] for key in ("test_top1", "test_correct")}
        images = found["data"]["train_images"]
        return {"recipe": recipe, "epochs": epochs, "seconds": seconds, **last, "images": images}

    _, seconds = trained(1, "one")
    metrics = (folder / "one" / "metrics.jsonl").read_text()
    epoch = json.loads(metrics.splitlines()[-1])["seconds"]
    # The first epoch's run shows what starting and ending cost too.
    most = max(1, round((60 * minutes - (seconds - epoch)) / epoch))
    own = read_recipe(find_recipe(recipe), words).train.epochs
    found = {"as_it_is": figures(min(own, most), "own")}
    if longest:
        found["plain"] = figures(most, "run") if most > own else found["as_it_is"]
    return found


def main() -> None:
    """Run both and write the row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--flash", default="450kB")
    parser.add_argument("--ram", default="128kB")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, help="so many training images, equally many a class")
    parser.add_argument("--recipe", default="gns-w1.0-cifar10-16ep")
    parser.add_argument("--longest", action="store_true", help="also with all epochs that fit")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--record", type=Path, default=Path("results/fit.jsonl"))
    args = parser.parse_args()
    words = [f"--train.seed={args.seed}", f"--train.threads={args.threads}"]
    if args.limit is not None:
        words.append(f"--data.limit={args.limit}")
    limits = ["--flash", args.flash, "--ram", args.ram, "--minutes", str(args.minutes)]
    with temporary_folder() as folder:
        fitted, seconds = called(["fit", args.data, *limits, *words, "--out", str(folder / "fit")])
        plan = json.loads((folder / "fit" / "fit.json").read_text())["plans"][-1]
        minutes, words = seconds / 60, [*fit_words(args.data), *words]
        beside = recipe_runs(args.recipe, words, minutes, folder, longest=args.longest)
    keep = ("top1", "interval", "split", "images", "float_top1", "changes", "needs", "made")
    facts = plan["facts"]
    row = {
        "benchmark": "fit",
        "data": Path(args.data).name,
        "fingerprint": facts["fingerprint"],
        "train_images": facts["images"],
        "classes": len(facts["classes"]),
        "size": [facts["height"], facts["width"]],
        "asked": {name: plan["asked"][name] for name in ("flash", "ram", "minutes")},
        "seed": args.seed,
        "threads": args.threads,
        "reasons": plan["reasons"],
        "fit": {"seconds": seconds, **{name: fitted[name] for name in keep}},
        **beside,
        **provenance_row(),
    }
    append_row(row, args.record)
    print(json.dumps(row, indent=1))


if __name__ == "__main__":
    main()
