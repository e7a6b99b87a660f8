from __future__ import annotations

import math

import pytest

from ghostnet_small.errors import InputError
from ghostnet_small.train.schedule import ScheduleSettings, learning_rate


def rates(steps: int, peak: float, **settings: object) -> list[float]:
    schedule = ScheduleSettings(**settings)  # type: ignore[arg-type]
    return [learning_rate(step, steps, peak, schedule) for step in range(steps)]


def test_linear_by_hand() -> None:
    found = rates(10, 1.0, warmup=0.4, decay="linear", final=0.1)
    expected = [0, 0.25, 0.5, 0.75, 1.0, 0.85, 0.7, 0.55, 0.4, 0.25]
    assert found == pytest.approx(expected, abs=1e-15)


def test_cosine_by_hand() -> None:
    found = rates(8, 2.0, warmup=0.5, warmup_start=0.4, decay="cosine")
    half = math.sqrt(0.5)
    expected = [0.4, 0.8, 1.2, 1.6, 2.0, 1 + half, 1.0, 1 - half]
    assert found == pytest.approx(expected, abs=1e-15)


def test_constant_and_no_warmup() -> None:
    assert rates(4, 0.3, warmup=0.0, decay="constant") == [0.3] * 4
    assert rates(4, 0.3, warmup=0.5, decay="constant") == pytest.approx([0, 0.15, 0.3, 0.3])


def test_all_warmup_never_divides_by_zero() -> None:
    assert rates(4, 1.0, warmup=1.0) == pytest.approx([0, 0.25, 0.5, 0.75])


def test_a_single_step() -> None:
    assert rates(1, 0.1, warmup=0.1) == [0.1]


def test_the_papers_schedule() -> None:
    """196 steps an epoch (drop_last would leave 195), 200 epochs, 30 % warm-up from 1e-8."""
    steps = 196 * 200
    schedule = ScheduleSettings(warmup=0.3, warmup_start=1e-8, decay="cosine", final=1e-8)

    def at(step: int) -> float:
        return learning_rate(step, steps, 0.01, schedule)

    warm = 11_760  # 0.3 * 39,200
    assert at(0) == 1e-8
    assert at(1) == pytest.approx(1e-8 + (0.01 - 1e-8) / warm, rel=1e-12)
    assert at(warm) == 0.01
    assert max(range(0, steps, 10), key=at) == warm
    middle = warm + (steps - warm) // 2
    assert at(middle) == pytest.approx((0.01 + 1e-8) / 2, rel=1e-9)
    assert at(steps) == pytest.approx(1e-8, rel=1e-6)
    assert at(steps - 1) > 1e-8


@pytest.mark.parametrize("settings", [{"warmup": 0.3}, {"warmup": 0.0, "decay": "linear"}])
def test_up_then_down(settings: dict) -> None:
    found = rates(50, 0.1, **settings)
    top = found.index(max(found))
    assert found[: top + 1] == sorted(found[: top + 1])
    assert found[top:] == sorted(found[top:], reverse=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [("warmup", -0.1), ("warmup", 1.1), ("warmup_start", -1.0), ("final", math.inf)],
)
def test_out_of_range(name: str, value: float) -> None:
    with pytest.raises(InputError, match=name):
        ScheduleSettings(**{name: value})  # type: ignore[arg-type]
