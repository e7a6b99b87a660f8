"""Hold back output of libraries that a user cannot act on."""

from __future__ import annotations

import io
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr


@contextmanager
def quiet_stderr() -> Iterator[Callable[[], str]]:
    """Hold back what Python, C and C++ write to standard error in this process.

    Yields a function that returns what was written by C and C++ until then. After an error all is
    printed. Other threads' lines are held back too: enclose little code.
    """
    sys.stderr.flush()
    text = io.StringIO()
    kept = os.dup(2)
    try:
        with tempfile.TemporaryFile() as held:
            os.dup2(held.fileno(), 2)
            try:
                # Extensions may write to Python's, whatever that is at the time.
                with redirect_stderr(text):
                    yield lambda: os.pread(
                        held.fileno(), os.fstat(held.fileno()).st_size, 0
                    ).decode()
            except BaseException:
                held.seek(0)
                os.write(kept, held.read())
                sys.stderr.write(text.getvalue())
                raise
            finally:
                os.dup2(kept, 2)
    finally:
        os.close(kept)
