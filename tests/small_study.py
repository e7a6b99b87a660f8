"""A study of seconds for tests: its file, and its rows without what the clock decides."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kill import timeless

# Threads are given, so that every engine computes the same.
SETTINGS = """
settings:
  model: {width: 0.05}
  data: {source: digits, limit: 96, validation: 0.25}
  optimizer: {learning_rate: 0.02}
  train: {batch_size: 12, epochs: 2, device: cpu, threads: 1, checkpoint_seconds: 0}
"""

STUDY = (
    f"name: tiny{SETTINGS}"
    + """\
runs:
  teacher: {settings: {model: {width: 0.08}}}
students:
  seeds: [0, 1]
  baseline: plain
  strategies:
    plain:
    kd: {teachers: [teacher]}
    self: {teachers: ["plain-s{seed}"], settings: {distill: {targets: live}}}
"""
)


def plain_rows(file: Path) -> list[dict[str, Any]]:
    """The rows of a study without times, and without what the times decide."""
    return [timeless(json.loads(line)) for line in file.read_text().splitlines()]
