"""Images a second that this machine trains and answers, measured for some seconds on noise."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from ghostnet_small.fast import ready_to_answer, use
from ghostnet_small.fit.needs import Shape
from ghostnet_small.models.registry import create_model
from ghostnet_small.train.device import make_accelerator
from ghostnet_small.train.timing import FixedStep

SECONDS = 3.0
ANSWERED = 256  # images at once


@dataclass(frozen=True)
class Speed:
    """Images a second: ``trained`` in steps of the batch size, ``answered`` by a folded network."""

    trained: float
    answered: float


def measure(shape: Shape, batch: int, device: str = "cpu") -> Speed:
    """Measure GhostNetV3-Small of this ``shape`` on ``device``, in a second or a few each."""
    accelerator = make_accelerator(device)
    size = (shape.channels, *shape.size)
    model = create_model(
        "ghostnetv3_small",
        num_classes=shape.classes,
        width=shape.width,
        in_channels=shape.channels,
        head=shape.features,
    )
    use(model)
    model = model.to(accelerator.device).to(memory_format=torch.channels_last)

    def images(count: int) -> torch.Tensor:
        x = torch.randn(count, *size, device=accelerator.device)
        return x.contiguous(memory_format=torch.channels_last)

    labels = torch.arange(batch, device=accelerator.device) % shape.classes
    step = FixedStep(model, images(batch), labels, accelerator)
    trained = batch * _calls_a_second(step)
    with torch.inference_mode():
        folded, shown = ready_to_answer(model.eval()), images(ANSWERED)
        answered = ANSWERED * _calls_a_second(lambda: folded(shown))
    return Speed(trained, answered)


def _calls_a_second(work: Callable[[], object]) -> float:
    work()  # kernels are compiled and steps are listed then
    work()
    started, calls = time.perf_counter(), 0
    while (passed := time.perf_counter() - started) < SECONDS or not calls:
        work()
        calls += 1
    return calls / passed
