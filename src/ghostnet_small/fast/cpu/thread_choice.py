"""One thread or all of them, whichever is faster at present."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

# The share of the time that may be spent on trying the other number of threads.
SHARE = 0.01
# The weight of the newest time in the average of a number of threads.
NEWEST = 0.3
# Runs by each number at the start, of which the faster counts.
FIRST = 2


class ThreadChoice:
    """The number of threads of a work that is repeated, and computes the same with any.

    Threads wait for one another at the end of each kernel. Where another process has a core,
    that can take many times as long as the work of one thread alone. So both are measured at
    the start, and the other one is tried again while running, as often as ``SHARE`` allows.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.perf_counter) -> None:
        self.options = [most] if most == 1 else [most, 1]
        self.seconds: dict[int, float] = {}
        self.runs: Counter[int] = Counter()
        self.clock = clock
        self.due = 0.0
        self._first, self._tries = True, False

    def count(self) -> int:
        """Return the number of threads for the next run."""
        for option in self.options:
            if self.runs[option] < FIRST:
                return option
        best = min(self.options, key=self.seconds.__getitem__)
        self._tries = len(self.options) > 1 and self.clock() >= self.due
        return next(option for option in self.options if (option == best) != self._tries)

    def took(self, count: int, seconds: float) -> None:
        """Note the seconds of a run by ``count`` threads."""
        if self._first:
            # It fills caches and starts threads.
            self._first = False
            return
        before = self.seconds.get(count, seconds)
        self.runs[count] += 1
        if self.runs[count] <= FIRST:
            self.seconds[count] = min(seconds, before)
        elif self._tries:
            # Believed at once: it is tried seldom.
            self.seconds[count] = seconds
        else:
            self.seconds[count] = NEWEST * seconds + (1 - NEWEST) * before
        if self._tries or self.runs[count] <= FIRST:
            self.due = self.clock() + seconds / SHARE

    def run(self, work: Callable[[int], None]) -> None:
        """Run ``work`` by the number of threads that is given to it."""
        count = self.count()
        started = self.clock()
        work(count)
        if len(self.options) > 1:
            self.took(count, self.clock() - started)
