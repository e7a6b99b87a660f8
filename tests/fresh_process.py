"""A program in a Python process of its own, in which nothing is imported yet."""

from __future__ import annotations

import subprocess
import sys


def output_of(program: str) -> str:
    """Run ``program``, which must end with status 0, and return what it prints."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout
