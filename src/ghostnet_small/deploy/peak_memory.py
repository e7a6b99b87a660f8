"""The most memory that an exported network takes, measured in a process of its own.

A process's peak lies in ``/proc`` (Linux). That of ``getrusage`` is not used: a process that
was started by a larger one inherits its peak.
"""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ghostnet_small.deploy.formats import format_of, open_file
from ghostnet_small.launcher import PYTHON

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
CALLS = 3
SECONDS = 300
# Parts of a runtime that a format's module imports only at the opening of a file: not counted.
RUNTIMES = {
    "executorch": ("executorch.extension.pybindings._C",),
    "litert": ("ai_edge_litert.interpreter",),
    "ncnn": ("ncnn",),
}


class Memory(NamedTuple):
    """``peak``: the most bytes of a process that has opened a file and run it; ``above``: the
    excess over the bytes before that, with the runtime imported."""

    peak: int
    above: int


class NotMeasured(Exception):
    """The memory was not measured; the message gives the reason."""


def peak_memory(path: Path, batches: Sequence[int], threads: int) -> dict[int, Memory]:
    """Return the memory of a fresh process that opens the file ``path`` and runs it, by batch.

    It runs batches of zeros, the smallest first, and so a batch's peak is that of all smaller ones
    too. The images are included. Resident memory is counted: the C library's heap and mapped
    files.

    Raises ``NotMeasured`` where the system keeps no such peak, or the process fails.
    """
    if not STATUS.exists():
        raise NotMeasured(f"this system has no {STATUS}, which peaks of memory are read from")
    words = [str(number) for number in (threads, *sorted(batches))]
    try:
        done = subprocess.run(
            [*PYTHON, "-m", __name__, str(path), *words],
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise NotMeasured(f"opening and running {path.name} took {SECONDS} s and more") from None
    try:
        found = json.loads(done.stdout.splitlines()[-1])
        return {int(batch): Memory(*values) for batch, values in found.items()}
    except (ValueError, LookupError, AttributeError, TypeError):
        said = done.stderr.strip().splitlines() or ["it said nothing"]
        raise NotMeasured(
            f"a process that opened {path.name} ended with status {done.returncode}: {said[-1]}"
        ) from None


def _measure(path: Path, threads: int, batches: Sequence[int]) -> dict[int, Memory]:
    form = format_of(path)
    assert form is not None
    form.load()
    for name in RUNTIMES.get(form.name, ()):
        # A newer library may keep it elsewhere; then it counts to the file.
        with suppress(ImportError):
            importlib.import_module(name)
    # The peak of the imports is not that of the file: it begins again at what is there now.
    with suppress(OSError):
        RESET.write_text("5")
    before = _status("VmRSS")
    # The caller has opened the file before.
    session = open_file(path, threads, trust=True)
    kind = np.uint8 if session.description.input == "pixels" else np.float32
    shape = (session.description.channels, *session.description.size)
    found = {}
    for batch in batches:
        pictures = np.zeros((batch, *shape), kind)
        for _ in range(CALLS):
            session(pictures)
        peak = _status("VmHWM")
        found[batch] = Memory(peak, peak - before)
    return found


def _status(key: str) -> int:
    """Return the bytes of ``key``."""
    line = re.search(rf"^{key}:\s*(\d+) kB$", STATUS.read_text(), re.MULTILINE)
    assert line is not None
    return 1024 * int(line[1])


if __name__ == "__main__":
    _file, _threads, *_batches = sys.argv[1:]
    print(json.dumps(_measure(Path(_file), int(_threads), [int(batch) for batch in _batches])))
