from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ghostnet_small.report.comparison import Comparison, compare
from ghostnet_small.report.plots.accuracy_plot import draw_accuracy
from ghostnet_small.report.plots.cost_plot import draw_cost
from ghostnet_small.report.plots.curves_plot import draw_curves
from ghostnet_small.report.plots.differences_plot import draw_differences
from ghostnet_small.report.plots.draw import (
    PAGE,
    apart,
    coloured,
    inline,
    limits,
    looks,
    settings,
    short,
    to_svg,
)
from ghostnet_small.report.plots.width_plot import draw_width
from ghostnet_small.report.theme import LIGHT, SENTINELS
from report_rows import distilled, published, row, study

Draw = Callable[..., Figure | None]
DRAWS: list[Draw] = [draw_accuracy, draw_differences, draw_width, draw_cost, draw_curves]


@pytest.fixture(autouse=True)
def drawing() -> Iterator[None]:
    with settings():
        yield


def wide(**more: object) -> Comparison:
    rows = study().rows
    rows += [row(f"base-w2-{seed}", "base", seed, 83.0 + seed, width=2.0) for seed in range(3)]
    rows += [distilled(f"kd-w2-{seed}", "kd", seed, 82.5 + seed, width=2.0) for seed in range(2)]
    return compare(study(*rows, **more))


def draw(one: Draw, comparison: Comparison) -> Figure:
    figure = one(comparison, looks(comparison.strategies))
    assert figure is not None
    return figure


def points(lines: list[Line2D], marker: str) -> list[tuple[float, float]]:
    """Where a marker stands, rounded."""
    return [
        (round(float(x), 3), round(float(y), 3))
        for line in lines
        if line.get_marker() == marker
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)  # type: ignore[arg-type]
    ]


def words(figure: Figure) -> set[str]:
    return set(re.findall(r">([^<>]+)</text>", to_svg(figure)))


def test_accuracy_shows_each_seed_and_the_mean_of_every_width() -> None:
    panels = draw(draw_accuracy, wide()).axes
    rings = points(panels[0].lines, "o")
    assert {x for x, _ in rings} == {80.0, 81.0, 82.0, 83.1}
    assert (81.0, 0) in rings  # the mean of the baseline
    assert points(panels[0].lines, "s") == [(82.033, 1)]
    assert points(panels[1].lines, "s") == [(83.0, 1)]
    spans = [axes.get_xlim()[1] - axes.get_xlim()[0] for axes in panels]
    assert spans[0] == pytest.approx(spans[1])
    assert {"width 1.0", "width 2.0", "81.00", "82.03", "base", "kd"} <= words(
        draw(draw_accuracy, wide())
    )


def test_differences_are_filled_only_where_they_are_real() -> None:
    figure = draw(draw_differences, wide(published=published(base={1.0: 91.0}, kd={1.0: 90.5})))
    marks = [line for line in figure.axes[0].lines if line.get_marker() == "s"]
    real, alike = marks
    assert [round(float(line.get_xdata()[0]), 3) for line in marks] == [1.033, -0.5]  # type: ignore[index]
    assert real.get_markerfacecolor() == real.get_color() != PAGE
    assert alike.get_markerfacecolor() == PAGE
    assert [x for x, _ in points(list(figure.axes[0].lines), "|")] == [-0.5]
    said = words(figure)
    assert any("+1.03" in text and "significant" in text for text in said)
    assert any("n = 2, no interval" in text and "significant" not in text for text in said)


def test_width_needs_two_of_them_and_dashes_the_published() -> None:
    one = compare(study())
    assert draw_width(one, looks(one.strategies)) is None
    paper = published(base={1.0: 91.0, 1.5: 91.5, 9.0: 99.0}, unknown={1.0: 50.0})
    figure = draw(draw_width, wide(published=paper))
    lines = {
        tuple(float(y) for y in line.get_ydata()): line.is_dashed()  # type: ignore[union-attr]
        for line in figure.axes[0].lines
        if line.get_marker() == "o"
    }
    assert lines == {(91.0, 91.5): True, (81.0, 84.0): False}
    assert {"paper: base", "base", "kd"} <= words(figure)


def test_costs_are_in_units_that_suit_them() -> None:
    figure = draw(draw_cost, wide())
    assert [axes.get_xlabel() for axes in figure.axes] == ["thousands", "thousands", "minutes"]
    assert points(list(figure.axes[0].lines), "o") == [(1.0, 81.0), (1.0, 84.0)]
    assert points(list(figure.axes[2].lines), "o") == [(10.0, 81.0), (20.0, 84.0)]
    assert all(axes.get_xlim()[0] == 0 for axes in figure.axes)


def test_curves_are_means_of_the_split_that_was_held_out() -> None:
    figure = draw(draw_curves, compare(study()))
    base = figure.axes[0].lines[0]
    assert list(base.get_ydata()) == [79.0, 80.0]  # type: ignore[arg-type]
    assert figure.axes[0].get_ylabel() == "validation top-1, %"
    content = study()
    for one in content.rows:
        one["epochs"] = [{"epoch": 1, "train_top1": 40.0}]
    figure = draw(draw_curves, compare(content))
    assert list(figure.axes[0].lines[0].get_ydata()) == [40.0]  # type: ignore[arg-type]
    assert figure.axes[0].get_ylabel() == "train top-1, %"


def test_curves_never_show_the_test_split() -> None:
    content = study()
    for one in content.rows:
        one["epochs"] = [{"epoch": 1, "test_top1": 40.0}]
    comparison = compare(content)
    assert draw_curves(comparison, looks(comparison.strategies)) is None


@pytest.mark.parametrize("one", DRAWS, ids=lambda one: one.__name__)
def test_only_roles_have_colours(one: Draw) -> None:
    svg = to_svg(draw(one, wide(published=published(base={1.0: 91.0, 2.0: 92.0}, kd={1.0: 90.0}))))
    found = set(re.findall(r"(?:fill|stroke): (#\w+)", svg))
    assert SENTINELS["ink"] in found or SENTINELS["muted"] in found
    assert found <= set(SENTINELS.values())
    light = coloured(svg, LIGHT)
    assert set(re.findall(r"(?:fill|stroke): (#\w+)", light)) <= set(LIGHT.values())


def test_names_that_look_like_code_are_shown_as_they_are() -> None:
    name = 'id="x" $a$ url(#b) fill: #000100'
    svg = to_svg(draw(draw_accuracy, compare(study(row("a", "base"), row("b", name)))))
    for changed in (coloured(svg, LIGHT), inline(svg, "accuracy", "words")):
        assert re.search(rf">{re.escape(name)}</text>", changed)


@pytest.mark.parametrize("count", [1, 12])
def test_one_strategy_or_many_with_long_names_are_told_apart(count: int) -> None:
    names = [f"a rather long name of a strategy of distillation, number {n}" for n in range(count)]
    made = looks(names)
    assert len({(look.colour, look.marker) for look in made.values()}) == count
    assert len({short(name) for name in names}) == count
    rows = [row(f"{n}-{seed}", n, seed, 80.0 + seed) for n in names for seed in range(2)]
    comparison = compare(study(*rows, baseline=names[0]))
    for one in (draw_accuracy, draw_cost, draw_curves):
        assert draw(one, comparison).axes


def test_labels_are_moved_apart_by_as_little_as_can_be() -> None:
    assert apart([5.0, 1.0], 1.0, 0.0, 9.0) == [5.0, 1.0]
    assert apart([2.0, 2.0], 1.0, 0.0, 9.0) == [1.5, 2.5]
    assert apart([2.0, 2.4, 8.0], 1.0, 0.0, 9.0) == pytest.approx([1.7, 2.7, 8.0])
    assert apart([9.0, 9.0], 1.0, 0.0, 9.0) == [8.0, 9.0]
    assert apart([0.0, 0.0], 1.0, 0.0, 9.0) == [0.0, 1.0]
    assert apart([], 1.0, 0.0, 9.0) == []


def test_limits_cut_an_interval_that_would_press_the_points_into_one() -> None:
    low, high = limits([80.0, 82.0])
    assert 79.5 < low < 80.0 and 82.0 < high < 82.5
    low, high = limits([80.0, 82.0], [40.0, 83.0])
    assert 77.0 < low < 78.0 and 83.0 < high < 84.0
    low, high = limits([80.0])
    assert low < 80.0 < high
