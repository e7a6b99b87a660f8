"""Compare the speed of several trainings at once with that of one after the other.

``--together`` trainings of GN-S, each in a process of its own with one CPU thread (on a GPU: the
GPU for all), train at the same time; then one training has the machine with all its threads, as
each of several would have it one after the other. Both take turns, the first changing from turn to
turn, in whole steps of the real engine: views of random 32x32 images, the merged form, SGD.

    python tools/benchmarks/together.py [--width 1.0] [--batch 128] [--together 2] [--turns 7]
                                  [--seconds 10] [--device auto] [--record results/together.jsonl]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ghostnet_small.launcher import available_cores
from ghostnet_small.provenance import provenance_row
from ghostnet_small.run.records import append_row
from ghostnet_small.study.training_job import TOGETHER_ON_GPU

CLASSES, SIZE = 10, 32
STEPS_AN_EPOCH = 50
# Threads of a parallel region wait actively for the next one for a while after they are done.
PAUSE = 0.5


class Nowhere:
    """A store and a watcher that keep nothing of a training."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args: None


def serve(width: float, batch: int, device: str, precision: str) -> None:
    """A worker: for each number of seconds on standard input, train so long and say how fast."""
    import torch

    from ghostnet_small import create_model, fast
    from ghostnet_small.data.augment import Augmentation
    from ghostnet_small.data.dataset import ImageData, Split
    from ghostnet_small.provenance import describe_device
    from ghostnet_small.train.device import make_accelerator
    from ghostnet_small.train.engine import Training
    from ghostnet_small.train.interfaces import Interrupted
    from ghostnet_small.train.objective import cross_entropy
    from ghostnet_small.train.optim import OptimizerSettings
    from ghostnet_small.train.schedule import ScheduleSettings
    from ghostnet_small.train.settings import TrainSettings

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    torch.manual_seed(0)
    count = STEPS_AN_EPOCH * batch
    labels, rows = torch.arange(count) % CLASSES, torch.arange(count)
    images = torch.randint(256, (count, 3, SIZE, SIZE), dtype=torch.uint8)
    names = tuple(map(str, range(CLASSES)))
    half = (0.5, 0.5, 0.5)
    data = ImageData(Split(images, labels, rows), None, None, names, half, half, "random")
    model = create_model("ghostnetv3_small", width=width, num_classes=CLASSES)
    fast.use(model, "merged")
    accelerator = make_accelerator(device, precision)
    until = 0.0

    def stop() -> int | None:
        return 1 if time.perf_counter() >= until else None

    training = Training(
        model,
        data,
        objective=cross_entropy(),
        augment=Augmentation(crop_padding=4, flip="random", cutout=8),
        # Weights that stand still: what is learnt from noise may cease to be a number.
        optimizer=OptimizerSettings(learning_rate=1e-9),
        schedule=ScheduleSettings(),
        settings=TrainSettings(epochs=10**6, batch_size=batch, precision=precision),
        accelerator=accelerator,
        store=Nowhere(),
        watcher=Nowhere(),
        stop_signal=stop,
    )
    about = describe_device(accelerator.device)
    print(json.dumps(about), flush=True)
    for line in sys.stdin:
        before, started = training.counters.step, time.perf_counter()
        until = started + float(line)
        try:
            training.run()
        except Interrupted:
            seconds = time.perf_counter() - started
        print(json.dumps((training.counters.step - before) * batch / seconds), flush=True)


class Worker:
    """A process that trains when it is told to; used as a context."""

    def __init__(self, asked: argparse.Namespace, threads: int) -> None:
        command = [sys.executable, __file__, "--serve"]
        for name in ("width", "batch", "device", "precision"):
            command += [f"--{name}", str(getattr(asked, name))]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": str(threads)},
        )
        self.about = self.answer()

    def begin(self, seconds: float) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()

    def answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("a worker has failed; what it said is above")
        return json.loads(line)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def speed(workers: Sequence[Worker], seconds: float) -> float:
    """Return the images a second of all ``workers`` at work at the same time."""
    time.sleep(PAUSE)
    for worker in workers:
        worker.begin(seconds)
    return sum(worker.answer() for worker in workers)


def measure(asked: argparse.Namespace) -> dict[str, Any]:
    """Train in turn together and one after the other; returns the row."""
    cores = available_cores()
    with ExitStack() as stack:
        alone = [stack.enter_context(Worker(asked, cores))]
        on_cpu = alone[0].about["kind"] == "cpu"
        count = asked.together or (cores if on_cpu else TOGETHER_ON_GPU)
        threads = max(1, cores // count) if on_cpu else cores
        together = [stack.enter_context(Worker(asked, threads)) for _ in range(count)]
        ways = {"together": together, "one after the other": alone}
        found: dict[str, list[float]] = {way: [] for way in ways}
        for turn in range(-1, asked.turns):
            for way in list(ways) if turn % 2 else reversed(list(ways)):
                pictures = speed(ways[way], asked.seconds)
                if turn >= 0:  # The first turn warms up.
                    found[way].append(pictures)
    ratios = [a / b for a, b in zip(*found.values(), strict=True)]
    origin = provenance_row()
    if not on_cpu:
        origin["device"] = alone[0].about["name"]
    return {
        "width": asked.width,
        "batch": asked.batch,
        "precision": asked.precision,
        "at once": count,
        "threads each": threads,
        **{f"images/s {way}": round(statistics.median(found[way])) for way in ways},
        **{f"range {way}": f"{min(of):.0f}-{max(of):.0f}" for way, of in found.items()},
        "ratio": round(statistics.median(ratios), 3),
        "range of the ratio": f"{min(ratios):.3f}-{max(ratios):.3f}",
        "turns": asked.turns,
        "seconds a turn": asked.seconds,
        **origin,
    }


def main() -> int:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16", "fp16"))
    parser.add_argument("--together", type=int, metavar="K", help="(as train --seeds would)")
    parser.add_argument("--turns", type=int, default=7, help="of each way (7)")
    parser.add_argument("--seconds", type=float, default=10, help="of a turn (10)")
    parser.add_argument("--record", type=Path, metavar="FILE.jsonl", help="append the row")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        serve(asked.width, asked.batch, asked.device, asked.precision)
        return 0
    row = measure(asked)
    print(json.dumps(row, indent=2))
    if asked.record is not None:
        append_row(row, asked.record)
    return 0


if __name__ == "__main__":
    sys.exit(main())
