"""The gain of each part of the fast training step: the step with one part less, beside the whole.

A step is forward, cross-entropy, backward and SGD of GN-S on one batch of random images, float32,
channels_last. All are timed in one process, in turn; `times the whole` is the median over the
turns of a step's time by the whole one's in the same turn.

    python tools/benchmarks/step_parts.py [--width 1.0] [--batch 256] [--threads 2] [--turns 9]
        [--record results/step-parts.jsonl]
"""

from __future__ import annotations

import argparse
import ctypes
import json
import statistics
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from unittest import mock

import torch
from torch import nn

from ghostnet_small import create_model, fast
from ghostnet_small.fast.cpu.kernels import calls
from ghostnet_small.nn.ghost import (
    GhostBottleneck,
    GhostModule,
    SqueezeExcite,
    bottleneck_by_parts,
    ghost_by_parts,
    squeeze_excite,
)
from ghostnet_small.nn.rep_conv import ConvBN, conv_then_norm
from ghostnet_small.train.device import keep_freed_memory, make_accelerator
from ghostnet_small.train.timing import FixedStep, seconds_in_turn

WARM_UP = 2
# glibc's own: it gives memory back from 128 KiB on, and maps blocks from there on.
M_TRIM_THRESHOLD, M_MMAP_MAX, M_MMAP_THRESHOLD = -1, -4, -3
TRIM, MAPS, THRESHOLD = 128 << 10, 65536, 32 << 20


DEFINITIONS: dict[type[nn.Module], Callable[..., object]] = {
    GhostBottleneck: bottleneck_by_parts,
    GhostModule: ghost_by_parts,
    SqueezeExcite: squeeze_excite,
    ConvBN: conv_then_norm,
}


def by_definition(*kinds: type[nn.Module]) -> Callable[[FixedStep], None]:
    """Return a change to a step: modules of ``kinds`` are computed as they are defined."""

    def change(step: FixedStep) -> None:
        for module in step.model.modules():
            if isinstance(module, kinds):
                module.compute = DEFINITIONS[type(module)]  # type: ignore[assignment]

    return change


def no_change(step: FixedStep) -> None:
    """Leave a step as it is."""


def loop_over_parameters(step: FixedStep) -> None:
    """Change a step: PyTorch's optimiser goes from parameter to parameter."""
    step.optimizer.__class__ = torch.optim.SGD
    for group in step.optimizer.param_groups:
        group["fused"] = False


def called_by_python(step: FixedStep) -> None:
    """Change a step: autograd and Python call each kernel."""
    step.gradients.replays = False


@contextmanager
def without_kernels() -> Iterator[None]:
    """Use PyTorch's operations in place of the C kernels."""
    no = mock.Mock(return_value=False)
    with mock.patch.object(calls, "usable", no), mock.patch.object(calls, "usable_for", no):
        yield


@contextmanager
def memory_given_back() -> Iterator[None]:
    """Use the C library with its own settings."""
    library = ctypes.CDLL(None)
    library.mallopt(M_TRIM_THRESHOLD, TRIM)
    library.mallopt(M_MMAP_MAX, MAPS)
    library.mallopt(M_MMAP_THRESHOLD, THRESHOLD)
    library.malloc_trim(0)
    try:
        yield
    finally:
        keep_freed_memory()


# Name: how the step is changed, and what holds while it runs. A module whose parts PyTorch is to
# compute cannot be one function itself.
PARTS: dict[str, tuple[Callable[[FixedStep], None], Callable[[], object]]] = {
    "the whole": (no_change, nullcontext),
    "kernels called by Python": (called_by_python, nullcontext),
    "no C kernels": (no_change, without_kernels),
    "bottlenecks by their modules": (by_definition(GhostBottleneck), nullcontext),
    "and ghost modules by theirs": (by_definition(GhostBottleneck, GhostModule), nullcontext),
    "and single convolutions, batch norms by PyTorch": (
        by_definition(GhostBottleneck, GhostModule, ConvBN),
        nullcontext,
    ),
    "and squeeze-and-excitation by PyTorch": (
        by_definition(GhostBottleneck, GhostModule, ConvBN, SqueezeExcite),
        nullcontext,
    ),
    "optimiser from parameter to parameter": (loop_over_parameters, nullcontext),
    "freed memory given back": (no_change, memory_given_back),
}


def main() -> int:
    """Time all, print and record."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--width", type=float, default=1.0, help="(1.0)")
    parser.add_argument("--batch", type=int, default=256, help="(256)")
    parser.add_argument("--threads", type=int, default=2, help="(2)")
    parser.add_argument("--turns", type=int, default=9, help="(9)")
    parser.add_argument("--record", type=Path, metavar="FILE.jsonl", help="append the rows")
    asked = parser.parse_args()
    accelerator = make_accelerator("cpu")
    torch.set_num_threads(asked.threads)
    keep_freed_memory()
    torch.manual_seed(0)
    pictures = torch.randn(asked.batch, 3, 32, 32).to(memory_format=torch.channels_last)
    targets = torch.randint(10, (asked.batch,))
    works = {}
    for name, (change, around) in PARTS.items():
        model = create_model("ghostnetv3_small", width=asked.width)
        fast.use(model, "merged")
        model.to(memory_format=torch.channels_last)
        step = FixedStep(model, pictures, targets, accelerator)
        change(step)
        works[name] = within(step, around)
    for work in works.values():
        for _ in range(WARM_UP):
            work()
    seconds = seconds_in_turn(works, repetitions=asked.turns, calls=1, finish=lambda: None)
    whole = seconds["the whole"]
    for name, times in seconds.items():
        ratios = [time / least for time, least in zip(times, whole, strict=True)]
        row = {
            "step": name,
            "width": asked.width,
            "batch": asked.batch,
            "threads": asked.threads,
            "n": asked.turns,
            "median ms": round(1000 * statistics.median(times)),
            "times the whole": round(statistics.median(ratios), 2),
            "range": f"{min(ratios):.2f} to {max(ratios):.2f}",
        }
        print(json.dumps(row), flush=True)
        if asked.record is not None:
            from ghostnet_small.provenance import provenance_row
            from ghostnet_small.run.records import append_row

            append_row({**row, **provenance_row()}, asked.record)
    return 0


def within(step: Callable[[], None], around: Callable[[], object]) -> Callable[[], None]:
    """``step`` while ``around`` holds."""

    def work() -> None:
        with around():  # type: ignore[attr-defined]
            step()

    return work


if __name__ == "__main__":
    sys.exit(main())
