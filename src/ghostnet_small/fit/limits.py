"""The limits that a network has to keep: flash and working memory, of a device or as given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from ghostnet_small.errors import InputError, nearest
from ghostnet_small.plain_yaml import load_yaml

# The rest of the chip is for the program around the network, its stack and its libraries.
SHARE = 0.85


@dataclass(frozen=True)
class Limits:
    """The most bytes that a network may take; None: any number.

    ``flash`` is for the code and its tables, ``ram`` for the working memory of one image.
    """

    flash: int | None = None
    ram: int | None = None
    target: str | None = None

    def __str__(self) -> str:
        """Return the limits as a person writes them: ``450 kB of flash, 128 kB of RAM``."""
        parts = [
            f"{size / 1000:,.0f} kB of {name}"
            for name, size in (("flash", self.flash), ("RAM", self.ram))
            if size is not None
        ]
        return ", ".join(parts) or "no limit"


def targets() -> Mapping[str, Mapping[str, Any]]:
    """Return the known devices by name, with their ``chip``, ``core``, ``flash`` and ``ram``."""
    file = resources.files("ghostnet_small.fit").joinpath("targets.yaml")
    known: Mapping[str, Mapping[str, Any]] = load_yaml(file.read_text())
    return known


def limits_of(flash: int | None, ram: int | None, target: str | None) -> Limits:
    """Return the limits as given, each of those that are not by the device ``target``.

    Raises ``InputError`` for an unknown device, or where nothing is said.
    """
    if target is None:
        if flash is None and ram is None:
            raise InputError(
                "fit needs to know the device; give --flash and --ram, such as --flash 450kB --ram "
                f"128kB, or --target, of {', '.join(targets())}"
            )
        return Limits(flash, ram)
    known = targets()
    if target not in known:
        raise InputError(f"--target {target} is not known; {nearest(target, known)}, of "
                         f"{', '.join(known)}")
    chip = known[target]

    def least(given: int | None, of_chip: int | None) -> int | None:
        return given if given is not None or of_chip is None else int(SHARE * of_chip)

    return Limits(least(flash, chip["flash"]), least(ram, chip["ram"]), target)
