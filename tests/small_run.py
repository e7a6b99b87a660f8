"""A training of seconds for the tests of faults: its words, its end, and a folder of its files."""

from __future__ import annotations

from pathlib import Path

from ghostnet_small.cli import main

WORDS = (
    *("--model.width", "0.05", "--data.limit", "32", "--data.validation", "0.25"),
    *("--train.batch_size", "12", "--train.epochs", "2", "--train.device", "cpu"),
    *("--train.threads", "1", "--train.checkpoint_seconds", "0"),
)


def train(out: Path) -> int:
    return main(["train", *WORDS, "--out", str(out)])


def resume(out: Path) -> int:
    return main(["train", "--resume", str(out)])


def weights_of(out: Path) -> dict[str, bytes]:
    """What a training is for: its weights, byte for byte."""
    return {
        str(file.relative_to(out)): file.read_bytes()
        for kind in ("last", "best")
        for file in sorted((out / kind).iterdir())
        if not file.name.startswith(".")
    }
