"""The plots of a report in the order of reading, each as SVG in sentinel colours."""

from __future__ import annotations

from ghostnet_small.report.comparison import Comparison, over, top1
from ghostnet_small.report.page import Plot
from ghostnet_small.report.plots.accuracy_plot import draw_accuracy
from ghostnet_small.report.plots.cost_plot import draw_cost
from ghostnet_small.report.plots.curves_plot import draw_curves
from ghostnet_small.report.plots.differences_plot import draw_differences
from ghostnet_small.report.plots.draw import looks, settings, to_svg
from ghostnet_small.report.plots.width_plot import draw_width
from ghostnet_small.report.words import counted, plain, signed, spread, width_text

MOST_WORDS = 12  # rows of a table that the words for a plot repeat


def draw_all(comparison: Comparison) -> list[tuple[Plot, str]]:
    """Return each plot that the rows allow, with its drawing."""
    strategies = looks(comparison.strategies)
    split = comparison.split
    paper = " Dashed and hollow: the paper's, made under other conditions."
    panels = ""
    if len(comparison.widths) > 1:
        panels = " Each panel begins where its width does, but a point is equally long in all."
    drawings = [
        (
            draw_accuracy,
            "accuracy",
            f"Top-1 on {split} by strategy. Small rings: seeds; large marks: their mean, with its "
            "95 % t-interval, cut where it leaves the panel." + panels,
            f"Accuracy by strategy: {_accuracies(comparison)}",
        ),
        (
            draw_differences,
            "differences",
            "Difference to the baseline of the same width with its paired 95 % t-interval, cut "
            "where it leaves the plot. Filled marks are significant differences, corrected for "
            "how many were tested.",
            f"Differences to the baseline: {_differences(comparison)}",
        ),
        (
            draw_width,
            "width",
            f"Top-1 on {split} by width: means, with a bar from the worst seed to the best."
            + (paper if comparison.published else ""),
            f"Accuracy by width: {_accuracies(comparison)}",
        ),
        (
            draw_cost,
            "cost",
            f"Top-1 on {split} against cost: means over seeds, a mark for each width.",
            "Accuracy against deployed parameters, MACs and training time; the table of costs "
            "holds the figures.",
        ),
        (
            draw_curves,
            "curves",
            f"Top-1 on {comparison.curve_split} by epoch: the mean over seeds, in the band from "
            "the worst seed to the best. The first epochs may lie below the axis.",
            f"Top-1 on {comparison.curve_split} by epoch, a line for each strategy.",
        ),
    ]
    found = []
    with settings():
        for draw, name, caption, words in drawings:
            figure = draw(comparison, strategies)
            if figure is not None:
                found.append((Plot(name, caption, words), to_svg(figure)))
    return found


def _accuracies(comparison: Comparison) -> str:
    words = [
        f"{strategy} at width {width_text(width)}: {spread(mean)} % (n = {mean.n})"
        for (width, strategy), runs in comparison.groups.items()
        if (mean := over(runs, top1)) is not None
    ]
    return _some(words)


def _differences(comparison: Comparison) -> str:
    words = []
    for width, strategy in comparison.comparisons():
        one = comparison.difference(width, strategy)
        if one is not None:
            real = "significant" if one.real else "no significant difference"
            ends = f" plus or minus {plain(one.half)}" if one.half is not None else ""
            at = f"{strategy} at width {width_text(width)}"
            words.append(f"{at}: {signed(one.mean)}{ends} points ({real})")
    return _some(words)


def _some(words: list[str]) -> str:
    more = len(words) - MOST_WORDS
    rest = [f"and {counted(more, 'other')}, which the table holds"] if more > 0 else []
    return "; ".join([*words[:MOST_WORDS], *rest]) + "."
