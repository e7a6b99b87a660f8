"""The flash and the working memory of a network's int8 C file, counted from its shape alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from ghostnet_small.deploy.c.grids import picture_grid
from ghostnet_small.deploy.c.int8 import write_int8
from ghostnet_small.deploy.c.plan import plan_of
from ghostnet_small.deploy.c.quantize import blank
from ghostnet_small.errors import InputError
from ghostnet_small.fit.limits import Limits
from ghostnet_small.models.registry import create_model
from ghostnet_small.nn.complexity import complexity
from ghostnet_small.nn.fold import reparameterize

# The widths that are tried: a tenth is a step that a table can show.
NARROWEST, WIDEST, STEP = 1, 40, 0.1
# Instructions of the file's functions, with -Os for a Cortex-M4; tests/fit compares it with the
# compiler's.
CODE_BYTES = 40_000


@dataclass(frozen=True)
class Shape:
    """A network's width, and the images and classes that it is for."""

    width: float
    classes: int
    channels: int
    height: int
    side: int  # the width of an image, in pixels

    def of(self, width: float) -> Shape:
        """Return the network of another ``width`` for the same images and classes."""
        return replace(self, width=width)


@dataclass(frozen=True)
class Needs:
    """Bytes of the int8 C file: ``flash`` for tables and code, ``ram`` for one image."""

    flash: int
    ram: int
    macs: int
    parameters: int

    def keep(self, limits: Limits) -> bool:
        """Return whether they are within ``limits``."""
        return all(
            most is None or need <= most
            for need, most in ((self.flash, limits.flash), (self.ram, limits.ram))
        )


@lru_cache(maxsize=256)
def needs_of(shape: Shape) -> Needs:
    """Count what the int8 C file of GhostNetV3-Small in this ``shape`` takes.

    The file is written with numbers of no meaning: tables and memory follow from the shape alone.
    """
    model = create_model(
        "ghostnetv3_small",
        num_classes=shape.classes,
        width=shape.width,
        in_channels=shape.channels,
    ).eval()
    folded = reparameterize(model)
    size = (shape.height, shape.side)
    plan = plan_of(folded, size)
    grid = picture_grid((0.5,) * shape.channels, (0.25,) * shape.channels)
    code = write_int8(plan, blank(plan), grid, pixels=False)
    cost = complexity(folded, (shape.channels, *size))["total"]
    return Needs(code.table_bytes + CODE_BYTES, code.memory_bytes, cost.macs, cost.params)


def widest(limits: Limits, shape: Shape) -> Shape:
    """Return the widest network, in the ``shape`` of images and classes, that keeps ``limits``.

    Raises ``InputError``, with the smallest network's needs, where none does.
    """
    low, high = NARROWEST, WIDEST

    def wide(step: int) -> Shape:
        return shape.of(round(step * STEP, 1))

    smallest = needs_of(wide(low))
    if not smallest.keep(limits):
        raise InputError(
            f"no network keeps {limits}: the smallest, of width {low * STEP:g}, takes "
            f"{smallest.flash / 1000:,.1f} kB of flash and {smallest.ram / 1000:,.1f} kB of RAM for "
            f"images of {shape.side}x{shape.height}; allow more, or give a smaller --data.size"
        )
    while low < high:  # needs grow with the width
        middle = (low + high + 1) // 2
        if needs_of(wide(middle)).keep(limits):
            low = middle
        else:
            high = middle - 1
    return wide(low)
