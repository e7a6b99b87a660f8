"""The main table of a report, and the findings from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ghostnet_small.report.comparison import Comparison, over, top1
from ghostnet_small.report.confidence import Estimate, half_width
from ghostnet_small.report.page import Column, Table, table
from ghostnet_small.report.words import (
    NO_BREAK,
    NONE,
    counted,
    each,
    interval,
    plain,
    probability,
    signed,
    spread,
    width_text,
)

# The difference, its interval, p and the verdict: in bold where it is significant.
STRONG = (5, 6, 7, 8)


def main_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """Return the main table's figures, a row for each width and strategy."""
    rows = []
    for (width, strategy), runs in comparison.groups.items():
        mean = over(runs, top1)
        difference = None
        if strategy != comparison.baseline:
            difference = comparison.difference(width, strategy)
        best = over(runs, lambda run: run.best_on_test)
        rows.append(
            {
                "strategy": strategy,
                "width": width,
                "split": comparison.split,
                "n": mean.n if mean else 0,
                "seeds": [run.seed for run in runs],
                "top1": mean and mean.mean,
                "deviation": mean and mean.deviation,
                "difference": difference and difference.mean,
                "low": difference and difference.low,
                "high": difference and difference.high,
                "p": difference and difference.p,
                "pairs": difference.n if difference else 0,
                "real": bool(difference and difference.real),
                "published": comparison.paper(width, strategy),
                "best_on_test": best and best.mean,
            }
        )
    return rows


def main_table(comparison: Comparison) -> Table:
    """Accuracy by strategy and width, and the differences to the baseline."""
    groups = comparison.groups
    papers = {key: comparison.paper(*key) for key in groups}
    bests = {key: over(runs, lambda run: run.best_on_test) for key, runs in groups.items()}
    columns = [
        Column("strategy", numeric=False),
        Column("width"),
        Column("n"),
        Column("seeds", numeric=False),
        Column(f"{comparison.split} top-1, %"),
        Column("difference, points"),
        Column("95 % interval"),
        Column("p, corrected"),
        Column("verdict", numeric=False),
    ]
    published = any(value is not None for value in papers.values())
    if published:
        columns.append(Column("paper, % (other conditions)"))
    if any(bests.values()):
        columns.append(Column("best epoch chosen on test, %"))
    rows: list[list[str]] = []
    starts: set[int] = set()
    strong: set[tuple[int, int]] = set()
    for (width, strategy), runs in groups.items():
        mean, difference = over(runs, top1), comparison.difference(width, strategy)
        compared = strategy != comparison.baseline and difference is not None
        if rows and rows[-1][1] != width_text(width):
            starts.add(len(rows))
        if compared and difference is not None and difference.real:
            strong.update((len(rows), place) for place in STRONG)
        row = [
            strategy,
            width_text(width),
            str(mean.n if mean else 0),
            each(NONE if run.seed is None else run.seed for run in runs),
            spread(mean),
            signed(difference.mean) if compared and difference else NONE,
            _interval(difference, mean) if compared else NONE,
            probability(difference.p) if compared and difference else NONE,
            _verdict(comparison, width, strategy),
        ]
        if published:
            row.append(plain(papers[width, strategy]))
        if any(bests.values()):
            row.append(spread(bests[width, strategy]))
        rows.append(row)
    note = _interval_note(comparison)
    if comparison.published is not None:
        note += (
            f" The paper's figures are those of {comparison.published.source}: made under other "
            "conditions, one run each, they are no baseline for ours."
        )
    if any(bests.values()):
        note += (
            " The best epoch chosen on test is optimistic, for the test split chose it; it stands "
            "beside the paper's habit only."
        )
    title = f"Top-1 on {comparison.split} at the last epoch: mean ± sample deviation over n seeds"
    return table(title, columns, rows, note, frozenset(starts), frozenset(strong))


def _interval_note(comparison: Comparison) -> str:
    two, three, five = (plain(half_width(1.0, seeds), 1) for seeds in (2, 3, 5))
    return (
        "Difference: top-1 less that of the baseline of the same width and seed, in points, "
        "averaged over the common seeds. The interval is the paired 95 % t-interval of that mean; "
        "with few seeds it is wide, for Student's t must cover how little they say of their own "
        f"spread (half-width: {two} standard deviations for 2 seeds, {three} for 3, {five} for 5). "
        "Intervals stand each by itself. p is that of the paired t-test, corrected by Holm's "
        f"method for {counted(comparison.tested, 'tested difference')}; a difference is called "
        "significant only where it is below 0.05."
    )


def findings(comparison: Comparison) -> list[str]:
    """Return a sentence for each strategy on its differences to the baseline."""
    found = {key: comparison.difference(*key) for key in comparison.comparisons()}
    sentences = []
    for strategy in comparison.strategies:
        known = {width: one for (width, name), one in found.items() if name == strategy and one}
        if known:
            sentences.append(_finding(strategy, known, comparison.baseline))
    return sentences or [f"No run can be compared with the baseline “{comparison.baseline}” yet."]


def _finding(strategy: str, known: Mapping[float | None, Estimate], baseline: str) -> str:
    """Say at which widths a strategy is better or worse than the baseline, or not clearly
    different.
    """
    parts = []
    for word in ("better", "worse"):
        here = {width: one for width, one in known.items() if one.real and _better(one) == word}
        if here:
            parts.append(f"{word} than {baseline} at {_widths(here, intervals=True)}")
    open_ = {width: one for width, one in known.items() if not one.real and one.n > 1}
    if open_:
        parts.append(f"no significant difference from {baseline} at {_widths(open_)}")
    single = {width: one for width, one in known.items() if one.n == 1}
    if single:
        parts.append(f"seen with one common seed only, which shows nothing, at {_widths(single)}")
    return f"{strategy}: {'; '.join(parts)}."


def _widths(known: Mapping[float | None, Estimate], intervals: bool = False) -> str:
    """Return the widths with the result at each, with line breaks only between them."""
    said = [
        f"{width_text(width)} ({signed(one.mean)} {interval(one)})"
        if intervals
        else f"{width_text(width)} ({signed(one.mean)})"
        for width, one in known.items()
    ]
    noun = "width" if len(said) == 1 else "widths"
    return f"{noun} {', '.join(text.replace(' ', NO_BREAK) for text in said)}"


def _better(difference: Estimate) -> str:
    return "better" if difference.mean > 0 else "worse"


def _interval(difference: Estimate | None, mean: Estimate | None) -> str:
    """Return the interval, and its number of pairs where that is not n."""
    if difference is None or difference.half is None:
        return NONE
    fewer = f" of {counted(difference.n, 'pair')}" if mean and difference.n != mean.n else ""
    return f"{interval(difference)}{fewer}"


def _verdict(comparison: Comparison, width: float | None, strategy: str) -> str:
    if strategy == comparison.baseline:
        return "baseline"
    if (width, comparison.baseline) not in comparison.groups:
        return "no baseline"
    difference = comparison.difference(width, strategy)
    if difference is None:
        return "no common seed"
    if difference.n == 1:
        return "n = 1"
    if difference.half is None:
        return "no spread"
    return f"significant, {_better(difference)}" if difference.real else "no significant difference"
