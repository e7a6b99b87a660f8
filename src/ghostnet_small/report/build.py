"""A study's rows as a page of tables and plots."""

from __future__ import annotations

from collections.abc import Iterable

from ghostnet_small.errors import printable
from ghostnet_small.report.accuracy import findings, main_table
from ghostnet_small.report.comparison import Comparison
from ghostnet_small.report.costs import cost_table, failed_table, runs_table
from ghostnet_small.report.facts import class_counts, facts, provenance
from ghostnet_small.report.page import Page, Plot, Section, Table
from ghostnet_small.report.study_rows import StudyRecord
from ghostnet_small.report.teacher_tables import (
    agreement_table,
    losses_table,
    targets_table,
    teachers_table,
)


def build_page(content: StudyRecord, comparison: Comparison, plots: Iterable[Plot]) -> Page:
    """The report as data; sections that have nothing to show are left out."""
    drawn = {plot.name: plot for plot in plots}

    def section(
        anchor: str, title: str, *parts: Table | Plot | None, text: tuple[str, ...] = ()
    ) -> Section | None:
        shown = tuple(part for part in parts if part is not None)
        return Section(anchor, title, text, shown) if shown or text else None

    comparable = bool(comparison.groups)
    nothing = () if comparable else ("No run of a student has finished yet.",)
    sections = [
        section(
            "accuracy",
            "Accuracy",
            main_table(comparison) if comparable else None,
            drawn.get("accuracy"),
            text=nothing,
        ),
        section("differences", "Differences to the baseline", drawn.get("differences")),
        section("width", "Accuracy by width", drawn.get("width")),
        section("teachers", "Teachers", teachers_table(comparison), losses_table(comparison)),
        section("targets", "Targets", targets_table(comparison, class_counts(content.rows))),
        section("calibration", "Calibration and agreement", agreement_table(comparison)),
        section("cost", "Cost", cost_table(comparison), drawn.get("cost")),
        section("curves", "Training", drawn.get("curves")),
        section("runs", "Runs", runs_table(comparison), failed_table(content.failed)),
    ]
    paragraphs = content.about.replace("\r\n", "\n").split("\n\n")
    return Page(
        title=printable(content.name),
        about=tuple(printable(" ".join(one.split())) for one in paragraphs if one.strip()),
        facts=tuple(facts(content, comparison)),
        findings=tuple(findings(comparison)),
        sections=tuple(one for one in sections if one is not None),
        small=tuple(provenance(content.rows)),
    )
