"""Places for labels beside the points of a figure, so that no label hides anything."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

# Of a label from its point, in points of text, the nearest first; those beyond ``NEAR`` get a line.
NEAR = 9.0
OFFSETS = (
    *((NEAR, 0.0), (-NEAR, 0.0), (0.0, NEAR), (0.0, -NEAR)),
    *(
        (sideways * far, far * up)
        for far in (18.0, 30.0, 42.0, 54.0, 66.0, 78.0, 90.0)
        for sideways in (0.5, 0.0, -0.5, 1.2, -1.2, 2.5, -2.5)
        for up in (1.0, -1.0)
    ),
)
DOT = 6.0  # half the side of the square that a point takes
GAP = 2.0  # around a label
ORDERS = 150
Spot = tuple[float, float]


@dataclass(frozen=True)
class Box:
    """A rectangle with sides along the axes."""

    left: float
    low: float
    right: float
    high: float

    def scaled(self, factor: float) -> Box:
        """Return the box in other units."""
        return Box(*(factor * side for side in (self.left, self.low, self.right, self.high)))

    def within(self, other: Box) -> bool:
        """Return whether it lies wholly in ``other``."""
        across = other.left <= self.left and self.right <= other.right
        return across and other.low <= self.low and self.high <= other.high

    def overlaps(self, other: Box) -> bool:
        """Return whether both share an area."""
        across = self.left < other.right and other.left < self.right
        return across and self.low < other.high and other.low < self.high

    def holds_some_of(self, line: tuple[Spot, Spot]) -> bool:
        """Return whether a straight line goes through it."""
        (x, y), (to_x, to_y) = line
        first, last = 0.0, 1.0
        for start, step, low, high in (
            (x, to_x - x, self.left, self.right),
            (y, to_y - y, self.low, self.high),
        ):
            if step == 0:
                if not low < start < high:
                    return False
                continue
            ends = sorted(((low - start) / step, (high - start) / step))
            first, last = max(first, ends[0]), min(last, ends[1])
        return first < last


def corner(offset: Spot) -> Spot:
    """Return the spot of a label, from (0, 0), its lower left, to (1, 1), at which its line begins;
    the spot lies at the offset from the label's point.
    """
    across, up = ((part < 0) + 0.5 * (part == 0) for part in offset)
    return across, up


def places(points: Sequence[Spot], sizes: Sequence[Spot], frame: Box) -> list[Spot]:
    """An offset for each of ``points`` and the size (width, height) of its label, all in points
    of text.

    Labels lie in ``frame`` and hide neither points nor each other; where that can be, no line from
    a label to its point crosses anything. One without any room stands at the right of its point.
    """
    shuffler = random.Random(0)
    order = sorted(range(len(points)), key=lambda index: -points[index][0])
    best: list[Spot] = []
    least: tuple[float, float] | None = None
    for _ in range(ORDERS):
        found = _in_order(order, points, sizes, frame, least)
        if found is not None:
            least, best = found
        shuffler.shuffle(order)
    return best


def _in_order(
    order: Sequence[int],
    points: Sequence[Spot],
    sizes: Sequence[Spot],
    frame: Box,
    least: tuple[float, float] | None,
) -> tuple[tuple[float, float], list[Spot]] | None:
    """Put each label in turn at the nearest free place, and return the cost and the offsets. The
    cost is the lines that cross something, then the distance to the labels. None once it is not
    below ``least``.
    """
    dots = [Box(x - DOT, y - DOT, x + DOT, y + DOT) for x, y in points]
    labels: list[Box] = []
    lines: list[tuple[Spot, Spot]] = []
    found: dict[int, Spot] = {}
    crossed = length = 0.0
    for index in order:
        others = [*dots[:index], *dots[index + 1 :], *labels]
        # A line cannot keep off a point that its own lies upon.
        apart = [box for box in others if not box.overlaps(dots[index])]
        point, size = points[index], sizes[index]
        for strict, offset in product((True, False), OFFSETS):
            box, line = _label(point, size, offset)
            if not box.within(frame) or any(map(box.overlaps, others)):
                continue
            if strict and (
                any(map(box.holds_some_of, lines))
                or any(thing.holds_some_of(line) for thing in apart)
                or any(_cross(line, other) for other in lines)
            ):
                continue
            crossed += not strict
            break
        else:
            offset = OFFSETS[0]
            box, line = _label(point, size, offset)
            crossed += len(points)
        far = max(map(abs, offset))
        length += far
        if least is not None and (crossed, length) >= least:
            return None
        found[index] = offset
        labels.append(box)
        if far > NEAR:
            lines.append(line)
    return (crossed, length), [found[index] for index in range(len(points))]


def _label(point: Spot, size: Spot, offset: Spot) -> tuple[Box, tuple[Spot, Spot]]:
    """The box of a label at ``offset``, and the line from it to its point."""
    across, up = corner(offset)
    x, y = point[0] + offset[0], point[1] + offset[1]
    left, low = x - across * size[0], y - up * size[1]
    box = Box(left - GAP, low - GAP, left + size[0] + GAP, low + size[1] + GAP)
    return box, (point, (x, y))


def _cross(one: tuple[Spot, Spot], other: tuple[Spot, Spot]) -> bool:
    def side(line: tuple[Spot, Spot], spot: Spot) -> bool:
        (x, y), (to_x, to_y) = line
        return (to_x - x) * (spot[1] - y) > (to_y - y) * (spot[0] - x)

    return side(one, other[0]) != side(one, other[1]) and side(other, one[0]) != side(other, one[1])
