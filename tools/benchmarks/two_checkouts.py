"""Compare a training step of this checkout with that of another one, in turns.

    python tools/benchmarks/two_checkouts.py OLD [--size 8] [--batch 16] [--threads 1] [--beside 0]
                                     [--turns 15] [--record results/step-checkouts.jsonl]

OLD is another checkout, such as a clone at an earlier commit, with what it needs installed in this
environment. A worker of each takes turns: some steps of GN-S 1.0 in the merged form, float32, SGD,
on one batch of noise. ``--against-one-thread`` compares this checkout with itself on one thread.
Memory is that of the whole process after its steps, at its peak.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[2]
SECONDS_A_TURN = 0.5
WORKER = """
import json, resource, sys, time
import torch
size, batch, threads = map(int, sys.argv[1:])
torch.set_num_threads(threads)
torch.manual_seed(0)
try:
    from ghostnet_small.fast import use
    from ghostnet_small.train.timing import FixedStep
except ImportError:  # before the rooms of the package
    from ghostnet_small.nn.forms import set_rep_conv as use
    from ghostnet_small.train.benchmark import FixedStep
from ghostnet_small.models.registry import create_model
from ghostnet_small.train.device import keep_freed_memory, make_accelerator
keep_freed_memory()
model = create_model("ghostnetv3_small", width=1.0)
use(model, "merged")
model = model.to(memory_format=torch.channels_last)
x = torch.randn(batch, 3, size, size).contiguous(memory_format=torch.channels_last)
step = FixedStep(model, x, torch.arange(batch) % 10, make_accelerator("cpu"))
for line in sys.stdin:
    started = time.perf_counter()
    for _ in range(int(line)):
        step()
    seconds = (time.perf_counter() - started) / int(line)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([seconds, peak]), flush=True)
"""


class Worker:
    """A process that takes as many steps as it is told to."""

    def __init__(self, tree: Path, arguments: list[str], stack: ExitStack) -> None:
        environment = os.environ | {"PYTHONPATH": str(tree / "src"), "PYTHONSAFEPATH": "1"}
        self.process = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-c", WORKER, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=environment,
            )
        )
        stack.callback(self.process.kill)

    def steps(self, count: int) -> tuple[float, float]:
        """Return the seconds of each of ``count`` steps, and the peak of its memory in MiB."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit("a worker ended; its reason is above")
        seconds, peak = json.loads(line)
        return seconds, peak


def main() -> None:
    """Measure, print and record."""
    from ghostnet_small.benchmark.busy_cores import busy_cores, check_beside
    from ghostnet_small.provenance import provenance_row, source_commit
    from ghostnet_small.run.records import append_row

    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("old", type=Path, nargs="?", default=HERE)
    parser.add_argument("--against-one-thread", action="store_true")
    for name, number in (("size", 8), ("batch", 16), ("threads", 1), ("beside", 0), ("turns", 15)):
        parser.add_argument(f"--{name}", type=int, default=number)
    parser.add_argument("--record", type=Path)
    asked = parser.parse_args()
    if not (asked.old / "src" / "ghostnet_small").is_dir():
        parser.error(f"{asked.old} is no checkout: it has no src/ghostnet_small")
    for name, least in (("size", 8), ("batch", 2), ("threads", 1), ("beside", 0), ("turns", 1)):
        if getattr(asked, name) < least:
            parser.error(f"--{name} {getattr(asked, name)} is not allowed; give {least} or more")
    check_beside(asked.beside)
    first = [str(asked.size), str(asked.batch)]
    of_old = "1" if asked.against_one_thread else str(asked.threads)
    with ExitStack() as stack:
        workers = [
            Worker(asked.old.resolve(), [*first, of_old], stack),
            Worker(HERE, [*first, str(asked.threads)], stack),
        ]
        counts = []
        for worker in workers:
            worker.steps(5)
            counts.append(max(2, round(SECONDS_A_TURN / worker.steps(3)[0])))
        stack.enter_context(busy_cores(asked.beside))
        times: list[list[float]] = [[], []]
        for turn in range(asked.turns):
            for which in (0, 1) if turn % 2 else (1, 0):
                times[which].append(workers[which].steps(counts[which])[0])
        peaks = [worker.steps(2)[1] for worker in workers]
    ratios = [old / new for old, new in zip(*times, strict=True)]
    medians = [1000 * statistics.median(each) for each in times]
    commit = source_commit(asked.old.resolve() / "src" / "ghostnet_small")[0]
    print(
        f"{asked.size}x{asked.size}, batch {asked.batch}, threads {asked.threads}, beside "
        f"{asked.beside}: {medians[0]:.2f} -> {medians[1]:.2f} ms, ratio "
        f"{statistics.median(ratios):.2f} [{min(ratios):.2f}-{max(ratios):.2f}], n {asked.turns}; "
        f"peak {peaks[0]:.0f} -> {peaks[1]:.0f} MiB"
    )
    against = "one thread" if asked.against_one_thread else f"commit {(commit or '?')[:8]}"
    spread = f"[{min(ratios):.2f}-{max(ratios):.2f}]"
    row: dict[str, Any] = {
        "compared with": against,
        "image": f"{asked.size}x{asked.size}",
        "batch": asked.batch,
        "threads": asked.threads,
        "busy cores beside": asked.beside,
        "its ms a step": round(medians[0], 2),
        "ms a step": round(medians[1], 2),
        "times as fast: median [least-most]": f"{statistics.median(ratios):.2f} {spread}",
        "n": asked.turns,
        "its peak, MiB": round(peaks[0]),
        "peak, MiB": round(peaks[1]),
        **provenance_row(),
    }
    if asked.record is not None:
        append_row(row, asked.record)


if __name__ == "__main__":
    main()
