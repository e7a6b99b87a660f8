"""A bound on memory, so that what would take the machine's fails one test instead."""

from __future__ import annotations

import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def at_most(mebibytes: int) -> Iterator[None]:
    """Let this process take so much more than it has; where that cannot be told, any amount."""
    status = Path("/proc/self/status")
    found = status.exists() and re.search(r"VmData:\s*(\d+) kB", status.read_text())
    before = resource.getrlimit(resource.RLIMIT_DATA)
    if found:
        most = (int(found[1]) << 10) + (mebibytes << 20)
        resource.setrlimit(resource.RLIMIT_DATA, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)
