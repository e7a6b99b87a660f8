"""Differences between systems: the unsupported one, and values that Linux gives in ``/proc``."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
import sys

from ghostnet_small.errors import InputError

SYSCTL = "/usr/sbin/sysctl"  # of macOS


def check_system() -> None:
    """Raise ``InputError`` on Windows, which ``docs/design.md`` gives the reasons for."""
    if sys.platform == "win32":
        raise InputError(
            "GhostNet-Small runs on Linux and macOS, not on Windows itself; run it in WSL "
            "(wsl --install) or in Docker"
        )


@functools.cache
def apple_processor() -> str:
    """Return the name of a Mac's processor, such as "Apple M2"; empty on other systems."""
    if platform.system() != "Darwin":
        return ""
    words = [SYSCTL, "-n", "machdep.cpu.brand_string"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def machine_memory() -> float:
    """Return the bytes of memory of this machine; infinite where the system does not tell."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (OSError, ValueError):
        return float("inf")
