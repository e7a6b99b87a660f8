"""One thread or all of them, whichever is faster at present."""

from __future__ import annotations

import time
from collections.abc import Callable

# The share of the time that may be spent on trying the other number of threads.
SHARE = 0.01
# The weight of the newest time in the average of a number of threads.
NEWEST = 0.3
# Runs by a number of threads that is tried: one alone may be lucky.
RUNS = 4


class ThreadChoice:
    """The number of threads of a work that is repeated, and computes the same with any.

    Threads wait for one another at the end of each kernel. Where another process has a core,
    that can take many times as long as the work of one thread alone. So both are measured at
    the start, and the other one is tried again while running, as often as ``SHARE`` allows.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.perf_counter) -> None:
        self.options = [most] if most == 1 else [most, 1]
        self.seconds: dict[int, float] = {}
        self.clock, self.due = clock, 0.0
        self._try(self.options)

    def count(self) -> int:
        """Return the number of threads for the next run."""
        if not self.trying and self.clock() >= self.due:
            best = min(self.options, key=self.seconds.__getitem__)
            self._try([option for option in self.options if option != best])
        if self.trying:
            return self.trying[-1]
        return min(self.options, key=self.seconds.__getitem__)

    def took(self, count: int, seconds: float) -> None:
        """Note the seconds of a run by ``count`` threads."""
        if not self.trying:
            self.seconds[count] += NEWEST * (seconds - self.seconds[count])
            return
        self.trying.pop()
        self.tried[count].append(seconds)
        if not self.trying:
            # The first run fills caches and wakes threads.
            for option, found in self.tried.items():
                self.seconds[option] = sum(found[1:]) / len(found[1:])
            spent = sum(sum(found) for found in self.tried.values())
            self.due = self.clock() + spent / SHARE

    def _try(self, options: list[int]) -> None:
        self.trying = [option for option in options for _ in range(RUNS)]
        self.tried: dict[int, list[float]] = {option: [] for option in options}

    def run(self, work: Callable[[int], None]) -> None:
        """Run ``work`` by the number of threads that is given to it."""
        if len(self.options) == 1:
            work(self.options[0])
            return
        count, started = self.count(), self.clock()
        work(count)
        self.took(count, self.clock() - started)
