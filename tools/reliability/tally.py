"""The state of a fuzzing process, for the process that watches it."""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
import time
from pathlib import Path

MOST_INPUT = 1 << 20


class Tally:
    """The state of the child that reads, for the parent that watches, in shared memory."""

    HEAD = struct.Struct("<QdddQ")  # inputs, began, worked, slowest, length

    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, self.HEAD.size + MOST_INPUT)
        self.inputs, self.began, self.worked, self.slowest, self.length = 0, 0.0, 0.0, 0.0, 0

    def write(self) -> None:
        """Copy the child's fields into the shared memory."""
        self.memory[: self.HEAD.size] = self.HEAD.pack(
            self.inputs, self.began, self.worked, self.slowest, self.length
        )

    def read(self) -> None:
        """Copy the shared memory into the parent's fields."""
        self.inputs, self.began, self.worked, self.slowest, self.length = self.HEAD.unpack(
            self.memory[: self.HEAD.size]
        )

    def begin(self, data: bytes) -> None:
        """Record that an input is about to be read."""
        self.inputs, self.began, self.length = self.inputs + 1, time.monotonic(), len(data)
        self.worked = time.process_time()
        self.memory[self.HEAD.size : self.HEAD.size + len(data)] = data
        self.write()

    def end(self) -> None:
        """Record that it was read."""
        self.slowest = max(self.slowest, time.process_time() - self.worked)
        self.began = 0.0
        self.write()

    def last_input(self) -> bytes:
        """Return the input that is being read, or was read last."""
        return self.memory[self.HEAD.size : self.HEAD.size + self.length]


def resident(process: int) -> tuple[int, int]:
    """Bytes of memory that a process holds, and the most that it has held; 0 of one that ended."""
    found = {"VmRSS": 0, "VmHWM": 0}
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            key, _, value = line.partition(":")
            if key in found:
                found[key] = int(value.split()[0]) * 1024
    return found["VmRSS"], found["VmHWM"]


def worked(process: int) -> float:
    """Seconds of the processor that a process has used; 0 of one that ended."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
