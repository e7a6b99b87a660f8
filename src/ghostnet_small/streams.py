"""Standard output and error: any text fits, and results stay apart from libraries' words."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from typing import TextIO


def open_streams() -> None:
    """Make standard output and error take any text: a class or a file may be named in any script.

    What their encoding lacks is escaped. A stream that was closed by whoever started the program
    becomes the null device, and so do the descriptors behind it: a file opened later would get
    the number of one, and with it what libraries print.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        # Who has asked for something else, by PYTHONIOENCODING=ascii:replace, gets it.
        elif getattr(stream, "errors", None) in ("strict", "surrogateescape"):
            with suppress(AttributeError):  # a stream of a notebook or of a test
                stream.reconfigure(errors="backslashreplace")


@contextmanager
def libraries_apart() -> Iterator[TextIO]:
    """Send what libraries print, in Python or C, to standard error: only results go to the output.

    The stream leads to standard output meanwhile.
    """
    out = sys.stdout
    out.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    # Only what is no file, as in a notebook or a test, still leads where it did.
    results = out
    if _writes_to(out, 1):
        results = open(os.dup(kept), "w", 1, out.encoding, out.errors)  # noqa: SIM115
    try:
        with redirect_stdout(sys.stderr):
            yield results
    finally:
        if results is not out:
            with suppress(OSError):  # its reader may be gone, which was raised before
                results.close()
        # C keeps what it printed until there is more of it.
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).fflush(None)
        os.dup2(kept, 1)
        os.close(kept)


def _writes_to(stream: TextIO, handle: int) -> bool:
    with suppress(OSError, AttributeError):
        return stream.fileno() == handle
    return False
