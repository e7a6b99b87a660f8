"""The images of an epoch and their order: a pure function of (seed, epoch, labels)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ghostnet_small.data.counter_rng import philox

Sampler = Literal["all", "balanced"]

# These draw from the augmentation's generator, far from its streams.
ORDER_STREAM, CYCLE_STREAM, TURN_STREAM = ((1 << 16) + k for k in range(3))
_AT_ONCE = 1 << 18


def epoch_rows(
    labels: Tensor, epoch: int, *, seed: int, shuffle: bool, sampler: Sampler
) -> tuple[Tensor, Tensor]:
    """The rows of a training split in the order of ``epoch`` (from 0), and their repetitions.

    Shapes: ``labels`` int64 ``(N,)``; both results int64 ``(N,)`` on its device. The second says
    how often the row came before in this epoch.

    "all" shows every image once. "balanced" shows every class that has images equally often,
    N images in all; where N cannot be divided evenly, the classes take turns at one image more.
    No image of a class is repeated before all others of it were shown as often, and an epoch
    continues the class's cycle of images where the epoch before stopped. So over the epochs all
    images of a class are shown equally often, to within one.
    """
    rows = torch.arange(len(labels), device=labels.device)
    if sampler == "balanced":
        assert shuffle, "a balanced epoch has no order of the source's to keep"
        return _balanced(labels, rows, epoch, seed)
    order = torch.argsort(_keys(rows, epoch, ORDER_STREAM, seed), stable=True) if shuffle else rows
    return order, torch.zeros_like(order)


def _balanced(labels: Tensor, rows: Tensor, epoch: int, seed: int) -> tuple[Tensor, Tensor]:
    total = len(rows)
    _, group, size = torch.unique(labels, return_inverse=True, return_counts=True)
    groups = len(size)
    number = torch.arange(groups, device=labels.device)

    # Epoch e gives its ``over`` spare images to the classes e * over, e * over + 1, ... modulo
    # the number of classes; ``before`` is what each class was shown in all epochs before.
    each, over = divmod(total, groups)

    def shown(epochs: int) -> Tensor:
        return epochs * each + (epochs * over + groups - 1 - number) // groups

    before = shown(epoch)
    share = shown(epoch + 1) - before

    # How often each image comes: its class's cycle goes on at ``before``.
    place = _place_in_group(_keys(rows, 0, CYCLE_STREAM, seed), group, size)
    ahead = (place - before[group]) % size[group]
    times = share[group] // size[group] + (ahead < share[group] % size[group])
    drawn = torch.repeat_interleave(rows, times)
    repeat = torch.arange(total, device=rows.device) - (times.cumsum(0) - times)[drawn]

    # Each class's images in a new order for every repetition ...
    turn = torch.argsort(_keys(drawn | repeat << 32, epoch, TURN_STREAM, seed), stable=True)
    turn = turn[torch.argsort(repeat[turn], stable=True)]
    turn = turn[torch.argsort(group[drawn[turn]], stable=True)]
    # ... fill that class's places in a shuffled sequence of classes.
    shuffled = torch.argsort(_keys(rows, epoch, ORDER_STREAM, seed), stable=True)
    sequence = torch.repeat_interleave(number, share)[shuffled]
    filled = torch.empty_like(turn)
    filled[torch.argsort(sequence, stable=True)] = turn
    return drawn[filled], repeat[filled]


def _place_in_group(keys: Tensor, group: Tensor, size: Tensor) -> Tensor:
    """The rank of each row's key among the keys of its group."""
    order = torch.argsort(keys, stable=True)
    order = order[torch.argsort(group[order], stable=True)]
    place = torch.empty_like(order)
    first = size.cumsum(0) - size
    place[order] = torch.arange(len(order), device=order.device) - first[group[order]]
    return place


def _keys(index: Tensor, epoch: int, stream: int, seed: int) -> Tensor:
    """63 random bits for each row, to sort by."""
    # In parts, because drawing takes some hundred bytes a row and the answer only eight.
    keys = torch.empty_like(index)
    for start in range(0, len(index), _AT_ONCE):
        words = philox(index[start : start + _AT_ONCE], epoch, stream, seed)
        keys[start : start + _AT_ONCE] = (words[:, 0] << 31) | (words[:, 1] >> 1)
    return keys
