"""The fixed cost of a step, of hand-made times."""

from __future__ import annotations

import pytest

from ghostnet_small.benchmark.step_cost import fit_line, spread_of, step_cost


def test_a_line_is_found_as_it_is() -> None:
    fixed, slope = fit_line([16, 64, 1024], [36 + 1.5 * batch for batch in (16, 64, 1024)])
    assert fixed == pytest.approx(36) and slope == pytest.approx(1.5)


def test_two_sizes_are_enough_and_a_cost_may_be_below_zero() -> None:
    assert fit_line([2, 4], [1.0, 3.0]) == pytest.approx((-1.0, 1.0))


def test_an_error_counts_by_its_share_of_the_time() -> None:
    times = [36 + 1.5 * batch for batch in (16, 64, 256)]
    # A largest batch that is a tenth slower. By absolute errors the line would begin below -16.
    fixed, slope = fit_line([16, 64, 256, 1024], [*times, 1.1 * (36 + 1.5 * 1024)])
    assert 20 < fixed < 36 and 1.5 < slope < 1.8


def test_the_cost_is_that_of_the_median_turn() -> None:
    # Steps of 10, 12 and 14 ms beside 1 ms an image, two steps a turn; a fourth turn was disturbed.
    seconds = {
        batch: [2 * (fixed + batch) / 1000 for fixed in (10, 12, 14)] + [2 * slow]
        for batch, slow in ((10, 5.0), (30, 0.042))
    }
    found = step_cost(seconds, steps=2)
    assert found["n"] == 4
    assert found["fixed_ms"] == pytest.approx(13)
    assert found["fixed_ms_min"] == pytest.approx(10) and found["fixed_ms_max"] > 1000
    assert found["fixed_ms_quartile1"] == pytest.approx(11.5)
    assert found["image_ms"] == pytest.approx(1)
    assert found["line_off"] == pytest.approx(0)


def test_what_is_no_line_is_told() -> None:
    # The line of relative errors through 1, 1 and 3 ms; by hand: 1/3 ms at 10, -1/9 at 20.
    found = step_cost({10: [0.001], 20: [0.001], 30: [0.003]}, steps=1)
    fixed, slope = found["fixed_ms"], found["image_ms"]
    lines = [fixed + slope * batch for batch in (10, 20, 30)]
    assert found["line_off"] == max(
        abs(a - b) / b for a, b in zip(lines, (1.0, 1.0, 3.0), strict=True)
    )
    assert found["line_off"] > 0.25


def test_the_spread_of_one_value_is_that_value() -> None:
    assert spread_of("x", [3.0]) == {
        "x": 3.0,
        "x_min": 3.0,
        "x_quartile1": 3.0,
        "x_quartile3": 3.0,
        "x_max": 3.0,
    }
