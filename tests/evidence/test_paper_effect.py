from __future__ import annotations

from pathlib import Path

import pytest

from evidence.paper_effect import paper_effect
from evidence.values import value_text
from ghostnet_small.report.words import MINUS

SMALL = {
    "baseline": {1.0: 91.0, 2.0: 93.0, 3.0: 94.0},
    "kd": {1.0: 90.0},
    "chain": {1.0: 90.8, 2.0: 92.0},
    "kd-efficientnet": {2.0: 10.0},
}


def test_each_baseline_counts_once_by_the_mean_of_its_students() -> None:
    found = paper_effect([SMALL, {"baseline": {1.0: 91.0}, "kd": {1.0: 90.8}}])
    # -1.0 and -0.2, then -1.0, and -0.2 of the other table. The third has no student, and that of
    # EfficientNet does not count.
    assert found is not None and found.n == 3
    assert found.mean == pytest.approx((-0.6 - 1.0 - 0.2) / 3)


def test_the_published_tables_have_the_effect_that_was_computed_by_hand(tmp_path: Path) -> None:
    # -0.398, -0.5, -0.13 and -0.51 of GN-S, -0.43 of GN-D: t = 5.7.
    assert value_text("published distillation", tmp_path) == (
        f"{MINUS}0.39 points (95 % interval {MINUS}0.59 to {MINUS}0.20, n = 5 baselines, p = 0.005)"
    )
