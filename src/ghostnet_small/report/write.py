"""Write the report of a study: one HTML page, and the same in Markdown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ghostnet_small.files import check_no_link, write_atomic
from ghostnet_small.report.accuracy import main_rows
from ghostnet_small.report.build import build_page
from ghostnet_small.report.comparison import compare
from ghostnet_small.report.html import html
from ghostnet_small.report.markdown import markdown
from ghostnet_small.report.study_rows import StudyRecord
from ghostnet_small.report.theme import DARK, LIGHT

PLOTS = "plots"
NAMES = ("accuracy", "differences", "width", "cost", "curves")


def write_report(content: StudyRecord, folder: Path) -> dict[str, Any]:
    """Write ``report.html``, ``report.md`` and ``plots/*.svg`` into ``folder``, made if missing.

    The same rows give the same bytes. Returns the paths, the number of finished and of failed
    runs, and the figures of the main table. Raises ``InputError`` where one of them is a link.
    """
    # Matplotlib takes a second to import, which commands that write no report need not wait.
    from ghostnet_small.report.plots.all_plots import draw_all
    from ghostnet_small.report.plots.draw import coloured, inline

    comparison = compare(content)
    drawn = draw_all(comparison)
    page = build_page(content, comparison, [plot for plot, _ in drawn])
    plots = folder / PLOTS
    page_file, markdown_file = folder / "report.html", folder / "report.md"
    fresh = {}
    for plot, svg in drawn:
        for theme, colours in (("light", LIGHT), ("dark", DARK)):
            fresh[plots / f"{plot.name}-{theme}.svg"] = coloured(svg, colours)
    # Before anything is written.
    for path in (page_file, markdown_file, plots, *fresh):
        check_no_link(path)
    plots.mkdir(parents=True, exist_ok=True)
    for path, svg in fresh.items():
        write_atomic(path, svg)
    page_html = html(page, {plot.name: inline(svg, plot.name, plot.words) for plot, svg in drawn})
    write_atomic(page_file, page_html)
    write_atomic(markdown_file, markdown(page, PLOTS))
    # Last, for an older report may still show them: plots that these rows no longer give.
    for name in NAMES:
        for theme in ("light", "dark"):
            path = plots / f"{name}-{theme}.svg"
            if path not in fresh:
                path.unlink(missing_ok=True)
    return {
        "html": str(page_file),
        "markdown": str(markdown_file),
        "runs": len(content.rows),
        "failed": len(content.failed),
        "table": main_rows(comparison),
    }
