"""The memory that images may take."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ghostnet_small.platforms import machine_memory

SHARE = 0.5  # of the free memory; cutting a set into splits copies it once


def memory_budget(gib: float | None) -> float:
    """Bytes that a set may take in memory: ``gib`` GiB, or half of what is free.

    Free is what the machine has, or what the control group leaves, whichever is less; several
    processes on one machine (torchrun's ``LOCAL_WORLD_SIZE``) share it. Where the system does not
    tell, as on macOS, all memory counts as free.
    """
    if gib is not None:
        return gib * 2**30
    here = os.environ.get("LOCAL_WORLD_SIZE", "1")
    return SHARE * min(free_memory(), machine_memory()) / max(int(here) if here.isdigit() else 1, 1)


def free_memory(root: Path = Path("/")) -> float:
    """Bytes that are free without swapping; infinite where the system does not tell."""
    found = [_group_v2(root), _group_v1(root)]
    if told := re.search(r"^MemAvailable:\s+(\d+) kB", _text(root / "proc/meminfo"), re.MULTILINE):
        found.append(1024 * int(told[1]))
    return min((free for free in found if free is not None), default=float("inf"))


def _group_v2(root: Path) -> float | None:
    told = re.search(r"^0::(/.*)$", _text(root / "proc/self/cgroup"), re.MULTILINE)
    return _group(
        root / "sys/fs/cgroup",
        told[1] if told else "/",
        ("memory.max", "memory.current", "inactive_file"),
    )


def _group_v1(root: Path) -> float | None:
    told = re.search(
        r"^\d+:[\w,]*\bmemory\b[\w,]*:(/.*)$", _text(root / "proc/self/cgroup"), re.MULTILINE
    )
    return _group(
        root / "sys/fs/cgroup/memory",
        told[1] if told else "/",
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    )


def _group(mount: Path, group: str, files: tuple[str, str, str]) -> float | None:
    """Return the memory that the tightest of a control group and those above it leaves."""
    limit_file, usage_file, inactive_key = files
    folder = mount / group.strip("/")
    if not (folder / limit_file).is_file():
        folder = mount  # within a container the group is the mount itself
    found = []
    while True:
        limit, usage = _text(folder / limit_file).strip(), _text(folder / usage_file).strip()
        if limit.isdigit() and usage.isdigit():
            # Files that were read long ago make room by themselves.
            inactive = re.search(
                rf"^{inactive_key} (\d+)$", _text(folder / "memory.stat"), re.MULTILINE
            )
            found.append(max(int(limit) - int(usage) + int(inactive[1] if inactive else 0), 0))
        if folder == mount or mount not in folder.parents:
            return min(found, default=None)
        folder = folder.parent


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""
