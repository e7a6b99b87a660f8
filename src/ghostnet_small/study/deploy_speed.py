"""What an exported network costs in each runtime, beside its peers in the same runtimes."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ghostnet_small.data.dataset import Split
from ghostnet_small.deploy.description import Description
from ghostnet_small.deploy.formats import FORMATS
from ghostnet_small.deploy.memory import NotMeasured, peak_memory
from ghostnet_small.errors import InputError
from ghostnet_small.models.peers import PEERS, chosen_peers
from ghostnet_small.study.checking import shown
from ghostnet_small.study.classifier import feed, first_line
from ghostnet_small.study.deploy_candidates import (
    Candidate,
    Say,
    fits_peers,
    peer_networks,
    peers_exported,
)
from ghostnet_small.study.deploy_figures import (
    CALLS,
    calls_of,
    latency,
    seconds_of_calls,
    verdict,
)
from ghostnet_small.study.deploy_ours import Ours, ours_of
from ghostnet_small.study.exporting import SETTINGS as SETTINGS
from ghostnet_small.study.option_values import BATCHES, TURNS
from ghostnet_small.study.provenance import provenance_row, versions_of
from ghostnet_small.train.evaluate import score

MOST_BATCH = 4096
EVALUATED = 250  # pictures at once


def compare_deployments(
    path: Path,
    *,
    formats: Sequence[str] = ("all",),
    threads: int = 1,
    batches: Sequence[int] = BATCHES,
    peers: Sequence[str] | None = None,
    int8: bool = False,
    split: str | None = "test",
    turns: int = TURNS,
    calls: int | None = None,
    weights: str | None = None,
    overrides: Sequence[str] = (),
    say: Say,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Any]:
    """Accuracy, size, latency and memory of the weights of ``path`` in each of ``formats``, or of
    the exported file ``path``; and of ``peers`` (None: all, where they fit) in the same formats.

    A file that does not answer as its network does has ``failed``, and is not timed; of one that
    was exported before, the network is not known. All others take turns, ``turns`` each, of
    ``calls`` calls (None: 200) with one picture, of fewer with more. A latency is that of a
    session's Python call, from one NumPy array to another. Top-1 is that of ``split`` of the data
    (with ``overrides``). A peer has random weights, which take the time that trained ones do, and
    the top-1 that was published of it.

    Raises ``InputError``, before the work, for values that are not allowed, a format or peer that
    is not known or cannot be had here, and where weights or data cannot be read; ``CheckFailed``
    where a peer is not of the size that it must be.
    """
    batches = _checked(batches, threads)
    calls = calls or CALLS
    named = None if peers is None else chosen_peers(peers)
    torch.set_num_threads(threads)
    ours = ours_of(
        path, formats=formats, int8=int8, weights=weights, overrides=overrides, threads=threads
    )
    beside = peer_networks(_fitting(named, ours, say))
    pictures = None if split is None else ours.split(split, overrides, say)
    images = _enough(shown(None, ours.info).images if pictures is None else pictures, max(batches))
    with tempfile.TemporaryDirectory(prefix="ghostnet-small-") as name:
        folder = Path(name)
        found = ours.candidates(folder / "ours", threads, say)
        found += peers_exported(
            beside,
            ours.formats,
            folder,
            like=ours.description,
            threads=threads,
            pictures=images,
            precisions=ours.precisions,
            say=say,
        )
        rows = [_about(candidate) for candidate in found]
        if pictures is not None:
            say(f"answering the {split} split")
            _judge(found, rows, pictures, ours.description)
        for batch in batches:
            count = sum(candidate.run is not None for candidate in found)
            say(f"timing {count} candidates in turn, batches of {batch}")
            _time(found, rows, feed(images[:batch], ours.description), turns, calls, clock)
        say("measuring memory, each in a process of its own")
        files = [candidate.file if candidate.run else None for candidate in found]
        # What the sessions hold is not to press on those processes.
        del found
        _weigh(files, rows, batches, threads, say)
    return {
        "model": ours.description.architecture,
        "width": ours.description.width,
        "picture": [ours.description.channels, *ours.description.size],
        "classes": len(ours.description.classes),
        "input": ours.description.input,
        "split": split,
        "pictures": None if pictures is None else len(pictures),
        "threads": threads,
        "batches": list(batches),
        "turns": turns,
        "calls": {str(batch): calls_of(batch, calls) for batch in batches},
        "candidates": rows,
        "verdict": {kind: verdict(rows, kind) for kind in ("float32", "int8")},
        "versions": versions_of(_libraries(ours)),
        "torch": str(torch.__version__),
        **provenance_row(),
    }


def _checked(batches: Sequence[int], threads: int) -> list[int]:
    """``batches``, each once, the smallest first."""
    if not batches or not all(1 <= batch <= MOST_BATCH for batch in batches):
        raise InputError(
            f"--batch {','.join(map(str, batches))} is not allowed; give numbers of pictures from "
            f"1 to {MOST_BATCH}, such as 1,256"
        )
    cores = os.cpu_count() or 1
    if not 1 <= threads <= cores:
        raise InputError(
            f"--threads {threads} is not allowed; this machine has {cores} cores: give 1 to {cores}"
        )
    return sorted(set(batches))


def _fitting(named: Sequence[str] | None, ours: Ours, say: Say) -> list[str]:
    found = ours.description
    if fits_peers(found):
        return list(PEERS if named is None else named)
    shape = " x ".join(map(str, (found.channels, *found.size)))
    why = (
        f"the peers take 3 x 32 x 32 pictures of 10 classes, and {ours.path} takes {shape} of "
        f"{len(found.classes)} classes"
    )
    if named:
        raise InputError(f"{why}; give --peers none")
    if named is None:
        say(f"{why}; they are left out")
    return []


def _enough(pictures: Tensor | Split, count: int) -> Tensor:
    """At least ``count`` pictures, uint8 ``(N, C, H, W)``, some of them again where need be."""
    images = pictures.images if isinstance(pictures, Split) else pictures
    least = max(count, min(len(images), 512))
    return images[torch.arange(least) % len(images)]


def _about(candidate: Candidate) -> dict[str, Any]:
    """What is known of a candidate before it is run: a row of the results."""
    published = None if candidate.peer is None else PEERS[candidate.peer].published_top1
    cost = candidate.cost
    return {
        "network": candidate.title,
        "peer": candidate.peer,
        "runtime": candidate.runtime,
        "exported": candidate.exported,
        "precision": candidate.precision,
        "params": None if cost is None else cost.params,
        "macs": None if cost is None else cost.macs,
        "size_bytes": candidate.size_bytes,
        "relative_error": candidate.relative_error,
        "agreement": candidate.agreement,
        "top1": published if candidate.precision == "float32" else None,
        "top1_source": None if published is None else "published",
        "correct": None,
        "latency": {},
        "peak_memory_bytes": {},
        "process_memory_bytes": {},
        "failed": candidate.failed,
    }


def _judge(
    found: Sequence[Candidate],
    rows: Sequence[dict[str, Any]],
    split: Split,
    description: Description,
) -> None:
    """Top-1 (%) of ours."""
    labels = split.labels.cpu()
    for candidate, row in zip(found, rows, strict=True):
        if candidate.peer is not None or candidate.run is None:
            continue
        parts = [
            torch.from_numpy(candidate.run(feed(images, description)))
            for images in split.images.split(EVALUATED)
        ]
        judged = score(torch.cat(parts), labels)
        row |= {"top1": judged.top1, "correct": judged.correct, "top1_source": "measured"}


def _time(
    found: Sequence[Candidate],
    rows: Sequence[dict[str, Any]],
    pictures: Any,
    turns: int,
    calls: int,
    clock: Callable[[], float],
) -> None:
    """Note the latencies of all candidates that run, taken in turn."""
    batch = len(pictures)
    works, by_name = {}, {}
    for candidate, row in zip(found, rows, strict=True):
        if candidate.run is None:
            continue
        try:
            candidate.run(pictures)
        except Exception as error:
            row["failed"] = f"batches of {batch}: {first_line(error)}"
            continue
        works[candidate.name] = partial(candidate.run, pictures)
        by_name[candidate.name] = row
    count = calls_of(batch, calls)
    seconds = seconds_of_calls(works, turns=turns, calls=count, clock=clock) if works else {}
    for name, taken in seconds.items():
        by_name[name]["latency"][str(batch)] = latency(taken, batch)


def _weigh(
    files: Sequence[Path | None],
    rows: Sequence[dict[str, Any]],
    batches: Sequence[int],
    threads: int,
    say: Say,
) -> None:
    """Note the most memory of each file; None: it is not to be opened."""
    for file, row in zip(files, rows, strict=True):
        if file is None:
            continue
        try:
            peaks = peak_memory(file, batches, threads)
        except NotMeasured as error:
            say(f"no memory of {row['network']}, {row['runtime']}, {row['precision']}: {error}")
            continue
        row["peak_memory_bytes"] = {str(batch): peak.above for batch, peak in peaks.items()}
        row["process_memory_bytes"] = {str(batch): peak.peak for batch, peak in peaks.items()}


def _libraries(ours: Ours) -> list[str]:
    return [name for form in ours.formats for name in FORMATS[form.name].modules]
