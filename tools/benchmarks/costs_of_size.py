"""Time and memory for each image, beside the image itself, in every step that handles all images.

Every step of a start and of an epoch that handles all rows is run in a process of its own on made
rows; its time and the growth of the process's own memory are divided by the rows, and multiplied
by a hundred million. docs/scaling.md builds on the figures.

    python tools/benchmarks/costs_of_size.py [--scale 1.0] [--record results/costs-of-size.jsonl]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

LARGE = 100_000_000
CLASSES, SIZE = 10, 32
Work = Callable[[], Any]


def order_of_an_epoch(rows: int, folder: Path) -> Work:
    """The shuffled order."""
    import torch

    from ghostnet_small.data.sampling import epoch_rows

    labels = torch.arange(rows) % CLASSES
    return lambda: epoch_rows(labels, 0, seed=0, shuffle=True, sampler="all")


def hold_out_rows(rows: int, folder: Path) -> Work:
    """The stratified validation split."""
    import torch

    from ghostnet_small.data.split import hold_out

    labels = torch.arange(rows) % CLASSES
    return lambda: hold_out(labels, 0.1, seed=0)


def class_numbers_of(rows: int, folder: Path) -> Work:
    """Class numbers of a label column's values."""
    from ghostnet_small.data.formats.columns import class_numbers

    values = [row % CLASSES for row in range(rows)]
    names = range(rows)  # never asked for where every label is one
    return lambda: class_numbers(values, list(range(CLASSES)), names, "label")  # type: ignore[arg-type]


def folder_listing(rows: int, folder: Path) -> Work:
    """The files of class folders, and the signature that shows their changes."""
    from ghostnet_small.data.decoded.signature import signature
    from ghostnet_small.data.formats.folder import list_folder

    for label in range(CLASSES):
        (folder / f"train/{label}").mkdir(parents=True)
    for row in range(rows):
        (folder / f"train/{row % CLASSES}/{row:09d}.png").touch()
    return lambda: signature(list_folder(folder).splits["train"].pictures)


def cache_check(rows: int, folder: Path) -> Work:
    """The cache's checksums, at every start."""
    import numpy as np

    from ghostnet_small.data.decoded.cache import CacheFolder, CacheLayout
    from ghostnet_small.data.decoded.decode import Block, Format

    cache = CacheFolder(folder / "key")
    layout = CacheLayout.of(rows, Format(None, None, 3, SIZE, SIZE))
    cache.make(layout)
    random = np.random.default_rng(0)
    with cache.writer(layout) as write:
        for number in range(layout.blocks):
            part = layout.block(number)
            count = part.stop - part.start
            pixels = random.integers(256, size=(count, 3, SIZE, SIZE), dtype=np.uint8)
            write(number, Block(pixels, np.full(count, 3, np.uint8)))

    def read() -> None:
        found = cache.read(keep=False)
        assert not found.missing and not found.damaged

    return read


def digest_and_histogram(rows: int, folder: Path) -> Work:
    """Fingerprint, mean and standard deviation of a mapped split, once."""
    import torch

    from ghostnet_small.data.dataset import Split
    from ghostnet_small.data.decoded.mapped import MappedImages
    from ghostnet_small.data.decoded.statistics import facts_of

    file = folder / "pixels"
    part = torch.randint(256, (1000, 3, SIZE, SIZE), dtype=torch.uint8).numpy().tobytes()
    with file.open("wb") as opened:
        for _ in range(rows // 1000):
            opened.write(part)
    images = MappedImages(file, (rows, 3, SIZE, SIZE), None, 3)
    split = Split(images, torch.arange(rows) % CLASSES, torch.arange(rows))
    return lambda: facts_of(split, None)


# Each with the rows that take some seconds to handle or to make, and whether it goes through
# them part by part, so that its memory does not grow with them.
STEPS = {
    "order of an epoch": (order_of_an_epoch, 16_000_000, False),
    "hold-out": (hold_out_rows, 4_000_000, False),
    "class numbers": (class_numbers_of, 4_000_000, False),
    "listing a folder": (folder_listing, 50_000, False),
    "checksums of the cache": (cache_check, 100_000, True),
    "fingerprint and statistics": (digest_and_histogram, 100_000, True),
}


class Growth:
    """The most memory of its own that this process takes within the context, above the start.

    Sampled, since the kernel's own peak counts the pages of mapped files too.
    """

    def __enter__(self) -> Growth:
        self.start = self.peak = own_memory()
        self.done = threading.Event()
        self.sampler = threading.Thread(target=self._sample)
        self.sampler.start()
        return self

    def _sample(self) -> None:
        while not self.done.wait(0.002):
            self.peak = max(self.peak, own_memory())

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.sampler.join()
        self.bytes = max(self.peak, own_memory()) - self.start


def own_memory() -> int:
    """Bytes of memory that belong to no file."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("RssAnon:")[1].split()[0])


def measure(name: str, rows: int) -> tuple[int, float]:
    """Bytes and seconds that a step takes for so many rows."""
    with tempfile.TemporaryDirectory(prefix="ghostnet-small-costs-") as folder:
        work = STEPS[name][0](rows, Path(folder))
        with Growth() as growth:
            started = time.perf_counter()
            work()
            seconds = time.perf_counter() - started
    return growth.bytes, seconds


def fresh(name: str, rows: int) -> tuple[int, float]:
    """``measure`` in a process of its own, where no memory is left over from before."""
    command = [sys.executable, __file__, "--step", name, "--rows", str(rows)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=environment)
    grown, seconds = json.loads(done.stdout)
    return grown, seconds


def row_of(name: str, rows: int) -> dict[str, Any]:
    """A step's line in the table."""
    grown, seconds = fresh(name, rows)
    memory: dict[str, Any] = {"bytes a row": "in parts", "GB for 100,000,000": "in parts"}
    if not STEPS[name][2]:
        half = rows // 2
        # The slope: what is the same for any number of rows is no cost of size.
        slope = max(grown - fresh(name, half)[0], 0) / (rows - half)
        memory = {
            "bytes a row": round(slope, 1),
            "GB for 100,000,000": round(LARGE * slope / 1e9, 1),
        }
    return {
        "step": name,
        "rows": rows,
        "seconds": round(seconds, 2),
        "rows/s": round(rows / seconds),
        "minutes for 100,000,000": round(LARGE * seconds / rows / 60, 1),
        **memory,
    }


def main() -> int:
    """Run each step in fresh processes, print and record."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0, help="of the rows (1.0)")
    parser.add_argument("--record", type=Path, metavar="FILE.jsonl", help="append the rows")
    parser.add_argument("--step", choices=list(STEPS), help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.step is not None:
        print(json.dumps(measure(asked.step, asked.rows)))
        return 0
    for name, (_, rows, _) in STEPS.items():
        row = row_of(name, max(int(rows * asked.scale) // 2000, 1) * 2000)
        print(json.dumps(row), flush=True)
        if asked.record is not None:
            from ghostnet_small.provenance import provenance_row
            from ghostnet_small.run.records import append_row

            append_row({**row, **provenance_row()}, asked.record)
    return 0


if __name__ == "__main__":
    sys.exit(main())
