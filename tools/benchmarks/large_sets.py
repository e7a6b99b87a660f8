"""Claim: a set of three times its memory budget trains at 0.9 of the in-memory speed or more.

Random images of 32x32 in IDX form are loaded twice in one process: in memory, and with a
``data.memory_gib`` of a third of them, so that they stay in the cache file. GN-S 1.0 (merged,
float32, channels_last, pad-and-crop, flip, cutout) is trained from the one and the other in turn,
in stretches of whole steps, reading included, so that a slow machine slows both. A
third turn begins with the file dropped from the system's page cache: those reads go to the disk.

    python tools/benchmarks/large_sets.py [--pictures 60000] [--turns 5] [--steps 12] [--threads 2]
                                    [--record results/large-sets.jsonl]

Exit status 1 where the claim does not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import struct
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ghostnet_small import create_model, fast
from ghostnet_small.data.augment import Augmentation
from ghostnet_small.data.dataset import ImageData, Split, normalize
from ghostnet_small.data.decoded.mapped import MappedImages
from ghostnet_small.data.sources import DataSettings, load_data
from ghostnet_small.train.feed import Feed
from ghostnet_small.train.objective import cross_entropy
from ghostnet_small.train.optim import OptimizerSettings, build_optimizer
from ghostnet_small.train.processes import ALONE
from ghostnet_small.train.settings import TrainSettings

LIMIT = 0.9
SIZE, CLASSES = 32, 10
AUGMENT = Augmentation(crop_padding=4, flip="random", cutout=8)


def make_set(root: Path, count: int) -> int:
    """Write random images and labels as IDX files below ``root``; returns the images' bytes."""
    random = np.random.default_rng(0)
    root.mkdir()
    images = random.integers(256, size=(count, SIZE, SIZE, 3), dtype=np.uint8)
    labels = (np.arange(count) % CLASSES).astype(np.uint8)
    for name, values in (("images-idx4", images), ("labels-idx1", labels)):
        head = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
        (root / f"train-{name}-ubyte").write_bytes(head + values.tobytes())
    return images.nbytes


def drop(file: Path) -> None:
    """Take ``file``, which nothing may have mapped, out of the system's memory."""
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


class Trainer:
    """One network, trained a stretch at a time from any data."""

    def __init__(self, settings: TrainSettings) -> None:
        self.settings = settings
        model = create_model("ghostnetv3_small", width=1.0, num_classes=CLASSES).train()
        fast.use(model, "merged")
        self.model = model.to(memory_format=torch.channels_last)
        self.optimizer = build_optimizer(self.model, OptimizerSettings())
        self.objective = cross_entropy()

    def stretch(self, data: ImageData, epoch: int, steps: int) -> float:
        """Train so many steps of ``epoch``; returns images a second."""
        feed = Feed(data, AUGMENT, self.settings, torch.device("cpu"), ALONE)
        started = time.perf_counter()
        reading = feed.epoch(epoch, 0)
        for _ in range(steps):
            for batch in next(reading).parts:
                x = normalize(batch.views, data.mean, data.std)
                logits = self.model(x.contiguous(memory_format=torch.channels_last))
                self.objective(logits, batch).backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
        seconds = time.perf_counter() - started
        reading.close()
        return steps * self.settings.batch_size / seconds


def measure(pictures: int, turns: int, steps: int, batch: int) -> dict[str, Any]:
    """Train in turn from memory, from the mapped file, and from the file on the disk."""
    torch.manual_seed(0)
    trainer = Trainer(TrainSettings(batch_size=batch))
    speeds: dict[str, list[float]] = {"memory": [], "mapped": [], "dropped": []}
    with tempfile.TemporaryDirectory(prefix="ghostnet-small-large-") as folder:
        root = Path(folder) / "set"
        size = make_set(root, pictures)
        settings = DataSettings(
            root=str(root), cache=str(Path(folder) / "cache"), validation=0, memory_gib=2**10
        )
        memory = load_data(settings)
        mapped = load_data(replace(settings, memory_gib=size / 3 / 2**30))
        assert memory.train.in_memory and not mapped.train.in_memory
        assert memory.fingerprint == mapped.fingerprint
        images = mapped.train.images
        assert isinstance(images, MappedImages)
        file, shape = images.file, tuple(images.shape)
        trainer.stretch(memory, 0, 3)
        for turn in range(turns):
            speeds["memory"].append(trainer.stretch(memory, turn, steps))
            speeds["mapped"].append(trainer.stretch(mapped, turn, steps))
            # Pages that a mapping holds are not dropped.
            del mapped, images
            drop(file)
            images = MappedImages(file, shape, None, shape[1])
            labels, index = memory.train.labels, memory.train.index
            mapped = replace(memory, train=Split(images, labels, index))
            speeds["dropped"].append(trainer.stretch(mapped, turn, steps))
    # Turn by turn, for a machine may slow down on the way.
    ratio, cold = (
        statistics.median(
            other / here for other, here in zip(speeds[name], speeds["memory"], strict=True)
        )
        for name in ("mapped", "dropped")
    )
    middle = {name: statistics.median(found) for name, found in speeds.items()}
    return {
        "pictures": f"{pictures:,} of {SIZE}x{SIZE}",
        "MiB": round(size / 2**20, 1),
        "budget, MiB": round(size / 3 / 2**20, 1),
        "batch": batch,
        "threads": torch.get_num_threads(),
        "turns x steps": f"{turns} x {steps}",
        "in memory, images/s": round(middle["memory"], 1),
        "mapped, images/s": round(middle["mapped"], 1),
        "mapped / in memory": round(ratio, 3),
        "from the disk / in memory": round(cold, 3),
    }


def main() -> int:
    """Measure, print, and say by the exit status whether the claim holds."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--pictures", type=int, default=60_000)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--record", type=Path, metavar="FILE.jsonl", help="append the row")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    row = measure(asked.pictures, asked.turns, asked.steps, asked.batch)
    print(json.dumps(row))
    holds = row["mapped / in memory"] >= LIMIT
    print(f"claim (at least {LIMIT:.1f} of the in-memory speed): {'holds' if holds else 'FAILS'}")
    if asked.record is not None:
        from ghostnet_small.provenance import provenance_row
        from ghostnet_small.run.records import append_row

        append_row({**row, **provenance_row()}, asked.record)
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
