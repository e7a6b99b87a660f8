"""Labels beside points hide nothing."""

from __future__ import annotations

import random

import pytest

from ghostnet_small.report.plots.label_places import (
    NEAR,
    OFFSETS,
    Box,
    _cross,
    _label,
    corner,
    places,
)

FRAME = Box(0, 0, 600, 400)


def test_a_box_and_what_it_shares() -> None:
    box = Box(0, 0, 10, 4)
    assert box.scaled(2) == Box(0, 0, 20, 8)
    assert box.within(FRAME) and not Box(-1, 0, 5, 5).within(FRAME)
    assert not Box(0, 399, 5, 401).within(FRAME)
    assert box.overlaps(Box(9, 3, 20, 20)) and not box.overlaps(Box(10, 0, 20, 4))
    assert not box.overlaps(Box(0, 4, 10, 8))
    assert box.holds_some_of(((-5, -5), (15, 9))) and box.holds_some_of(((2, 2), (3, 3)))
    assert not box.holds_some_of(((-5, 0), (0, 5))) and not box.holds_some_of(((5, 5), (5, 9)))
    assert box.holds_some_of(((5, -1), (5, 1))) and not box.holds_some_of(((11, -1), (11, 9)))
    assert not box.holds_some_of(((-5, 2), (-1, 2)))


def test_lines_that_cross() -> None:
    assert _cross(((0, 0), (4, 4)), ((0, 4), (4, 0)))
    assert not _cross(((0, 0), (4, 4)), ((3, 0), (4, 1)))
    assert not _cross(((0, 0), (1, 1)), ((0, 4), (4, 0)))


@pytest.mark.parametrize("offset", OFFSETS)
def test_a_label_leads_away_from_its_point(offset: tuple[float, float]) -> None:
    box, (point, end) = _label((100, 100), (50, 10), offset)
    assert point == (100, 100) and end == (100 + offset[0], 100 + offset[1])
    assert not box.overlaps(Box(100 - 5, 100 - 5, 100 + 5, 100 + 5))
    across, up = corner(offset)
    assert across == {True: 0, False: 1}[offset[0] > 0] or offset[0] == 0
    assert up == {True: 0, False: 1}[offset[1] > 0] or offset[1] == 0


def test_one_alone_stands_at_the_right() -> None:
    assert places([(300, 200)], [(80, 10)], FRAME) == [(NEAR, 0)]
    # Where there is no room, at the left.
    assert places([(590, 200)], [(80, 10)], FRAME) == [(-NEAR, 0)]


@pytest.mark.parametrize("seed", range(4))
def test_none_hides_another(seed: int) -> None:
    """A dozen points on one line, as formats of one network are."""
    chance = random.Random(seed)
    points = [(chance.uniform(60, 420), 200 + chance.uniform(-3, 3)) for _ in range(12)]
    sizes = [(chance.uniform(40, 90), 9.0) for _ in points]
    offsets = places(points, sizes, FRAME)
    assert offsets == places(points, sizes, FRAME)
    boxes = [
        _label(point, size, offset)[0]
        for point, size, offset in zip(points, sizes, offsets, strict=True)
    ]
    dots = [Box(x - 5, y - 5, x + 5, y + 5) for x, y in points]
    for index, box in enumerate(boxes):
        assert box.within(FRAME)
        assert not any(map(box.overlaps, boxes[:index]))
        assert not any(box.overlaps(dot) for other, dot in enumerate(dots) if other != index)


def test_no_line_crosses_a_label_where_that_can_be() -> None:
    points = [(100.0 + 22 * index, 200.0) for index in range(6)]
    sizes = [(60.0, 9.0)] * 6
    offsets = places(points, sizes, FRAME)
    labels = [_label(*one) for one in zip(points, sizes, offsets, strict=True)]
    for index, (_, line) in enumerate(labels):
        for other, (box, _) in enumerate(labels):
            assert index == other or not box.holds_some_of(line)


def test_without_any_room_a_label_is_there_all_the_same() -> None:
    assert places([(5, 5), (6, 5)], [(80, 10), (80, 10)], Box(0, 0, 20, 10)) == [OFFSETS[0]] * 2
