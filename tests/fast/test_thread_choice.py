"""One thread or all, by what is faster; with any number the results are the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from ghostnet_small.fast.cpu.kernels import calls, convolutions
from ghostnet_small.fast.cpu.kernels.library import library
from ghostnet_small.fast.cpu.thread_choice import RUNS, SHARE, ThreadChoice


class Machine:
    """A clock, and work that takes as long as is said for each number of threads."""

    def __init__(self, **seconds: float) -> None:
        self.now = 0.0
        self.seconds = {int(name[1:]): value for name, value in seconds.items()}
        self.taken: list[int] = []

    def clock(self) -> float:
        return self.now

    def work(self, threads: int) -> None:
        self.now += self.seconds[threads]
        self.taken.append(threads)


def ran(machine: Machine, choice: ThreadChoice, times: int) -> list[int]:
    machine.taken.clear()
    for _ in range(times):
        choice.run(machine.work)
    return machine.taken


@pytest.mark.parametrize(("alone", "together", "faster"), [(3.0, 1.0, 2), (1.0, 10.0, 1)])
def test_the_faster_number_is_taken(alone: float, together: float, faster: int) -> None:
    machine = Machine(_1=alone, _2=together)
    choice = ThreadChoice(2, machine.clock)
    assert set(ran(machine, choice, 2 * RUNS)) == {1, 2}
    taken = ran(machine, choice, 5000)
    other = 5000 - taken.count(faster)
    assert other >= 1 and other * machine.seconds[3 - faster] <= 2 * SHARE * machine.now


def test_a_core_that_is_taken_or_freed_is_noticed() -> None:
    machine = Machine(_1=3.0, _2=2.0)
    choice = ThreadChoice(2, machine.clock)
    assert ran(machine, choice, 50)[-1] == 2
    machine.seconds[2] = 30.0  # another process has a core
    assert set(ran(machine, choice, 20)[2:]) == {1}
    machine.seconds[2] = 2.0
    assert ran(machine, choice, 3000)[-5:].count(2) >= 4


def test_one_thread_is_no_choice() -> None:
    machine = Machine(_1=1.0)
    assert set(ran(machine, ThreadChoice(1, machine.clock), 10)) == {1}


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize(
    "kernel",
    [
        lambda x: convolutions.channel_moments(x.view(-1, x.shape[3])),
        lambda x: convolutions.window_moments(x, (3, 3), 1),
        lambda x: convolutions.depthwise_gradient(x, x, (3, 3), 1),
        lambda x: convolutions.pointwise_gradient(*[x.view(-1, x.shape[3])] * 2),
    ],
)
def test_sums_do_not_depend_on_the_threads_that_are_active(
    kernel: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]],
) -> None:
    """They do depend on the number that the process is set to: more threads are more pieces."""
    torch.set_num_threads(3)  # the fixture of all tests sets it back
    x = torch.randn(200, 24, 24, 20)
    assert calls.usable(x.permute(0, 3, 1, 2))
    kernels = library(x.dtype)
    assert kernels is not None
    wanted = kernel(x)
    try:
        for active in (1, 2, 3):
            kernels.use_threads(active)
            for _ in range(3):
                for found, right in zip(kernel(x), wanted, strict=True):
                    assert torch.equal(found, right)
    finally:
        kernels.use_threads(0)
