"""The plan of a fit: within the time, with reasons, from what is known of the images."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ghostnet_small.errors import InputError
from ghostnet_small.fit.needs import Needs
from ghostnet_small.fit.plan import APART, SHIPPED, Facts, Plan, choose_width, plan_fit
from ghostnet_small.fit.speed import Speed
from ghostnet_small.use.budget import Limits

FACTS = Facts(5000, 1000, "test", ("cat", "dog"), 500, 32, 32, 3, "f")
SPEEDS = {1.0: Speed(500.0, 3000.0), 2.8: Speed(80.0, 600.0)}


def planned(minutes: float = 20.0, facts: Facts = FACTS, width: float = 1.0, **more: Any) -> Plan:
    needs = Needs(442_600, 91_712)
    return plan_fit(facts, Limits(450_000, 128_000), width, needs, SPEEDS, minutes, **more)


def reasons(plan: Plan) -> dict[str, str]:
    return {one.what: one.chosen for one in plan.reasons}


@pytest.mark.parametrize("minutes", [5, 10, 20, 60])
def test_the_plan_ends_in_time(minutes: float) -> None:
    plan = planned(minutes)
    assert plan.seconds <= 60 * minutes
    # And uses it, where more epochs than any recorded run had are not asked for.
    assert plan.student.epochs == 200 or plan.seconds > 60 * minutes - 20


def test_a_wider_teacher_is_trained_first_where_there_is_time() -> None:
    plan = planned(20)
    assert plan.teacher is not None and plan.control is not None
    runs, strategies = plan.entries(1)
    assert runs["teacher-1"]["settings"]["model"] == {"width": 2.8, "weights": SHIPPED[2.8]}
    assert strategies["fit-1"]["teachers"] == ["teacher-1"]
    assert "teachers" not in strategies["alone-1"]
    assert planned(3).teacher is None


def test_a_teacher_of_an_earlier_plan_is_kept() -> None:
    plan = planned(20, kept="teacher-1")
    runs, strategies = plan.entries(2)
    assert not runs and strategies["fit-2"]["teachers"] == ["teacher-1"]
    assert plan.student.epochs > planned(20).student.epochs


def test_shipped_weights_are_where_the_training_begins_unless_they_have_seen_the_images() -> None:
    assert choose_width(1.3, frozenset())[0] == 1.0
    assert choose_width(0.7, frozenset())[0] == 0.7
    width, reason = choose_width(1.3, frozenset({SHIPPED[1.0]}))
    assert width == 1.3 and "seen these very images" in reason.why
    known = replace(FACTS, known=frozenset(SHIPPED.values()))
    plan = planned(facts=known)
    assert plan.student.weights is None and plan.teacher is None


def test_few_images_are_cross_validated_instead_of_taught() -> None:
    plan = planned(facts=replace(FACTS, images=300, held_out=33, split="validation"))
    runs, strategies = plan.entries(1)
    cuts = [entry["settings"]["data"] for entry in runs.values()]
    assert cuts == [{"validation": 0.2, "fold": fold} for fold in range(5)]
    assert list(strategies) == ["fit-1"] and plan.teacher is None


def test_symbols_are_not_mirrored_and_the_plan_says_so() -> None:
    digits = replace(FACTS, classes=tuple("0123456789"))
    plan = planned(facts=digits)
    assert plan.settings["augment"]["flip"] == "none"
    assert reasons(plan)["mirror images"] == "not used"
    assert reasons(planned())["mirror images"] == "used"


def test_minutes_below_an_epoch_are_refused_with_how_many_it_takes() -> None:
    with pytest.raises(InputError, match=r"--minutes 1 are too few: an epoch of 5,000 images"):
        planned(1)
    enough = (APART + 2 * 1.2 * 5000 / 500) / 60
    assert planned(enough).student.epochs >= 1
