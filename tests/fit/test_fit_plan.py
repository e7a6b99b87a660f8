"""The plan of a fit: within the time, with reasons, from what is known of the images."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ghostnet_small.errors import InputError
from ghostnet_small.fit.fit_plan import (
    APART,
    EACH,
    SHIPPED,
    Facts,
    Kept,
    Part,
    Plan,
    choose_network,
    plan_fit,
    student_epochs,
)
from ghostnet_small.fit.needs import Shape
from ghostnet_small.fit.speed import Speed

FACTS = Facts(5000, 1000, "test", ("cat", "dog"), 500, 500, 32, 32, 3)
SPEEDS = {1.0: Speed(500.0, 3000.0), 2.8: Speed(80.0, 600.0)}
STUDENT = Part(1.0, 1280, SHIPPED[1.0], 1)
SHAPE = Shape(1.0, None, 10, 3, (32, 32))


def planned(
    minutes: float = 120.0, facts: Facts = FACTS, student: Part = STUDENT, **more: Any
) -> Plan:
    return plan_fit(facts, student, SPEEDS, minutes, **more)


def reasons(plan: Plan) -> dict[str, str]:
    return {one.what: one.chosen for one in plan.reasons}


@pytest.mark.parametrize("minutes", [5, 10, 20, 60, 240])
def test_the_plan_ends_in_time(minutes: float) -> None:
    plan = planned(minutes)
    assert plan.seconds <= 60 * minutes
    # And uses it, where more epochs than any recorded run had are not asked for.
    assert plan.student.epochs == 200 or plan.seconds > 60 * minutes - 20


def test_a_wider_teacher_is_trained_first_where_there_is_time() -> None:
    plan = planned()
    runs, strategies = plan.entries(1, seed=3)
    assert runs["teacher-1"]["settings"]["model"] == {
        "width": 2.8,
        "head": 1280,
        "weights": SHIPPED[2.8],
    }
    assert runs["teacher-1"]["settings"]["train"]["seed"] == 3
    assert strategies["fit-1"]["teachers"] == ["teacher-1"]
    # The student's seed is the study's.
    assert "seed" not in strategies["fit-1"]["settings"]["train"]
    assert planned(3).teacher is None


def test_short_trainings_measure_what_helps() -> None:
    runs, strategies = planned().entries(1, seed=0)
    short = (strategies["alone-1"], strategies["taught-1"])
    (epochs,) = {entry["settings"]["train"]["epochs"] for entry in short}
    assert runs["half-1"]["settings"]["train"]["epochs"] == 2 * epochs
    assert epochs < strategies["fit-1"]["settings"]["train"]["epochs"]
    assert "teachers" not in strategies["alone-1"] and strategies["taught-1"]["teachers"]
    assert runs["half-1"]["settings"]["data"] == {"limit": 2500}
    # Where there are no test images, the half that is left out measures.
    runs, _ = planned(facts=replace(FACTS, split="validation")).entries(1, seed=0)
    assert runs["half-1"]["settings"]["data"] == {"validation": 0.5}


def test_settings_of_the_images_reach_every_training() -> None:
    plan = planned(data={"limit": 500, "validation": 0.0})
    runs, strategies = plan.entries(1, seed=0)
    found = {name: entry["settings"]["data"] for name, entry in {**runs, **strategies}.items()}
    half = found.pop("half-1")
    assert half == {"limit": 2500, "validation": 0.0}
    assert set(map(str, found.values())) == {"{'limit': 500, 'validation': 0.0}"}


def test_a_teacher_of_an_earlier_plan_is_kept() -> None:
    plan = planned(kept=Kept("teacher-1", 2.8))
    runs, strategies = plan.entries(2, seed=0)
    assert list(runs) == ["half-2"] and strategies["fit-2"]["teachers"] == ["teacher-1"]
    assert plan.seconds < planned().seconds and plan.student.epochs == planned().student.epochs


def chosen(fits: Any, shape: Shape = SHAPE, minutes: float = 60.0) -> Part:
    def epochs(width: float) -> int:
        return student_epochs(FACTS, SPEEDS[width], minutes)

    return choose_network(shape, fits, lambda: 0.7, frozenset(), epochs)[0]


def test_shipped_weights_are_where_the_training_begins() -> None:
    assert chosen(lambda one: True) == Part(2.8, 1280, SHIPPED[2.8], 1)
    assert chosen(lambda one: one.width <= 1.3) == STUDENT
    # With as much of their head as there is room for.
    part = chosen(lambda one: one.width <= 1.3 and one.features <= 400)
    assert part == Part(1.0, 320, SHIPPED[1.0], 1)
    # Unless a head is asked for.
    part = chosen(lambda one: one.width <= 1.3, shape=replace(SHAPE, head=200))
    assert part == Part(1.0, 200, SHIPPED[1.0], 1)
    # Below all of them, from scratch, with a head as narrow.
    assert chosen(lambda one: one.width < 1) == Part(0.7, 896, None, 1)


def test_wide_weights_are_left_out_where_the_time_is_short() -> None:
    assert chosen(lambda one: True, minutes=30) == STUDENT
    # Unless no narrower ones are there.
    head = replace(SHAPE, head=1280)
    assert chosen(lambda one: one.width > 1, head, minutes=30) == Part(2.8, 1280, SHIPPED[2.8], 1)
    # A network that is trained six times has a sixth of the time.
    few = replace(FACTS, held_out=33)
    assert student_epochs(few, SPEEDS[2.8], 60) < student_epochs(FACTS, SPEEDS[2.8], 60) / 4


def test_weights_that_have_seen_the_images_are_left_out() -> None:
    known = frozenset(SHIPPED.values())
    part, reason = choose_network(SHAPE, lambda one: True, lambda: 1.3, known, lambda width: 99)
    assert part == Part(1.3, 1280, None, 1) and "seen these very images" in reason.why
    plan = planned(facts=replace(FACTS, known=known), student=replace(STUDENT, weights=None))
    assert plan.teacher is None
    _, strategies = plan.entries(1, seed=0)
    assert strategies["fit-1"]["settings"]["optimizer"]["learning_rate"] == 0.1


def test_few_images_are_cross_validated_instead_of_taught() -> None:
    plan = planned(facts=replace(FACTS, images=300, held_out=33, split="validation"))
    runs, strategies = plan.entries(1, seed=0)
    cuts = [entry["settings"]["data"] for entry in runs.values()]
    assert cuts == [{"validation": 0.2, "fold": fold} for fold in range(5)]
    assert list(strategies) == ["fit-1"] and plan.teacher is None


def test_symbols_are_not_mirrored_and_the_plan_says_so() -> None:
    digits = replace(FACTS, classes=tuple("0123456789"))
    plan = planned(facts=digits)
    assert plan.settings["augment"]["flip"] == "none"
    assert reasons(plan)["mirror images"] == "not used"
    assert reasons(planned())["mirror images"] == "used"
    told = planned().asked("mirror images", "none").reasons
    assert next(one for one in told if one.what == "mirror images").why == "asked for"


def test_unequal_classes_are_told() -> None:
    assert "unequal classes" not in reasons(planned())
    assert "unequal classes" in reasons(planned(facts=replace(FACTS, least=100)))


def test_minutes_below_an_epoch_are_refused_with_how_many_it_takes() -> None:
    with pytest.raises(InputError, match=r"--minutes 1 are too few: an epoch of 5,000 images"):
        planned(1)
    enough = (APART + EACH + 2 * 1.2 * 5000 / 500) / 60
    assert planned(enough).student.epochs >= 1
