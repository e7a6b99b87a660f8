"""Fields of runs that differ only in their seed, and differences of two such groups."""

from __future__ import annotations

import statistics
from collections.abc import Callable

from evidence.rows import Rows, processes_of, set_of
from ghostnet_small.errors import InputError
from ghostnet_small.provenance import commit_text
from ghostnet_small.report.confidence import (
    Estimate,
    estimate,
    paired_difference,
    unpaired_difference,
)
from ghostnet_small.report.table_cells import device_text, time_text
from ghostnet_small.report.words import count, each, plain, probability, share, signed, spread
from ghostnet_small.run.records import Record, number

# Where a row has each figure in %; of these there are means and differences.
PERCENT: dict[str, tuple[str, ...]] = {
    "test_top1": ("last", "test_top1"),
    "flip_top1": ("last", "test_flip_top1"),
    "validation_top1": ("last", "validation_top1"),
    "best_on_test": ("best_on_test", "top1"),
    "agreement": ("distill", "agreement"),
}


def by_seed(runs: Rows, field: str) -> dict[int, float]:
    """A figure of ``PERCENT`` of each seed that has it: the mean where several runs share one."""
    found: dict[int, list[float]] = {}
    for run in runs:
        value = number(run, *PERCENT[field])
        if value is not None:
            found.setdefault(run["seed"], []).append(value)
    return {seed: statistics.fmean(values) for seed, values in found.items()}


def mean_of(runs: Rows, field: str) -> Estimate | None:
    """Return its mean over the seeds that have it, None where none has."""
    return estimate(list(by_seed(runs, field).values()))


def percent(runs: Rows, field: str, where: str) -> str:
    """Mean, sample deviation and n; raises ``InputError`` where a seed lacks the figure."""
    n, mean = len(_seeds(runs)), mean_of(runs, field)
    if mean is None or mean.n < n:
        there = [name for name in PERCENT if len(by_seed(runs, name)) == n]
        raise InputError(
            f"{where}: not every run has {field}; choose one of {', '.join(there) or 'no figure'}"
        )
    return f"{spread(mean)} % (n = {n})"


def difference(one: Rows, other: Rows, field: str) -> Estimate | None:
    """``one`` less ``other`` in points: paired by seed where seeds are common, else Welch's."""
    first, second = by_seed(one, field), by_seed(other, field)
    paired = paired_difference(first, second)
    if paired is not None:
        return paired
    return unpaired_difference(list(first.values()), list(second.values()))


def difference_text(one: Rows, other: Rows, field: str) -> str:
    """The difference, its 95 % interval and n."""
    found = difference(one, other, field)
    if found is None:
        raise InputError(f"no run of one of the two has {field}; choose one that both have")
    first, second = by_seed(one, field), by_seed(other, field)
    pairs = len(first.keys() & second.keys())
    n = f"n = {pairs}" if pairs else f"n = {len(first)} and {len(second)}, not paired"
    ends = "no interval"
    if found.low is not None and found.high is not None:
        ends = f"95 % interval {signed(found.low)} to {signed(found.high)}"
    return f"{signed(found.mean)} points ({ends}, {n})"


def verdict(found: Estimate | None, tested: int = 1) -> str:
    """Return whether a difference is significant, in words, with its p-value and how many
    differences that is corrected for.
    """
    if found is None or found.p is None:
        return "no significant difference"
    word = "significant" if found.real else "no significant difference"
    several = f" by Holm's method, {tested} tested" if tested > 1 else ""
    return f"{word} (p = {probability(found.p)}{several})".replace("= <", "<")


def field_text(runs: Rows, field: str) -> str:
    """Return the value that the runs share, or their mean, as tables write it."""
    return FIELDS[field](runs)


def _seeds(runs: Rows) -> set[int]:
    return {run["seed"] for run in runs}


def _shared(of: Callable[[Record], object]) -> Callable[[Rows], str]:
    return lambda runs: each(of(run) for run in runs)


def _device(run: Record) -> str:
    several = f", {found} processes" if (found := processes_of(run)) > 1 else ""
    return f"{device_text(run['device'])}{several}"


def _size(quantity: str, form: str) -> Callable[[Rows], str]:
    return lambda runs: count(runs[0]["model"][quantity][form])


def _correct(runs: Rows) -> str:
    right = ", ".join(count(run["last"]["test_correct"]) for run in runs)
    return f"{right} / {count(runs[0]['last']['test_total'])}"


def _entropy(runs: Rows) -> str:
    found = [number(run, "distill", "targets", "entropy") for run in runs]
    mean = estimate([value for value in found if value is not None])
    return plain(None if mean is None else mean.mean, 3)


def _one_hot(runs: Rows) -> str:
    """The share of targets that are nearly labels at T = 1."""
    found = [number(run, "distill", "targets", "share_above_098_at_1") for run in runs]
    mean = estimate([value for value in found if value is not None])
    return share(None if mean is None else mean.mean)


def _of_last(runs: Rows, field: str) -> str:
    found = [number(run, "last", field) for run in runs]
    return spread(estimate([value for value in found if value is not None]), 3)


FIELDS: dict[str, Callable[[Rows], str]] = {
    "n": lambda runs: str(len(_seeds(runs))),
    "seeds": _shared(lambda run: run["seed"]),
    "set": _shared(set_of),
    "epochs": _shared(lambda run: len(run["epochs"])),
    "train_images": _shared(lambda run: count(run["data"]["train_images"])),
    "params": _size("params", "deployed"),
    "params_training": _size("params", "training"),
    "macs": _size("macs", "deployed"),
    "macs_training": _size("macs", "training"),
    "correct": _correct,
    "entropy": _entropy,
    "one_hot": _one_hot,
    "loss": lambda runs: _of_last(runs, "test_loss"),
    "calibration": lambda runs: _of_last(runs, "test_calibration_error"),
    "device": _shared(_device),
    "wall": lambda runs: time_text(statistics.fmean(run["wall_seconds"] for run in runs)),
    "images_per_s": lambda runs: count(statistics.fmean(run["images_per_s"] for run in runs)),
    "commit": _shared(lambda run: commit_text(run["commit"], run.get("dirty"))),
}
