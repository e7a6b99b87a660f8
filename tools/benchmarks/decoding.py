"""Claim: 50,000 PNG or WebP images of 32x32 are decoded from a folder in 30 s on 2 cores, once.

The images are made in a temporary folder, in class folders. Each start is a fresh process, whose
``load_data`` is timed: listing, decoding, statistics and fingerprint. The second start must
decode nothing.

    python tools/benchmarks/decoding.py [--pictures 50000] [--cores 2] [--record FILE.jsonl]

Exit status 1 where the claim does not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

LIMIT_SECONDS = 30.0
CLASSES, SIZE = 10, 32
FORMATS = ("png", "webp")

START = """
import json, sys, time
from ghostnet_small.data.decoded import job
from ghostnet_small.data.decoded.decode import decode_blocks
from ghostnet_small.data.sources import DataSettings, load_data

decoded = 0

def counted(numbers, load, keep, form, **options):
    def kept(number, block):
        global decoded
        decoded += len(block.kinds)
        return keep(number, block)
    decode_blocks(numbers, load, kept, form, **options)

job.decode_blocks = counted
started = time.perf_counter()
data = load_data(DataSettings(root=sys.argv[1], cache=sys.argv[2]))
seconds = time.perf_counter() - started
print(json.dumps({"seconds": seconds, "decoded": decoded, "fingerprint": data.fingerprint}))
"""


def make_pictures(root: Path, count: int, extension: str) -> int:
    """Write soft colours with some noise, which compress about as photographs do; returns all
    bytes.
    """
    random = np.random.default_rng(0)
    for label in range(CLASSES):
        (root / f"train/class{label}").mkdir(parents=True)
    total = 0
    for number in range(count):
        coarse = Image.fromarray(random.integers(256, size=(6, 6, 3), dtype=np.uint8))
        soft = np.asarray(coarse.resize((SIZE, SIZE), Image.Resampling.BICUBIC), np.int16)
        noisy = np.clip(soft + random.normal(0, 6, soft.shape), 0, 255).astype(np.uint8)
        file = root / f"train/class{number % CLASSES}/{number:06d}.{extension}"
        Image.fromarray(noisy).save(file)
        total += file.stat().st_size
    return total


def start(root: Path, cache: Path) -> dict[str, Any]:
    """Return the report of a fresh process on its ``load_data``."""
    command = [sys.executable, "-c", START, str(root), str(cache)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout))


def measure(extension: str, count: int, cores: int) -> dict[str, Any]:
    """Make ``count`` images and start twice on them."""
    with tempfile.TemporaryDirectory(prefix="ghostnet-small-decoding-") as folder:
        root, cache = Path(folder) / "set", Path(folder) / "cache"
        size = make_pictures(root, count, extension)
        first, second = start(root, cache), start(root, cache)
    assert first["fingerprint"] == second["fingerprint"] and first["decoded"] == count
    return {
        "pictures": f"{count:,} {extension.upper()} of {SIZE}x{SIZE}",
        "mean bytes": round(size / count),
        "cores": cores,
        "first start, s": round(first["seconds"], 2),
        "pictures/s": round(count / first["seconds"]),
        "second start, s": round(second["seconds"], 2),
        "decoded at the second": second["decoded"],
    }


def main() -> int:
    """Measure, print, and say by the exit status whether the claim holds."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--pictures", type=int, default=50_000)
    parser.add_argument("--cores", type=int, default=2, help="(2)")
    parser.add_argument("--record", type=Path, metavar="FILE.jsonl", help="append the rows")
    asked = parser.parse_args()
    # Inherited by the starts and their helpers.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: asked.cores])
    cores = len(os.sched_getaffinity(0))
    holds = True
    for extension in FORMATS:
        row = measure(extension, asked.pictures, cores)
        print(json.dumps(row), flush=True)
        holds &= row["first start, s"] <= LIMIT_SECONDS and row["decoded at the second"] == 0
        if asked.record is not None:
            from ghostnet_small.provenance import provenance_row
            from ghostnet_small.run.records import append_row

            append_row({**row, **provenance_row()}, asked.record)
    print(f"claim (at most {LIMIT_SECONDS:.0f} s, then nothing): {'holds' if holds else 'FAILS'}")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
