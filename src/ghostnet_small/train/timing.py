"""The time of a training step, measured in turn with other steps, and its memory."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import TypeVar

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.profiler import ProfilerActivity

from ghostnet_small.data.dataset import ImageData, Split
from ghostnet_small.fast.cpu.losses import cross_entropy as fast_cross_entropy
from ghostnet_small.train.feed import Step
from ghostnet_small.train.gradients import Gradients
from ghostnet_small.train.learner import Learner
from ghostnet_small.train.objective import Batch, cross_entropy
from ghostnet_small.train.optim import OptimizerSettings, build_optimizer
from ghostnet_small.train.processes import ALONE
from ghostnet_small.train.recorded_steps import recorder_for
from ghostnet_small.train.settings import TrainSettings

Name = TypeVar("Name")
Found = TypeVar("Found")

# The weights do not change: without its batch norms a network would diverge after a few steps on
# one batch, and arithmetic with NaN may take a different time.
STANDING = OptimizerSettings(learning_rate=1e-9)


class FixedStep:
    """A training step repeated on one batch: forward, cross-entropy, backward, SGD.

    With ``compiled``, ``torch.compile`` compiles forward and backward. Shapes: ``pictures``
    ``(N, C, H, W)`` and ``targets`` int64 ``(N,)``, where the model is.
    """

    def __init__(
        self,
        model: nn.Module,
        pictures: Tensor,
        targets: Tensor,
        accelerator: Accelerator,
        *,
        compiled: bool = False,
    ) -> None:
        self.model = model.train()
        self.pictures, self.targets = pictures, targets
        self.accelerator = accelerator
        self.optimizer = build_optimizer(model, STANDING)
        self.gradients = Gradients(model, accelerator, pictures=len(targets))
        if compiled:
            self.gradients.forward = torch.compile(self.gradients.forward)
        self.stepper = accelerator.prepare_optimizer(self.optimizer)

    def __call__(self) -> None:
        self.gradients(self.pictures, lambda logits: fast_cross_entropy(logits, self.targets, 0.0))
        self.gradients.apply(self.stepper)

    def peak_bytes(self, device: torch.device) -> int | None:
        """Return ``peak_memory`` of a step, with what a replay keeps for it between steps."""
        peak = peak_memory(self, device)
        return None if peak is None else peak + self.gradients.replay_bytes

    def held_bytes(self) -> int:
        """Return the bytes kept between steps: weights, statistics, momenta and the batch."""
        momenta = (value for state in self.optimizer.state.values() for value in state.values())
        own = chain(self.model.parameters(), self.model.buffers(), momenta)
        held = [tensor for tensor in own if isinstance(tensor, Tensor)]
        return sum(tensor.nbytes for tensor in (*held, self.pictures, self.targets))


class EngineStep(FixedStep):
    """The step that the engine runs, repeated on one batch.

    Beside the work of ``FixedStep`` it normalises uint8 images and counts correct predictions, and
    it is recorded and replayed where a training's steps are.
    """

    def __init__(
        self, model: nn.Module, pictures: Tensor, targets: Tensor, accelerator: Accelerator
    ) -> None:
        super().__init__(model, pictures, targets, accelerator)
        count, channels = pictures.shape[:2]
        self.pictures = (64 * pictures + 128).clamp(0, 255).to(torch.uint8).contiguous()
        rows = torch.arange(count, device=pictures.device)
        split = Split(self.pictures, targets, rows)
        settings = TrainSettings(batch_size=count)
        self.learner = Learner(
            self.model,
            self.model,
            self.optimizer,
            cross_entropy(),
            ImageData(split, None, None, (), (0.5,) * channels, (0.25,) * channels, "random"),
            settings=settings,
            accelerator=accelerator,
            processes=ALONE,
            recorder=recorder_for(settings, accelerator, ALONE),
        )
        self.gradients = self.learner.gradients
        self.step = Step([Batch(self.pictures, targets, rows, view=0)], count)

    def __call__(self) -> None:
        self.learner(self.step, STANDING.learning_rate)


def seconds_in_turn(
    works: Mapping[Name, Callable[[], object]],
    *,
    repetitions: int,
    calls: int,
    finish: Callable[[], object],
    clock: Callable[[], float] = time.perf_counter,
) -> dict[Name, list[float]]:
    """Return the seconds of ``calls`` calls of each work, ``repetitions`` times, in turn.

    A turn begins with a call that is not counted: it refills the caches of the processor and of
    PyTorch's libraries. ``finish`` waits for the device.
    """

    def turn(work: Callable[[], object]) -> float:
        work()
        finish()
        started = clock()
        for _ in range(calls):
            work()
        finish()
        return clock() - started

    return in_turn({name: partial(turn, work) for name, work in works.items()}, repetitions)


def in_turn(turns: Mapping[Name, Callable[[], Found]], repetitions: int) -> dict[Name, list[Found]]:
    """Return ``repetitions`` results of each of ``turns``, called in turn."""
    found: dict[Name, list[Found]] = {name: [] for name in turns}
    for name in names_in_turn(list(turns), repetitions):
        found[name].append(turns[name]())
    return found


def names_in_turn(names: Sequence[Name], repetitions: int) -> Iterator[Name]:
    """Yield each of ``names`` once per repetition, each repetition beginning with the next name.

    So a temporary slowdown of the machine affects all alike.
    """
    for repetition in range(repetitions):
        first = repetition % max(1, len(names))
        yield from (*names[first:], *names[:first])


def peak_memory(work: Callable[[], object], device: torch.device) -> int | None:
    """Return the peak bytes of tensors that ``work`` holds, beside those held before it.

    A library's own scratch memory is not counted. None where ``device`` is neither a
    CPU nor a CUDA GPU.
    """
    if device.type == "cpu":
        return _peak_on_cpu(work)
    if device.type != "cuda":
        return None
    torch.cuda.synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    work()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


def _peak_on_cpu(work: Callable[[], object]) -> int:
    """Return the peak on a CPU, from a profiler: the allocator reports each block but no peak."""
    # Read at first use: the profiler's library logs to standard error.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    with torch.profiler.profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        work()
    results = watched.profiler.kineto_results if watched.profiler is not None else None
    assert results is not None
    running = peak = 0
    for event in sorted(results.events(), key=lambda event: event.start_ns()):
        running += event.nbytes()  # 0 for other events; negative for a freed block
        peak = max(peak, running)
    return peak
