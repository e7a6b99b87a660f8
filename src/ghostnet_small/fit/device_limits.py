"""The limits of a device by its name, beside those that are given."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Any

from ghostnet_small.errors import InputError, nearest
from ghostnet_small.plain_yaml import load_yaml
from ghostnet_small.use.budget import Limits
from ghostnet_small.use.budget import limits_of as given_limits

# The rest of the chip is for the program around the network, its stack and its libraries.
SHARE = 0.85


def targets() -> Mapping[str, Mapping[str, Any]]:
    """Return the known devices by name: ``chip``, ``core``, ``flash`` and ``ram`` in bytes, and how
    the ``latency`` is found there."""
    file = resources.files("ghostnet_small.fit").joinpath("targets.yaml")
    known: Mapping[str, Mapping[str, Any]] = load_yaml(file.read_text())
    return known


def limits_of(flash: int | str | None, ram: int | str | None, target: str | None) -> Limits:
    """Return the limits that are given; what is not, is of the device ``target``.

    Raises ``InputError`` for a size that is none, an unknown device, or where nothing is said.
    """
    given = given_limits(flash, ram)
    if target is None:
        if flash is None and ram is None:
            raise InputError(
                "fit needs to know the device; give --flash and --ram, such as --flash 450kB --ram "
                f"128kB, or --target, of {', '.join(targets())}"
            )
        return given
    known = targets()
    if target not in known:
        raise InputError(
            f"--target {target} is not known; {nearest(target, known)}, of {', '.join(known)}"
        )
    return Limits(
        *(
            own if own is not None or size is None else int(SHARE * size)
            for own, size in (
                (given.flash, known[target]["flash"]),
                (given.ram, known[target]["ram"]),
            )
        )
    )


def words_of(limits: Limits, latency_ms: float | None = None) -> str:
    """Return the limits as a person says them: ``450 kB of flash, 128 kB of RAM, 5 ms``."""
    sizes = ((limits.flash, "flash"), (limits.ram, "RAM"))
    parts = [f"{size / 1000:,.0f} kB of {name}" for size, name in sizes if size is not None]
    parts += [] if latency_ms is None else [f"{latency_ms:g} ms"]
    return ", ".join(parts) or "no limit"
