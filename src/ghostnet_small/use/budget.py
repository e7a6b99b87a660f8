"""The flash and working memory of exported files, and their limits."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from ghostnet_small.deploy.c.footprint import expected_bytes
from ghostnet_small.deploy.description import Description
from ghostnet_small.deploy.formats import Format
from ghostnet_small.errors import InputError
from ghostnet_small.models.ghostnetv3 import GhostNetV3
from ghostnet_small.models.network import Network

UNITS = {"": 1, "B": 1, "kB": 1000, "MB": 1000**2, "KiB": 1024, "MiB": 1024**2}
STEP = 100  # parts of a width of 1 that are tried


@dataclass(frozen=True)
class Limits:
    """The most bytes of ``flash`` and of ``ram`` that a file may take; None: any."""

    flash: int | None = None
    ram: int | None = None

    def past(self, found: Mapping[str, Any]) -> str | None:
        """Return why a file that ``measure`` describes is past a limit; None where it is not."""
        flash, ram, reasons = found["flash_bytes"], found["ram_bytes"], []
        if self.flash is not None and flash > self.flash:
            reasons.append(
                f"needs {flash:,} bytes of flash ({found['flash_counted']}), and --flash allows "
                f"{self.flash:,}"
            )
        if self.ram is not None and ram is not None and ram > self.ram:
            reasons.append(f"needs {ram:,} bytes of RAM, and --ram allows {self.ram:,}")
        return " and ".join(reasons) or None

    def hold(self, flash: int, ram: int) -> bool:
        """Return whether so many bytes are within both."""
        return (self.flash is None or flash <= self.flash) and (self.ram is None or ram <= self.ram)


def limits_of(flash: int | str | None, ram: int | str | None) -> Limits:
    """Return limits in bytes, from numbers or from words such as ``450kB``.

    Raises ``InputError`` where one is no size.
    """
    return Limits(_size("--flash", flash), _size("--ram", ram))


def _size(option: str, given: int | str | None) -> int | None:
    if given is None:
        return None
    found = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,15})?) ?([kM]?B|[KM]iB|)", str(given), re.ASCII)
    size = int(Decimal(found[1]) * UNITS[found[2]]) if found else 0
    if size < 1:
        raise InputError(
            f"{option} {str(given)!r:.40} is no size; give bytes, or a number with kB or MB (1000 "
            "to the next), KiB or MiB (1024), such as 450kB"
        )
    return size


def measure(form: Format, path: Path, size_bytes: int) -> dict[str, Any]:
    """Return the flash and working memory that a file of ``form`` takes on a device, in bytes.

    A format's module may offer ``flash(path)``, the bytes and how they were counted, else they are
    those of the file; and ``working_memory(path)``, else that is not known: None.
    """
    module = form.load()
    flash, working_memory = (getattr(module, k, None) for k in ("flash", "working_memory"))
    count, counted = (size_bytes, "the file") if flash is None else flash(path)
    return {
        "flash_bytes": count,
        "flash_counted": counted,
        "ram_bytes": None if working_memory is None else working_memory(path),
    }


def advice(model: Network, description: Description, limits: Limits) -> str:
    """Return the width of ``model`` that fits as int8 C or, where none does, the smallest network;
    nothing for a network that has no such file.

    Sizes are counted, for no network of these widths is trained.
    """
    if not isinstance(model, GhostNetV3):
        return ""

    @cache  # each takes seconds
    def expected(part: int) -> tuple[int, int]:
        return expected_bytes({**model.config, "width": part / STEP}, description)

    name = model.config["architecture"]
    parts = range(1, max(1, round(model.config["width"] * STEP)) + 1)
    fit = bisect_left(parts, True, key=lambda part: not limits.hold(*expected(part)))
    shown = expected(max(1, fit))
    need = "at most {:,} bytes of flash (on a Cortex-M4) and {:,} of RAM".format(*shown)
    if fit:
        return f"{name} of width {fit / STEP:g} fits as int8 C, which takes {need}"
    return (
        f"no width of {name} fits: the smallest, {1 / STEP:g}, takes {need} as int8 C; raise the "
        "limits"
    )
