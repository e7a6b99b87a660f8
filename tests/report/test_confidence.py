from __future__ import annotations

import math

import pytest

from ghostnet_small.report.confidence import (
    Estimate,
    estimate,
    holm,
    paired_difference,
    t_quantile,
    unpaired_difference,
    wilson,
)


def test_quantiles_are_those_of_printed_tables() -> None:
    assert t_quantile(1) == pytest.approx(12.706, abs=5e-4)
    assert t_quantile(2) == pytest.approx(4.303, abs=5e-4)
    assert t_quantile(9) == pytest.approx(2.262, abs=5e-4)


def test_an_estimate_of_known_numbers() -> None:
    found = estimate([1.0, 2.0, 3.0])
    assert found is not None
    assert (found.mean, found.n, found.deviation) == (2.0, 3, 1.0)
    # 4.3027 / sqrt(3) = 2.4841
    assert found.half == pytest.approx(2.4841, abs=1e-4)
    assert found.low == pytest.approx(-0.4841, abs=1e-4)
    assert found.high == pytest.approx(4.4841, abs=1e-4)
    assert not found.real


def test_a_difference_of_groups_that_share_no_seeds_is_that_of_welch() -> None:
    from scipy.stats import ttest_ind

    one, other = [86.0, 88.0], [83.0, 84.0, 85.0]
    found = unpaired_difference(one, other)
    assert found is not None and found.mean == pytest.approx(3.0) and found.n == 2
    ends = ttest_ind(one, other, equal_var=False).confidence_interval()
    assert (found.low, found.high) == pytest.approx((ends.low, ends.high))
    single = unpaired_difference([86.0], other)
    assert single is not None and single.mean == pytest.approx(2.0) and single.half is None
    alike = unpaired_difference([86.0, 86.0], [84.0, 84.0])
    assert alike is not None and alike.half is None and not alike.real
    assert unpaired_difference([], other) is None


def test_differences_are_paired_by_seed_over_the_common_ones() -> None:
    kd = {0: 81.0, 1: 82.0, 2: 83.1, 9: 10.0}
    base = {2: 82.0, 1: 81.0, 0: 80.0, 7: 99.0}
    found = paired_difference(kd, base)
    assert found is not None
    # The differences are 1, 1 and 1.1: mean 1.0333, deviation 0.057735, half 2.4841 of it.
    assert found.n == 3
    assert found.mean == pytest.approx(1.03333, abs=1e-5)
    assert found.deviation == pytest.approx(0.057735, abs=1e-6)
    assert found.half == pytest.approx(0.143422, abs=1e-5)
    # Unpaired, the spread of the seeds (1.0) would hide it.
    assert found.real


def test_two_seeds_widen_the_interval() -> None:
    found = paired_difference({0: 1.5, 1: 2.5}, {0: 1.0, 1: 1.0})
    assert found is not None
    # The differences 0.5 and 1.5: deviation 0.7071, half 12.706 * 0.7071 / sqrt(2) = 6.353.
    assert found.mean == 1.0
    assert found.half == pytest.approx(6.3531, abs=1e-3)
    assert not found.real


def test_one_seed_has_no_interval_and_is_never_real() -> None:
    found = paired_difference({0: 90.0}, {0: 10.0, 1: 20.0})
    assert found is not None
    assert (found.mean, found.n) == (80.0, 1)
    assert (found.deviation, found.half, found.low, found.high) == (None, None, None, None)
    assert not found.real


def test_differences_that_are_all_alike_have_no_interval() -> None:
    found = paired_difference({0: 80.1, 1: 80.3}, {0: 80.0, 1: 80.2})
    assert found is not None
    assert found.mean == pytest.approx(0.1)
    assert found.half is None
    assert not found.real


def test_p_values_are_those_of_the_t_test() -> None:
    from scipy.stats import ttest_1samp, ttest_ind

    values = [1.0, 1.5, 1.0]
    found = estimate(values)
    # 1.1667 / (0.2887 / sqrt(3)) = 7.0, two degrees of freedom: p = 0.0198.
    assert found is not None and found.p == pytest.approx(0.0198, abs=1e-4) and found.real
    assert found.p == pytest.approx(ttest_1samp(values, 0.0).pvalue)
    one, other = [86.0, 88.0], [83.0, 84.0, 85.0]
    apart = unpaired_difference(one, other)
    assert apart is not None and apart.p == pytest.approx(ttest_ind(one, other, equal_var=False)[1])


def test_holm_multiplies_the_smallest_by_how_many_were_tested() -> None:
    ps = {"kd": 0.0254, "chain": 0.1324, "ensemble": 0.0024, "n = 1": None}
    found = holm({name: Estimate(1.0, 5, 1.0, 1.0, p) for name, p in ps.items()})
    assert list(found) == list(ps)
    # 3 x 0.0024, 2 x 0.0254 and 1 x 0.1324; that of one seed is not tested.
    assert found["ensemble"].p == pytest.approx(0.0072) and found["ensemble"].real
    assert found["kd"].p == pytest.approx(0.0508) and not found["kd"].real
    assert found["chain"].p == pytest.approx(0.1324)
    assert found["n = 1"].p is None and not found["n = 1"].real


def test_holm_keeps_the_order_and_ends_at_one() -> None:
    found = holm({key: Estimate(1.0, 3, 1.0, 1.0, p) for key, p in enumerate((0.04, 0.03, 0.9))})
    # 3 x 0.03 = 0.09; 2 x 0.04 = 0.08 is raised to it; 0.9 is the last.
    assert [one.p for one in found.values()] == pytest.approx([0.09, 0.09, 0.9])
    two = holm({key: Estimate(1.0, 3, 1.0, 1.0, 0.8) for key in range(2)})
    assert [one.p for one in two.values()] == [1.0, 1.0]
    assert holm({}) == {}


def test_nothing_in_common_is_none() -> None:
    assert paired_difference({0: 1.0}, {1: 1.0}) is None
    assert estimate([]) is None


def test_an_interval_that_ends_at_zero_is_not_real() -> None:
    half = t_quantile(1) * math.sqrt(0.5) / math.sqrt(2)
    found = estimate([half - 0.5, half + 0.5])
    assert found is not None
    assert found.low == pytest.approx(0.0, abs=1e-12)
    above = estimate([half - 0.49, half + 0.51])
    assert above is not None and above.real
    below = estimate([half - 0.51, half + 0.49])
    assert below is not None and not below.real


def test_wilson_is_that_of_printed_examples() -> None:
    # R. G. Newcombe, Statistics in Medicine 17 (1998), table I: 81 of 263, and 0 of 20.
    assert wilson(81, 263) == pytest.approx((25.53, 36.62), abs=0.01)
    assert wilson(0, 20) == pytest.approx((0.0, 16.11), abs=0.01)
    assert wilson(20, 20)[1] == 100.0
