"""Fine-tune a folded network in simulated int8, so that it answers as in float32."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from ghostnet_small.deploy.fake_quant import quantize_in_float
from ghostnet_small.deploy.ranges import ranges_of
from ghostnet_small.deploy.taps import Taps

BATCH = 64
LEARNING_RATE = 1e-3
MOMENTUM = 0.9
# The first gradients of a confident network can be tens of times as long, and would move it further
# from its answers than rounding did.
LONGEST_GRADIENT = 1.0
CALIBRATION = 256
# Steps from one measurement of the ranges to the next, for they follow the weights.
STEPS_OF_RANGES = 50


def fine_tune(
    network: nn.Module,
    pictures: Tensor,
    steps: int,
    *,
    seed: int = 0,
    tell: Callable[[int, float], None] = lambda step, loss: None,
) -> nn.Module:
    """Return a copy of a folded ``network`` whose rounded logits are nearer to the network's own.

    ``pictures``: normalised training images, float32 ``(N, C, H, W)``; each of ``steps`` takes
    64 of them at random and lowers the Kullback-Leibler divergence
    (nats) of the rounded copy's answers from the network's. No labels are used. Gradients
    pass straight through the rounding, and are cut to a norm of 1; the learning rate of SGD falls
    from 1e-3 to 0 along a cosine. ``tell`` gets every step and its loss.

    Source: arXiv:1308.3432 (straight-through estimator); arXiv:1712.05877, section 3.
    """
    random = torch.Generator().manual_seed(seed)
    tuned = copy.deepcopy(network).requires_grad_(True)
    _, channels, height, width = pictures.shape
    places = Taps(tuned, channels, (height, width))
    optimizer = torch.optim.SGD(places.parameters(), LEARNING_RATE, MOMENTUM, nesterov=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, steps))
    calibration = pictures[torch.randperm(len(pictures), generator=random)[:CALIBRATION]]
    for step in range(steps):
        if step % STEPS_OF_RANGES == 0:
            places.at, places.weight_at = {}, {}
            quantize_in_float(places, ranges_of(places, calibration))
        shown = pictures[torch.randint(len(pictures), (BATCH,), generator=random)]
        with torch.no_grad():
            wanted = network(shown).log_softmax(1)
        loss = functional.kl_div(
            places(shown).log_softmax(1), wanted, reduction="batchmean", log_target=True
        )
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(places.parameters(), LONGEST_GRADIENT)
        optimizer.step()
        schedule.step()
        tell(step + 1, float(loss.detach()))
    return tuned.eval().requires_grad_(False)
