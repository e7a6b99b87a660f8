"""The runs of a study by strategy and width, which every table and plot reads."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from ghostnet_small.errors import printable
from ghostnet_small.report.confidence import Estimate, estimate, holm, paired_difference
from ghostnet_small.report.runs import RunRow, curve_split_of, read_run, split_of
from ghostnet_small.report.study_rows import Published, StudyRecord

Runs = tuple[RunRow, ...]


@dataclass(frozen=True)
class Comparison:
    """Finished runs, all judged by ``split``; ``curve_split`` is that of the curves."""

    baseline: str
    published: Published | None
    split: str
    curve_split: str
    runs: Runs

    @cached_property
    def students(self) -> Runs:
        """The runs that are compared."""
        return tuple(run for run in self.runs if run.strategy is not None)

    @cached_property
    def teachers(self) -> Runs:
        """Teachers and assistants."""
        return tuple(run for run in self.runs if run.strategy is None)

    @cached_property
    def strategies(self) -> tuple[str, ...]:
        """The baseline first, the others in the order of their first row."""
        names = dict.fromkeys(run.strategy for run in self.students if run.strategy is not None)
        return tuple(sorted(names, key=lambda name: name != self.baseline))

    @cached_property
    def widths(self) -> tuple[float | None, ...]:
        """Return the widths, ascending; None, for rows that name no width, is last."""
        found = {run.width for run in self.students}
        return tuple(sorted(found, key=lambda width: (width is None, width or 0)))

    @cached_property
    def groups(self) -> dict[tuple[float | None, str], Runs]:
        """The runs of each width and strategy by seed, widths outermost."""
        groups = {}
        for width in self.widths:
            for strategy in self.strategies:
                runs = [r for r in self.students if (r.width, r.strategy) == (width, strategy)]
                runs.sort(key=lambda run: (run.seed is None, run.seed or 0))
                if runs:
                    groups[width, strategy] = tuple(runs)
        return groups

    @cached_property
    def differences(self) -> dict[tuple[float | None, str], Estimate]:
        """The differences in points of top-1 to the baseline of the same width, paired by seed;
        their p-values are corrected for all of them.
        """
        found = {}
        for width, strategy in self.comparisons():
            one, base = (by_seed(self.groups[width, name]) for name in (strategy, self.baseline))
            if (difference := paired_difference(one, base)) is not None:
                found[width, strategy] = difference
        return holm(found)

    def difference(self, width: float | None, strategy: str) -> Estimate | None:
        """Return one of ``differences``, None where there is none."""
        return self.differences.get((width, strategy))

    @property
    def tested(self) -> int:
        """The number of differences that have a p-value."""
        return sum(one.p is not None for one in self.differences.values())

    def comparisons(self) -> list[tuple[float | None, str]]:
        """Return width and strategy of all groups that are compared with a baseline."""
        return [
            (width, strategy)
            for width, strategy in self.groups
            if strategy != self.baseline and (width, self.baseline) in self.groups
        ]

    def paper(self, width: float | None, strategy: str) -> float | None:
        """The published top-1 in %."""
        if self.published is None or width is None:
            return None
        return self.published.top1.get(strategy, {}).get(width)


def compare(content: StudyRecord) -> Comparison:
    """Read the rows of a study."""
    split, curve_split = split_of(content.rows), curve_split_of(content.rows)
    published = content.published
    if published is not None:
        named = {printable(name): top1 for name, top1 in published.top1.items()}
        published = Published(printable(published.source), named)
    return Comparison(
        baseline=printable(content.baseline),
        published=published,
        split=split,
        curve_split=curve_split,
        runs=tuple(read_run(row, split, curve_split) for row in content.rows),
    )


def by_seed(runs: Runs) -> dict[int, float]:
    """Top-1 of each seed: their mean where several runs share one."""
    found: dict[int, list[float]] = {}
    for run in runs:
        if run.seed is not None and run.top1 is not None:
            found.setdefault(run.seed, []).append(run.top1)
    return {seed: statistics.fmean(values) for seed, values in found.items()}


def over(runs: Sequence[RunRow], of: Callable[[RunRow], float | None]) -> Estimate | None:
    """Return the estimate of a figure over the runs that have it."""
    return estimate([value for run in runs if (value := of(run)) is not None])


def top1(run: RunRow) -> float | None:
    """Top-1 in % on the comparison's split."""
    return run.top1
