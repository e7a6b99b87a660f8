"""Trainings as processes of this machine; each saves and ends when its starter ends."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ghostnet_small.errors import InputError
from ghostnet_small.files import lock_folder, open_log
from ghostnet_small.launcher import FOLLOWS, PYTHON, available_cores
from ghostnet_small.recipe.recipe import Recipe
from ghostnet_small.study.scheduler import Launch, Process
from ghostnet_small.study.training_job import Job, Sharing, share
from ghostnet_small.train.device import make_accelerator


@contextmanager
def alone_in(out: Path) -> Iterator[int]:
    """Lock ``out`` against other processes that train several runs there; yields the lock's handle.
    Trainings hold it too, since those of a killed starter may still be saving.
    """
    try:
        handle = lock_folder(out)
    except BlockingIOError:
        raise InputError(
            f"{out} is being trained by another process; wait for its end, or give another --out"
        ) from None
    try:
        yield handle
    finally:
        os.close(handle)


class LocalEngine:
    """Trains a study on this machine, each run a process of its own."""

    def share(self, recipes: Sequence[Recipe], max_parallel: int | None) -> Sharing:
        """Return how runs of ``recipes`` share this machine; raises ``InputError`` where it cannot
        train them.
        """
        places = dict.fromkeys((recipe.train.device, recipe.train.precision) for recipe in recipes)
        devices = [make_accelerator(*place).device for place in places]
        # The one that takes the most threads, above all one that takes what it is given.
        largest = max(recipes, key=lambda recipe: recipe.train.threads or 1 << 30)
        return share(
            largest,
            len(recipes),
            together=max_parallel,
            on_cpu=any(device.type == "cpu" for device in devices),
            cores=available_cores(),
        )

    @contextmanager
    def trainings(self, lock: int) -> Iterator[Launch]:
        """Yield what starts them; they hold the study's ``lock`` too, and save and end when this
        process ends in any way.
        """
        theirs, ours = os.pipe()

        def launch(job: Job, words: Sequence[str], log: Path) -> Process:
            with open_log(log) as file:
                file.write(f"$ ghostnet-small {shlex.join(words)}\n")
                file.flush()
                return subprocess.Popen(
                    [*PYTHON, "-m", "ghostnet_small", *words],
                    stdin=theirs,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    env=os.environ | {FOLLOWS: "1"},
                    pass_fds=(lock,),
                    # A terminal's Ctrl-C is for this process, which passes it on once: a second
                    # signal would end a training at once.
                    start_new_session=True,
                )

        try:
            yield launch
        finally:
            os.close(theirs)
            os.close(ours)
