"""The flash and the working memory of networks that are not trained yet, and the widest within."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from ghostnet_small.deploy.c.footprint import expected_bytes
from ghostnet_small.deploy.description import Description
from ghostnet_small.errors import InputError
from ghostnet_small.fit.device_limits import words_of
from ghostnet_small.models.ghostnetv3 import divisible
from ghostnet_small.models.heads import HEAD_FEATURES, HEADS
from ghostnet_small.use.budget import Limits

# Widths that are tried: tenths, which a table can show.
NARROWEST, WIDEST, PARTS = 1, 40, 10


@dataclass(frozen=True)
class Shape:
    """A network's ``width`` and ``head``, and the images and classes that it is for.

    ``head`` None: 1280 features, and as the width below a width of 1, else most of a narrow
    network would be there.
    """

    width: float
    head: int | None
    classes: int
    channels: int
    size: tuple[int, int]  # height, width

    @property
    def features(self) -> int:
        """Return the head's features."""
        if self.head is not None:
            return self.head
        return max(HEADS[0], divisible(HEAD_FEATURES * min(1.0, self.width)))

    @property
    def config(self) -> dict[str, Any]:
        """Return what the network is created from."""
        return {
            "architecture": "ghostnetv3_small",
            "width": self.width,
            "head": self.features,
            "num_classes": self.classes,
            "in_channels": self.channels,
        }

    @property
    def description(self) -> Description:
        """Return the description of its int8 file."""
        return Description(
            architecture="ghostnetv3_small",
            width=self.width,
            classes=tuple(map(str, range(self.classes))),
            size=self.size,
            mean=(0.5,) * self.channels,
            std=(0.25,) * self.channels,
            precision="int8",
            input="normalized",
            data={},
            head=self.features,
        )

    def of(self, width: float, head: int | None = None) -> Shape:
        """Return the network of another ``width``, and ``head`` if given, for the same images and
        classes."""
        return replace(self, width=width, head=self.head if head is None else head)


@dataclass(frozen=True)
class Needs:
    """Bytes that the int8 C file takes on a Cortex-M4."""

    flash: int
    ram: int


@lru_cache(maxsize=256)
def needs_of(shape: Shape) -> Needs:
    """Count what the int8 C file of GhostNetV3-Small in this ``shape`` takes."""
    return Needs(*expected_bytes(shape.config, shape.description))


def widest(
    limits: Limits, shape: Shape, past: Callable[[Shape], str | None] | None = None
) -> float:
    """Return the largest width of a network, for the images and classes of ``shape``, within
    ``limits``; ``past`` is a further test, which returns why a network fails it.

    Raises ``InputError``, with what the smallest network needs, where none is.
    """

    def holds(tenths: int) -> bool:
        needs = needs_of(shape.of(tenths / PARTS))
        return limits.hold(needs.flash, needs.ram)

    if not holds(NARROWEST):
        least = needs_of(shape.of(NARROWEST / PARTS))
        height, width = shape.size
        raise InputError(
            f"no network keeps {words_of(limits)}: the smallest, of width {NARROWEST / PARTS:g}, "
            f"takes {least.flash / 1000:,.1f} kB of flash and {least.ram / 1000:,.1f} kB of RAM "
            f"for images of {width}x{height}; allow more, or give a smaller --data.size"
        )
    # Needs and time grow with the width.
    wider = range(NARROWEST + 1, WIDEST + 1)
    largest = NARROWEST + bisect_left(wider, True, key=lambda tenths: not holds(tenths))
    # A further test takes long, and the widest often passes it.
    if past is None or past(shape.of(largest / PARTS)) is None:
        return largest / PARTS
    narrower = range(NARROWEST, largest)
    fit = bisect_left(narrower, True, key=lambda tenths: past(shape.of(tenths / PARTS)) is not None)
    if not fit:
        raise InputError(
            f"the smallest network, of width {NARROWEST / PARTS:g}, "
            f"{past(shape.of(NARROWEST / PARTS))}; allow more, or give a smaller --data.size"
        )
    return narrower[fit - 1] / PARTS
