"""What libraries print past Python, held back where they say nothing that a user could act on."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Holds back what is written to the process's standard error, by C and C++ as well.

    After an error it is let through. Another thread's lines are held back with it: enclose little.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with tempfile.TemporaryFile() as held:
            os.dup2(held.fileno(), 2)
            try:
                yield
            except BaseException:
                os.dup2(kept, 2)
                held.seek(0)
                os.write(2, held.read())
                raise
            finally:
                os.dup2(kept, 2)
    finally:
        os.close(kept)
