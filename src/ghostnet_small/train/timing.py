"""What a step of training costs: its time, taken in turn with other steps, and its memory."""

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
from torch.nn import functional
from torch.profiler import ProfilerActivity

from ghostnet_small.train.device import wrap
from ghostnet_small.train.optim import OptimizerSettings, build_optimizer

Found = TypeVar("Found")

# The weights stay where they are: without its batch norms a network would diverge after a few
# steps on one batch, and arithmetic with what is no number may take another time.
STANDING = OptimizerSettings(learning_rate=1e-9)


class FixedStep:
    """One step of training, again and again on one batch: forward, cross-entropy, backward, SGD.

    ``compiled``: ``torch.compile`` makes code of forward and backward. Shapes: ``pictures``
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
        forward: Callable[[Tensor], Tensor] = wrap(model, accelerator)
        self.forward = torch.compile(forward) if compiled else forward
        self.stepper = accelerator.prepare_optimizer(self.optimizer)

    def __call__(self) -> None:
        loss = functional.cross_entropy(self.forward(self.pictures), self.targets)
        self.accelerator.backward(loss)
        self.stepper.step()
        self.stepper.zero_grad()

    def held_bytes(self) -> int:
        """What stays in memory between steps: weights, statistics, momenta and the batch."""
        momenta = (value for state in self.optimizer.state.values() for value in state.values())
        own = chain(self.model.parameters(), self.model.buffers(), momenta)
        held = [tensor for tensor in own if isinstance(tensor, Tensor)]
        return sum(tensor.nbytes for tensor in (*held, self.pictures, self.targets))


def seconds_in_turn(
    works: Mapping[str, Callable[[], object]],
    *,
    repetitions: int,
    calls: int,
    finish: Callable[[], object],
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds that ``calls`` calls of each work take, ``repetitions`` of them each, in turn.

    A turn begins with a call that is not counted: it makes again what the others have displaced
    from caches, the processor's and those of PyTorch's libraries. ``finish`` waits for the device.
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


def in_turn(turns: Mapping[str, Callable[[], Found]], repetitions: int) -> dict[str, list[Found]]:
    """Results of each of ``turns``, ``repetitions`` times, in the order of ``names_in_turn``."""
    found: dict[str, list[Found]] = {name: [] for name in turns}
    for name in names_in_turn(list(turns), repetitions):
        found[name].append(turns[name]())
    return found


def names_in_turn(names: Sequence[str], repetitions: int) -> Iterator[str]:
    """Each of ``names`` once in a repetition, and each repetition begins with the next one, so
    that what slows the machine for a while slows all alike."""
    for repetition in range(repetitions):
        first = repetition % max(1, len(names))
        yield from (*names[first:], *names[:first])


def peak_memory(work: Callable[[], object], device: torch.device) -> int | None:
    """The most bytes of tensors that ``work`` holds at a time, beside those held before it.

    Scratch that a library takes for itself is not counted. None where ``device`` is neither a
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
    """The CPU's allocator keeps no peak, but tells a profiler of each block taken and freed."""
    # Read at the first use: the profiler's library has a log of its own on standard error.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    with torch.profiler.profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        work()
    results = watched.profiler.kineto_results if watched.profiler is not None else None
    assert results is not None
    running = peak = 0
    for event in sorted(results.events(), key=lambda event: event.start_ns()):
        running += event.nbytes()  # 0 of what is no memory event; a freed block counts down
        peak = max(peak, running)
    return peak
