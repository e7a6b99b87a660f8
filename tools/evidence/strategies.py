"""The table of a study's strategies, each compared with the baseline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from evidence.fields import verdict
from evidence.rows import named_file
from ghostnet_small.errors import InputError
from ghostnet_small.report.comparison import Comparison, Runs, compare, over, top1
from ghostnet_small.report.confidence import Estimate
from ghostnet_small.report.study_report import study_record
from ghostnet_small.report.study_rows import StudyRecord
from ghostnet_small.report.table_cells import markdown_table
from ghostnet_small.report.words import (
    NONE,
    each,
    interval,
    plain,
    signed,
    spread,
    width_text,
)
from ghostnet_small.run.records import number


def strategies_table(results: Path, names: Sequence[str]) -> tuple[str, list[Path]]:
    """A row for each width and strategy of the study called by the one of ``names``.

    Differences are in points to the baseline of the same width, paired by seed, as the study's
    report has them.
    """
    content, file = named_study(results, names, "strategies")
    comparison = compare(content)
    everything = [
        {
            "strategy": strategy,
            "width": width_text(width),
            "n": str(len(runs)),
            "seeds": each(NONE if run.seed is None else run.seed for run in runs),
            f"{comparison.split} top-1, %": spread(over(runs, top1)),
            **_against(comparison, width, strategy),
            "best epoch chosen on test, %": spread(over(runs, lambda run: run.best_on_test)),
            "entropy of targets, nats": _entropy(runs),
            "agreement with teacher, %": spread(over(runs, lambda run: run.agreement)),
            "published, %": plain(comparison.paper(width, strategy)),
            "published difference": _published(comparison, width, strategy),
        }
        for (width, strategy), runs in comparison.groups.items()
    ]
    # A column stands where some row has the figure.
    titles = [title for title in everything[0] if any(row[title] != NONE for row in everything)]
    return markdown_table(titles, [[row[title] for title in titles] for row in everything]), [file]


def named_study(results: Path, names: Sequence[str], kind: str) -> tuple[StudyRecord, Path]:
    """The study that a table of ``kind`` names, and its file of rows."""
    if len(names) != 1:
        raise InputError(
            f"table '{' '.join((kind, *names))}' must name one study; write such as {kind} NAME, "
            f"for the folder {results}/NAME"
        )
    file = named_file(results, names[0])
    return study_record(file.parent), file


def _against(comparison: Comparison, width: float | None, strategy: str) -> dict[str, str]:
    titles = ("difference, points", "95 % interval", "verdict")
    if strategy == comparison.baseline:
        return dict(zip(titles, (NONE, NONE, "baseline"), strict=True))
    found = comparison.difference(width, strategy)
    if found is None:
        return dict.fromkeys(titles, NONE)
    return dict(zip(titles, (signed(found.mean), interval(found), verdict(found)), strict=True))


def _entropy(runs: Runs) -> str:
    return plain(_mean(over(runs, lambda run: number(run.distill or {}, "targets", "entropy"))), 3)


def _mean(found: Estimate | None) -> float | None:
    return None if found is None else found.mean


def _published(comparison: Comparison, width: float | None, strategy: str) -> str:
    theirs = comparison.paper(width, strategy)
    baseline = comparison.paper(width, comparison.baseline)
    if theirs is None or baseline is None or strategy == comparison.baseline:
        return NONE
    return signed(theirs - baseline)
