"""Compare an exported network with its peers, in the same runtimes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from ghostnet_small.benchmark.deploy_candidates import Say, fits_peers
from ghostnet_small.benchmark.deploy_comparison import (
    QUICK_JUDGED,
    ComparisonWatcher,
    DeployComparison,
)
from ghostnet_small.benchmark.deploy_latencies import CALLS
from ghostnet_small.benchmark.deploy_subject import Ours, ours_of
from ghostnet_small.errors import InputError
from ghostnet_small.models.peers import PEERS, chosen_peers
from ghostnet_small.option_values import BATCHES, TURNS
from ghostnet_small.use.export import SETTINGS as SETTINGS

# Settings for a result within two minutes.
QUICK_BATCHES, QUICK_TURNS, QUICK_CALLS = (1,), 3, 50
# The quickest peer in float32 in the runtimes that we know.
QUICK_PEERS = ("shufflenetv2_x0_5",)
MOST_BATCH = 4096


def compare_deployments(
    path: Path,
    *,
    formats: Sequence[str] | None = None,
    threads: int = 1,
    batches: Sequence[int] | None = None,
    peers: Sequence[str] | None = None,
    int8: bool = False,
    split: str | None = "test",
    turns: int | None = None,
    quick: bool = False,
    calls: int | None = None,
    weights: str | None = None,
    overrides: Sequence[str] = (),
    watcher: ComparisonWatcher,
    stopped: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Any]:
    """Measure accuracy, size, latency and memory of the weights of ``path`` in each of ``formats``,
    or of the exported file ``path``; and of ``peers`` (None: all that fit) in the same formats.

    A file that does not answer as its network does has ``failed``, and is not timed; for one that
    was exported before, the network is not known. All others take turns, ``turns`` each, of
    ``calls`` calls (None: 200) with one image, of fewer with more. A latency is that of a
    session's Python call, from one NumPy array to another. Top-1 is that of ``split`` of the data
    (with ``overrides``). A peer has random weights, which take as long as trained ones, and its
    published top-1. ``quick`` chooses less for each None, and does not
    measure memory; ``left_out`` of the result says what is missing.

    Files that were made before are taken from the cache. ``watcher`` is told of the progress.

    Raises ``InputError``, before the work, for values that are not allowed, a format or peer that
    is not known or cannot be had here, and where weights or data cannot be read; ``CheckFailed``
    where a peer is not of the size that it must be; ``Stopped``, with what there is by then, at
    a ``KeyboardInterrupt`` and where ``stopped`` says so.
    """
    batches = _checked(batches or (QUICK_BATCHES if quick else BATCHES), threads)
    named = None if peers is None else chosen_peers(peers)
    usual = QUICK_PEERS if quick else tuple(PEERS)
    torch.set_num_threads(threads)
    watcher.doing(f"reading {path}")
    ours = ours_of(
        path,
        formats=formats,
        int8=int8,
        weights=weights,
        overrides=overrides,
        threads=threads,
        quick=quick,
        say=watcher.say,
    )
    names = _fitting(named, usual, ours, watcher.say)
    turns = turns or (QUICK_TURNS if quick else TURNS)
    comparison = DeployComparison(
        ours,
        threads=threads,
        batches=batches,
        turns=turns,
        calls=calls or (min(CALLS, QUICK_CALLS) if quick else CALLS),
        split=split,
        quick=quick,
        left_out=_left_out(ours, names, batches, turns) if quick else (),
        watcher=watcher,
        stopped=stopped,
        clock=clock,
    )
    try:
        comparison.measure(names, overrides)
    except KeyboardInterrupt:
        raise Stopped(comparison.value(comparison.step)) from None
    return comparison.value()


class Stopped(Exception):
    """A comparison was stopped; ``value`` has the results so far, and its ``partial`` the step."""

    def __init__(self, value: dict[str, Any]) -> None:
        super().__init__(value["partial"])
        self.value = value


def _checked(batches: Sequence[int], threads: int) -> list[int]:
    """Return ``batches``, each once, the smallest first."""
    if not batches or not all(1 <= batch <= MOST_BATCH for batch in batches):
        raise InputError(
            f"--batch {','.join(map(str, batches))} is not allowed; give numbers of images from "
            f"1 to {MOST_BATCH}, such as 1,256"
        )
    cores = os.cpu_count() or 1
    if not 1 <= threads <= cores:
        raise InputError(
            f"--threads {threads} is not allowed; this machine has {cores} cores: give 1 to {cores}"
        )
    return sorted(set(batches))


def _fitting(named: Sequence[str] | None, usual: Sequence[str], ours: Ours, say: Say) -> list[str]:
    found = ours.description
    if fits_peers(found):
        return list(usual if named is None else named)
    shape = " x ".join(map(str, (found.channels, *found.size)))
    why = (
        f"the peers take 3 x 32 x 32 images of 10 classes, and {ours.path} takes {shape} of "
        f"{len(found.classes)} classes"
    )
    if named:
        raise InputError(f"{why}; give --peers none")
    if named is None:
        say(f"{why}; they are left out")
    return []


def _left_out(ours: Ours, peers: Sequence[str], batches: Sequence[int], turns: int) -> list[str]:
    """Return the parts that a quick comparison lacks."""
    others = [peer.title for name, peer in PEERS.items() if name not in peers]
    fewer = [str(batch) for batch in BATCHES if batch not in batches]
    return [
        *([f"files: {', '.join(ours.left_out)}"] if ours.left_out else ()),
        *([f"peers: {', '.join(others)}"] if others else ()),
        *([f"batches of {', '.join(fewer)}"] if fewer else ()),
        *([f"{TURNS - turns} of {TURNS} turns"] if turns < TURNS else ()),
        "the network as it was trained",
        f"top-1 in PyTorch and past {QUICK_JUDGED:,} images",
        "memory",
    ]
