"""Commands in a process of their own, whose Hugging Face libraries see the environment given.

Those libraries read it when they are imported, so that a test cannot change it; one process
runs many commands, for its start takes seconds.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Answer:
    """What a command gave back."""

    status: int
    out: str
    err: str

    @property
    def value(self) -> Any:
        """What it printed as JSON."""
        assert self.status == 0, self.err
        return json.loads(self.out)

    @property
    def error(self) -> str:
        """Its only line on standard error, as a command refuses."""
        assert (self.status, self.out) == (2, ""), self
        (line,) = self.err.splitlines()
        return line.removeprefix("ghostnet-small: error: ")


class HubClient:
    """``client.data("mnist")`` runs ``ghostnet-small data --json --data.source mnist``."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=folder,
            # Without a cache it would compile the C kernels for its few steps of training.
            env={**kept, "GHOSTNET_CACHE": "off", "GHOSTNET_KERNELS": "off", **environment},
        )

    def data(self, source: str, *words: str) -> Answer:
        return self.run("data", "--json", "--data.validation", "0", "--data.source", source, *words)

    def run(self, *words: str) -> Answer:
        assert self._process.stdin is not None and self._process.stdout is not None
        print(json.dumps(words), file=self._process.stdin, flush=True)
        return Answer(**json.loads(self._process.stdout.readline()))

    def __enter__(self) -> HubClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()
        assert self._process.returncode == 0


def serve() -> None:
    """Run the commands that come as lines of JSON."""
    from ghostnet_small.cli import main

    for line in sys.stdin:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                status = main(json.loads(line))
            except Exception:
                status = 1
                traceback.print_exc()  # the test shows it
        answer = {"status": status, "out": out.getvalue(), "err": err.getvalue()}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve()
