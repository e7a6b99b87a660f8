"""Keep CPU cores busy while something is measured."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from ghostnet_small.errors import InputError
from ghostnet_small.launcher import PYTHON, available_cores

# It says that it works, and ends with its standard input: the system closes that however the
# process at the other end dies. A Ctrl-C is for that process.
_SPIN = """
import os, signal, threading
signal.signal(signal.SIGINT, signal.SIG_IGN)
def follow():
    while os.read(0, 1): pass
    os._exit(0)
threading.Thread(target=follow, daemon=True).start()
os.write(1, b".")
while True: pass
"""


def check_beside(count: int) -> None:
    """Raise ``InputError`` if ``count`` cores cannot be kept busy here."""
    cores = available_cores()
    if count > cores:
        raise InputError(
            f"--beside {count} is more than the cores that this process may use; give at most "
            f"{cores}, or leave it out"
        )


@contextmanager
def busy_cores(count: int) -> Iterator[None]:
    """Run ``count`` processes that compute without a pause, until the end or this process's."""
    with ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(_spinning())
        yield


@contextmanager
def _spinning() -> Iterator[None]:
    process = subprocess.Popen(
        [*PYTHON, "-I", "-S", "-c", _SPIN],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        if process.stdout.read(1) != b".":
            raise RuntimeError(f"a process that keeps a core busy ended with {process.wait()}")
        yield
    finally:
        process.kill()
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):
                pipe.close()
        process.wait()
