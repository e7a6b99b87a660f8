"""A training step that is recorded once as a CUDA graph, and replayed.

A small network's step is thousands of kernels that each take a GPU less time than the CPU needs to
launch them. A graph launches them all at once. ``GHOSTNET_GRAPHS=off`` turns recording off.

Source: the section on CUDA graphs of PyTorch's documentation, "whole-network capture".
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch import Tensor

from ghostnet_small.files import OFF
from ghostnet_small.train.objective import Batch
from ghostnet_small.train.optim import SHARE
from ghostnet_small.train.processes import Processes
from ghostnet_small.train.settings import TrainSettings

SWITCH = "GHOSTNET_GRAPHS"
# Things made at first use (momenta, libraries' plans, kernels) must exist before a recording.
WARM_UP = 3

Found = tuple[Tensor, Tensor]
"""The loss of a step in nats, and its number of correct predictions; scalars on the device."""

_log = logging.getLogger(__name__)


class Recorder(Protocol):
    """A recorder that can repeat a piece of work without its Python code."""

    def aside(self, work: Callable[[], Found]) -> Found:
        """Run ``work()`` on the stream that it will be recorded on."""

    def capture(self, work: Callable[[], Found]) -> Callable[[], Found]:
        """Return a function that repeats ``work`` on the same tensors; nothing is computed yet.

        Raises ``RuntimeError`` where ``work`` cannot be recorded.
        """


class CudaGraphs:
    """A recorder with a stream of its own on the current GPU."""

    def __init__(self) -> None:
        self.stream = torch.cuda.Stream()

    def aside(self, work: Callable[[], Found]) -> Found:
        here = torch.cuda.current_stream()
        self.stream.wait_stream(here)
        with torch.cuda.stream(self.stream):
            found = work()
        here.wait_stream(self.stream)
        return found

    def capture(self, work: Callable[[], Found]) -> Callable[[], Found]:
        graph = torch.cuda.CUDAGraph()
        here = torch.cuda.current_stream()
        generator = torch.cuda.default_generators[torch.cuda.current_device()]
        kept = generator.clone_state()
        try:
            # Other threads may read images at the same time.
            with torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"):
                found = work()
        except BaseException:
            # A failed capture does not restore the stream and the generator.
            torch.cuda.set_stream(here)
            generator.graphsafe_set_state(kept)
            raise

        def replay() -> Found:
            graph.replay()
            return found

        return replay


def recorder_for(
    settings: TrainSettings, accelerator: Accelerator, processes: Processes
) -> Recorder | None:
    """Return the recorder for the steps of a training; ``None`` where they are not recorded.

    Steps are not recorded where a loss scaler or a bound on gradients depends on values, or where
    micro-batches or other processes interrupt the step.
    """
    if accelerator.device.type != "cuda" or os.environ.get(SWITCH) == OFF:
        return None
    decides = settings.clip_norm is not None or accelerator.scaler is not None
    if decides or settings.accumulate > 1 or processes.count > 1:
        return None
    return CudaGraphs()


class RecordedStep:
    """A recording of ``work``, a whole step, for batches of ``pictures`` images.

    The first three steps run normally, the next one is recorded, and later ones replay the
    recording. It reads the batch and the learning rate from tensors at fixed addresses. ``work``
    must not read a value on the CPU or copy from the CPU.

    ``optimizer`` must take a tensor for its learning rate. Where the step cannot be recorded, a
    warning is logged once, and steps run normally.
    """

    def __init__(
        self,
        work: Callable[[Batch], Found],
        recorder: Recorder,
        optimizer: torch.optim.Optimizer,
        *,
        pictures: int,
        device: torch.device,
    ) -> None:
        self.work, self.recorder, self.optimizer = work, recorder, optimizer
        self.pictures = pictures
        self.rates = [torch.zeros((), device=device) for _ in optimizer.param_groups]
        self.begin()

    def begin(self) -> None:
        """Drop the recording, which refers to momenta that a state may have replaced."""
        self.batch: Batch | None = None
        self.left = WARM_UP
        self.run: Callable[[], Found] = lambda: self.recorder.aside(self._work)

    def takes(self, batch: Batch) -> bool:
        """Return whether ``batch`` has the size that is recorded."""
        return len(batch.targets) == self.pictures

    def __call__(self, batch: Batch, rate: float) -> Found:
        """Run a step on ``batch`` at the learning ``rate``."""
        assert self.takes(batch)
        self._load(batch)
        # Each time, because an ordinary step on a smaller batch puts a number there.
        for group, own in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = own.fill_(rate * group.get(SHARE, 1.0))
        if self.left == 0:
            self._record()
        self.left -= 1
        loss, correct = self.run()
        # The next step overwrites them.
        return loss.clone(), correct.clone()

    def _work(self) -> Found:
        assert self.batch is not None
        return self.work(self.batch)

    def _load(self, batch: Batch) -> None:
        """Copy ``batch`` to the tensors that the recorded step reads."""
        if self.batch is None:
            # A single view number is a tensor too: a number would be part of the recording.
            own: dict[str, Any] = vars(batch) | {"view": batch.index}
            for name, value in own.items():
                own[name] = None if value is None else torch.empty_like(value)
            self.batch = Batch(**own)
        for name, kept in vars(self.batch).items():
            value = getattr(batch, name)
            if isinstance(value, int):
                kept.fill_(value)
            elif kept is not None:
                kept.copy_(value)

    def _record(self) -> None:
        try:
            self.run = self.recorder.capture(self._work)
        except RuntimeError as error:
            # Nothing was computed, but gradients may lie in memory that is freed.
            self.optimizer.zero_grad(set_to_none=True)
            self.run = self._work
            _log.warning(
                "training continues with ordinary, slower steps: a step could not be recorded as a "
                "CUDA graph (%s); set %s=%s to skip the attempt",
                *((str(error) or type(error).__name__).splitlines()[0], SWITCH, OFF),
            )
