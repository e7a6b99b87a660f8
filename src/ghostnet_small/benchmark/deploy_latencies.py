"""Latencies of candidates that are timed in turn, and their verdict."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ghostnet_small.train.timing import names_in_turn

# Calls of a turn with one image at a time; fewer with larger batches, but at least some.
CALLS, FEWEST = 200, 5
# So many calls of a turn to one before it that is not counted: threads that other runtimes left
# spinning fall asleep, and caches fill again.
COUNTED_TO_ONE = 10
# A first look at a candidate takes at most so many calls, or so long.
LOOKS, LOOK_SECONDS = 20, 0.2


def calls_of(batch: int, calls: int = CALLS) -> int:
    """Return the counted calls of a turn with batches of so many images."""
    return max(min(FEWEST, calls), calls // batch)


def timed_turns(
    works: Mapping[str, Callable[[], object]],
    *,
    turns: int,
    calls: int,
    clock: Callable[[], float] = time.perf_counter,
) -> Generator[tuple[str, list[float]], None, None]:
    """Yield each work's name and the seconds of its ``calls``, after each of its ``turns``.

    In each round every work has its turn, so that a slow phase of the machine slows all.
    """
    with _no_collection():
        for name in names_in_turn(list(works), turns):
            yield name, _turn(works[name], calls, clock)


def _turn(work: Callable[[], object], calls: int, clock: Callable[[], float]) -> list[float]:
    for _ in range(max(1, calls // COUNTED_TO_ONE)):
        work()
    seconds = []
    for _ in range(calls):
        started = clock()
        work()
        seconds.append(clock() - started)
    return seconds


def first_look(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the median seconds of a few calls, not taken in turn with others."""
    work()
    seconds: list[float] = []
    while len(seconds) < LOOKS and sum(seconds) < LOOK_SECONDS:
        started = clock()
        work()
        seconds.append(clock() - started)
    return statistics.median(seconds)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Switch off Python's garbage collector, which would run within some of the calls."""
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def latency(seconds: Sequence[Sequence[float]], batch: int) -> dict[str, Any]:
    """Return figures of a candidate's turns: median and 90th percentile over all calls, and the
    medians of single turns, in milliseconds; images per second at the median."""
    every = [taken for turn in seconds for taken in turn]
    medians = [1000 * statistics.median(turn) for turn in seconds]
    middle = statistics.median(every)
    return {
        "median_ms": 1000 * middle,
        "p90_ms": 1000 * _percentile90(every),
        "turn_medians_ms": medians,
        "images_per_s": batch / middle,
        "n": len(every),
    }


def _percentile90(values: Sequence[float]) -> float:
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=10, method="inclusive")[-1]


def verdict(candidates: Sequence[Mapping[str, Any]], precision: str) -> dict[str, Any] | None:
    """Compare our fastest export of ``precision`` with the fastest peer's, one image at a time.

    ``ratio`` is that of their medians, ``turn_ratio`` the median of the ratios within a turn, with
    the least and the most. None where one side was not timed.
    """
    timed = [
        one
        for one in candidates
        if one["exported"] and one["precision"] == precision and "1" in one["latency"]
    ]
    ours = min((one for one in timed if one["peer"] is None), key=_median, default=None)
    peer = min((one for one in timed if one["peer"] is not None), key=_median, default=None)
    if ours is None or peer is None:
        return None
    pairs = zip(_turns(ours), _turns(peer), strict=True)
    ratios = [own / other for own, other in pairs]
    return {
        "ours": _named(ours),
        "peer": _named(peer),
        "ratio": _median(ours) / _median(peer),
        "turn_ratio": statistics.median(ratios),
        "turn_ratio_min": min(ratios),
        "turn_ratio_max": max(ratios),
    }


def _median(one: Mapping[str, Any]) -> float:
    return float(one["latency"]["1"]["median_ms"])


def _turns(one: Mapping[str, Any]) -> list[float]:
    return list(one["latency"]["1"]["turn_medians_ms"])


def _named(one: Mapping[str, Any]) -> dict[str, Any]:
    return {"network": one["network"], "runtime": one["runtime"], "median_ms": _median(one)}
