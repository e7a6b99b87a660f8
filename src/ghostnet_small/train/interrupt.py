"""Ctrl-C and SIGTERM as a request that the engine checks between steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSignal:
    """A callable that returns the number of the signal that arrived, or ``None``."""

    def __init__(self) -> None:
        self.number: int | None = None

    def __call__(self) -> int | None:
        return self.number


@contextmanager
def stop_signals() -> Iterator[StopSignal]:
    """Catch the first Ctrl-C or SIGTERM; a second one acts at once, as usual.

    Outside the main thread, where Python has no signals, nothing is caught.
    """
    stop = StopSignal()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def catch(number: int, frame: FrameType | None) -> None:
        stop.number = number
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in SIGNALS:
        signal.signal(number, catch)
    try:
        yield stop
    finally:
        restore()
