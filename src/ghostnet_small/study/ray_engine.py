"""Trainings as tasks of a Ray cluster, whose nodes share the study's folder.

A task starts the ordinary command on its node. The study restarts a task whose node or worker dies,
from its last state. The training itself ends with its worker, as with any starter.
"""

from __future__ import annotations

import logging
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Any

from ghostnet_small.errors import InputError
from ghostnet_small.files import open_log
from ghostnet_small.launcher import FOLLOWS, PYTHON
from ghostnet_small.recipe.recipe import Recipe
from ghostnet_small.study.scheduler import Launch, Process
from ghostnet_small.study.training_job import TOGETHER_ON_GPU, Job, Sharing

CONNECT_SECONDS = 5.0
PROBE_SECONDS = 120.0
LOOK_SECONDS = 0.2


@contextmanager
def ray_engine(out: Path, address: str | None = None) -> Iterator[RayEngine]:
    """Connect to the cluster at ``address``, by default at ``RAY_ADDRESS`` or on this machine.

    Raises ``InputError`` where Ray is not installed or no cluster answers.
    """
    try:
        import ray
    except ImportError:
        raise InputError(
            "--engine ray needs Ray, which is not installed; pip install 'ghostnet-small[ray]', or "
            "take --engine local"
        ) from None
    where = address or os.environ.get("RAY_ADDRESS") or "auto"
    _check_address(where)
    try:
        # Its workers import from the folder in which this is called.
        with chdir("/"):
            ray.init(address=where, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(_no_cluster(where, reason)) from None
    # Ray prints what befalls its nodes on standard output, which is for this command's results,
    # also while it is shut down.
    with redirect_stdout(sys.stderr):
        try:
            yield RayEngine(ray, out)
        finally:
            ray.shutdown()


def _check_address(where: str) -> None:
    """Refuse an address without a cluster; Ray would try for a minute and then end this process."""
    host, _, port = where.rpartition(":")
    if "://" in where or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise InputError(_no_cluster(where, str(error))) from None


def _no_cluster(where: str, reason: str) -> str:
    return (
        f"no Ray cluster answers at {where} ({reason}); start one with: ray start --head, name "
        "another with --address, or take --engine local"
    )


class RayEngine:
    """Trains a study by tasks of the cluster that this process is connected to."""

    def __init__(self, ray: Any, out: Path) -> None:
        self.ray, self.out = ray, out

    def share(self, recipes: Sequence[Recipe], max_parallel: int | None) -> Sharing:
        """Return how runs of ``recipes`` share the cluster; raises ``InputError`` where no node has
        room for one.
        """
        cores = [int(node["Resources"].get("CPU", 0)) for node in self._nodes()]
        threads = max(recipe.train.threads or 1 for recipe in recipes)
        if threads > max(cores):
            raise InputError(
                f"a run takes {threads} CPU threads, and the largest node of the cluster has "
                f"{max(cores)}; give --train.threads {max(cores)}, or add a node"
            )
        on_gpu = [self._gpus(recipe.train.device) for recipe in recipes]
        if all(on_gpu):
            room = int(self._gpus("auto") * TOGETHER_ON_GPU)
            return Sharing(max_parallel or max(1, min(len(recipes), room)), None)
        together = max_parallel or max(1, min(len(recipes), sum(n // threads for n in cores)))
        # A run must have room on one node.
        each = min(max(cores), sum(cores) // together)
        return Sharing(together, max(1, each))

    @contextmanager
    def trainings(self, lock: int) -> Iterator[Launch]:
        """Yield what starts them; raises ``InputError`` where a node does not share the folder."""
        self._probe()

        def launch(job: Job, words: Sequence[str], log: Path) -> Process:
            train = job.recipe.train
            task = self.ray.remote(
                num_cpus=train.threads or 1,
                num_gpus=1 / TOGETHER_ON_GPU if self._gpus(train.device) else 0,
                # The study starts it anew itself, with the words for where it stands then.
                max_retries=0,
            )(_train)
            return _Task(self.ray, task.remote(list(words), str(log.absolute()), os.getcwd()), log)

        yield launch

    def _nodes(self) -> list[dict[str, Any]]:
        return [node for node in self.ray.nodes() if node["Alive"]]

    def _gpus(self, device: str) -> float:
        """Return the GPUs that the cluster has for a run on ``device``."""
        if device == "cpu":
            return 0.0
        return sum(node["Resources"].get("GPU", 0.0) for node in self._nodes())

    def _probe(self) -> None:
        """Have every node read a file in the study's folder, and write one."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        token = uuid.uuid4().hex
        asked = self.out.absolute() / f".{token}"
        asked.write_text(token)
        nodes = self._nodes()
        answers = [asked.with_name(f".{token}-{number}") for number in range(len(nodes))]
        try:
            for node, answer in zip(nodes, answers, strict=True):
                strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                task = self.ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=strategy)(
                    _answer
                )
                where = f"node {node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
                reference = task.remote(str(asked), str(answer), os.getcwd())
                try:
                    wrong = self.ray.get(reference, timeout=PROBE_SECONDS)
                except Exception as error:  # Ray's own, and whatever the node's Python raises
                    reason = " ".join(str(error).split())[-200:]
                    raise InputError(
                        f"{where} cannot run a task of this program ({reason}); install the same "
                        "program there, or take --engine local"
                    ) from None
                if wrong or not answer.exists():
                    raise InputError(
                        f"{where} does not share {self.out.absolute()} with this machine "
                        f"({wrong or 'what it writes there is not seen here'}); give an --out on a "
                        "file system that all nodes share, or take --engine local"
                    )
        finally:
            for path in (asked, *answers):
                path.unlink(missing_ok=True)


class _Task:
    """A ``Process`` that is a task of Ray."""

    def __init__(self, ray: Any, reference: Any, log: Path) -> None:
        self.ray, self.reference, self.log = ray, reference, log
        self.status: int | None = None

    def poll(self) -> int | None:
        if self.status is None:
            done, _ = self.ray.wait([self.reference], timeout=0)
            if done:
                self.status = self._ended()
        return self.status

    def terminate(self) -> None:
        # In the task that is a KeyboardInterrupt.
        self.ray.cancel(self.reference, force=False)

    def wait(self) -> int:
        while (status := self.poll()) is None:
            time.sleep(LOOK_SECONDS)
        return status

    def _ended(self) -> int:
        try:
            return int(self.ray.get(self.reference))
        except self.ray.exceptions.TaskCancelledError:
            return 128 + signal.SIGTERM
        except self.ray.exceptions.RayTaskError as error:
            self._write(f"the task failed: {' '.join(str(error).split())[-500:]}")
            return 1
        except self.ray.exceptions.RayError as error:
            # Its worker or its node is gone.
            self._write(f"the task was lost: {' '.join(str(error).split())[:500]}")
            return -signal.SIGKILL

    def _write(self, line: str) -> None:
        with suppress(OSError), open_log(self.log) as file:
            file.write(f"{line}\n")


# What runs on the nodes ----------------------------------------------------------------------


def _train(words: list[str], log: str, place: str) -> int:
    """Run the command in the folder ``place`` and return its exit status."""
    with open_log(Path(log)) as file:
        file.write(f"$ ghostnet-small {shlex.join(words)}\n")
        file.flush()
        process = subprocess.Popen(
            [*PYTHON, "-m", "ghostnet_small", *words],
            # However this worker ends, its end of the pipe is closed, and the training saves.
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=place,
            env=os.environ | {FOLLOWS: "1"},
            start_new_session=True,
        )
    try:
        while process.poll() is None:
            time.sleep(LOOK_SECONDS)
    except BaseException:
        process.terminate()
        process.wait()
        raise
    return process.returncode


def _answer(asked: str, answer: str, place: str) -> str:
    """Return what is wrong with this node's view of the study's folder, empty for nothing."""
    token = Path(asked).name.removeprefix(".")
    try:
        if Path(asked).read_text() != token:
            return "it sees another file there"
        Path(answer).write_text(token)
    except OSError as error:
        return str(error)
    return "" if Path(place).is_dir() else f"it has no folder {place}, where the command was given"
