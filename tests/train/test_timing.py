from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from ghostnet_small.fast import use
from ghostnet_small.fast.cpu.ghost import usable
from ghostnet_small.models.registry import create_model
from ghostnet_small.train import timing
from ghostnet_small.train.device import make_accelerator
from ghostnet_small.train.timing import EngineStep, FixedStep, peak_memory, seconds_in_turn
from recorder_kit import Again

CPU = torch.device("cpu")
KIB = 1024


class Clock:
    """Time passes only in works, by what each is said to take."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[str] = []

    def __call__(self) -> float:
        return self.now

    def work(self, name: str, *seconds: float) -> None:
        """The n-th call of ``name`` takes the n-th of ``seconds``, from the first on again."""
        self.now += seconds[self.calls.count(name) % len(seconds)]
        self.calls.append(name)


def test_works_have_their_turns_and_each_begins_once() -> None:
    clock = Clock()
    taken = {"a": (1.0, 2.0), "b": (3.0,), "c": (5.0,)}
    works = {name: lambda name=name: clock.work(name, *taken[name]) for name in taken}
    found = seconds_in_turn(
        works, repetitions=4, calls=2, finish=lambda: clock.calls.append("wait"), clock=clock
    )
    # Of a's three calls a turn the first is not counted: 1 or 2 seconds, in turn.
    assert found == {"a": [3.0] * 4, "b": [6.0] * 4, "c": [10.0] * 4}
    turns = ["abc", "bca", "cab", "abc"]
    expected = [
        word for turn in turns for name in turn for word in (name, "wait", name, name, "wait")
    ]
    assert clock.calls == expected


def test_the_wait_counts_to_the_turn_that_it_ends() -> None:
    clock = Clock()
    found = seconds_in_turn(
        {"a": lambda: None},
        repetitions=3,
        calls=1,
        finish=lambda: clock.work("wait", 100.0, 7.0),
        clock=clock,
    )
    assert found == {"a": [7.0] * 3}


def floats(count: int) -> Tensor:
    return torch.empty(count, dtype=torch.float32)


def test_the_peak_is_that_of_what_is_held_at_once() -> None:
    held: list[Tensor] = []

    def work() -> None:
        first = floats(1 * KIB)  # 4 KiB
        second = floats(2 * KIB)  # 12 KiB
        del first  # 8 KiB
        third = floats(3 * KIB)  # 20 KiB: the peak
        del second, third
        held.append(floats(4 * KIB))  # 16 KiB, kept

    assert peak_memory(work, CPU) == 20 * KIB
    held.clear()
    # What was there before does not count, and nothing is counted twice.
    held.append(floats(100 * KIB))
    assert peak_memory(work, CPU) == 20 * KIB


def test_the_peak_counts_what_operators_and_the_backward_pass_take() -> None:
    x = torch.ones(KIB, requires_grad=True)
    size, scalars = x.nbytes, 2 * 4

    def work() -> None:
        # Its result is saved, and the slope of x stands beside that; sum and seed are scalars.
        x.exp().sum().backward()

    assert peak_memory(lambda: torch.add(x, x), CPU) == size
    assert peak_memory(work, CPU) == 2 * size + scalars


def test_nothing_taken_is_a_peak_of_zero() -> None:
    assert peak_memory(lambda: None, CPU) == 0


def test_memory_of_a_device_that_tells_none_is_unknown() -> None:
    assert peak_memory(lambda: None, torch.device("mps")) is None


def test_the_profiler_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    peak_memory(lambda: floats(1), CPU)
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def step() -> FixedStep:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 5, bias=False), nn.BatchNorm1d(5))
    pictures, targets = torch.randn(4, 3, 2, 2), torch.tensor([0, 1, 2, 3])
    return FixedStep(model, pictures, targets, make_accelerator("cpu"))


def test_a_step_trains_and_leaves_no_gradient(step: FixedStep) -> None:
    before = copy.deepcopy(step.model)
    step()
    linear, norm = step.model[1], step.model[2]
    loss = nn.functional.cross_entropy(before(step.pictures), step.targets)
    loss.backward()
    # The first momentum is the gradient and the decay; it moves the weights, if hardly.
    expected = before[1].weight.grad + 5e-4 * before[1].weight
    momentum = step.optimizer.state[linear.weight]["momentum_buffer"]
    assert torch.allclose(momentum, expected, rtol=1e-5, atol=1e-7)
    assert norm.num_batches_tracked == 1
    assert all(parameter.grad is None for parameter in step.model.parameters())
    assert torch.allclose(linear.weight, before[1].weight, rtol=0, atol=1e-6)


def test_what_a_step_holds(step: FixedStep) -> None:
    weights, statistics, batches = 12 * 5 + 2 * 5, 2 * 5, 8
    batch = 4 * 12 * 4 + 4 * 8
    assert step.held_bytes() == 4 * (weights + statistics) + batches + batch
    step()
    assert step.held_bytes() == 4 * (2 * weights + statistics) + batches + batch


def test_a_compiled_step_is_the_code_that_torch_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
    asked = []

    def record(forward: nn.Module) -> object:
        asked.append(forward)
        return lambda pictures: forward(pictures)

    monkeypatch.setattr(torch, "compile", record)
    pictures, targets = torch.randn(4, 3, 2, 2), torch.tensor([0, 1, 2, 3])
    accelerator = make_accelerator("cpu")
    FixedStep(model, pictures, targets, accelerator)
    assert asked == []
    step = FixedStep(model, pictures, targets, accelerator, compiled=True)
    step()
    (forward,) = asked
    assert any(module is model for module in forward.modules())


@pytest.mark.parametrize("kind", [FixedStep, EngineStep])
def test_the_memory_of_a_replay_is_part_of_its_step(
    kind: type[FixedStep], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GHOSTNET_GRAPHS", raising=False)
    model = create_model("ghostnetv3_small", width=0.5)
    use(model, "merged")
    model.to(memory_format=torch.channels_last)
    pictures = torch.randn(4, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    step = kind(model, pictures, torch.tensor([0, 1, 2, 3]), make_accelerator("cpu"))
    step()
    kept = step.gradients.replay_bytes
    passing = peak_memory(step, CPU)
    assert passing is not None and step.peak_bytes(CPU) == kept + passing
    if usable(pictures):  # there are C kernels
        # More than the images, and than what passes outside: all activations and gradients.
        assert kept > 2**20 > 4 * passing
    assert step.peak_bytes(torch.device("mps")) is None


def test_the_engines_step_is_recorded_where_a_trainings_steps_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recorder = Again()
    monkeypatch.setattr(timing, "recorder_for", lambda *_: recorder)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 5, bias=False), nn.BatchNorm1d(5))
    pictures, targets = torch.randn(4, 3, 2, 2), torch.tensor([0, 1, 2, 3])
    step = EngineStep(model, pictures, targets, make_accelerator("cpu"))
    for _ in range(6):
        step()
    assert recorder.calls == {"aside": 3, "capture": 1, "replay": 3}
    assert model[2].num_batches_tracked == 6
