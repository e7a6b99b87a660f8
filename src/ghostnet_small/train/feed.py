"""The batches of an epoch's steps: images in order, augmented, mixed and cut into parts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from ghostnet_small.data.augment import Augmentation
from ghostnet_small.data.dataset import ImageData, Pictures
from ghostnet_small.data.reader import batches
from ghostnet_small.data.sampling import epoch_rows
from ghostnet_small.train.objective import Batch
from ghostnet_small.train.processes import Processes
from ghostnet_small.train.settings import TrainSettings

# On a GPU the views of many steps are made at once, for those of one step are too few to use it
# fully: this is 8192 colour images of 32x32, or as many bytes of larger ones.
AHEAD_BYTES = 8192 * 3 * 32 * 32
ASKED = 2048  # images per teacher batch, when logits are computed ahead


class Share(NamedTuple):
    """This process's share of a step.

    It has the places of its images in the epoch's order, the size of a part, and the number of
    ``pictures`` of the whole step.
    """

    places: slice
    size: int
    pictures: int


@dataclass(frozen=True)
class Step:
    """This process's micro-batches of a step of ``pictures`` images in all."""

    parts: list[Batch]
    pictures: int


class Feed:
    """The training split, step by step; the content of a step depends only on its number.

    The images of a step are cut, in their order, into ``accumulate`` micro-batches for each
    process: the first of them for the first process, and so on.

    With ``ask`` the teachers' logits are computed ahead, together with the views, and batches hold
    its result, float32 ``(N, K)``.
    """

    def __init__(
        self,
        data: ImageData,
        augment: Augmentation,
        settings: TrainSettings,
        device: torch.device,
        processes: Processes,
        ask: Callable[[Batch], Tensor] | None = None,
    ) -> None:
        self.split = data.train.to(device)
        self.fill = tuple(round(255 * m) for m in data.mean)
        self.augment, self.settings = augment, settings
        self.device, self.processes, self.ask = device, processes, ask
        steps = len(self.split) / settings.batch_size
        self.steps = math.floor(steps) if settings.drop_last else math.ceil(steps)
        # Steps whose views are made at once: the same bits, for views are functions of integers.
        self.ahead = 1
        if device.type == "cuda":
            share = settings.batch_size // processes.count
            self.ahead = max(1, AHEAD_BYTES // math.prod(self.split.images.shape[1:]) // share)

    def epoch(self, epoch: int, first: int) -> Iterator[Step]:
        """Yield the steps of ``epoch`` (from 0), beginning with step ``first``."""
        order, repeat = epoch_rows(
            self.split.labels,
            epoch,
            seed=self.settings.seed,
            shuffle=self.settings.shuffle,
            sampler=self.settings.sampler,
        )
        # A repeated image gets the view of an epoch past the last one, an odd number of epochs
        # away, so that an alternating flip is the other way round.
        views = self.augment.view_of_epoch(epoch + repeat * (self.settings.epochs | 1))
        same = None if repeat.any() else self.augment.view_of_epoch(epoch)
        shares = [self._share(step) for step in range(first, self.steps)]
        groups = [shares[k : k + self.ahead] for k in range(0, len(shares), self.ahead)]

        def taken(values: Tensor, group: list[Share]) -> Tensor:
            return torch.cat([values[share.places] for share in group])

        def view_of(group: list[Share]) -> int | Tensor:
            return taken(views, group) if same is None else same

        def rows() -> Iterator[Tensor]:
            """Yield the rows to read at once: images and, where they are mixed, their partners."""
            for group in groups:
                own = taken(order, group)
                yield torch.cat((own, self._partners(own, view_of(group))))

        for group, read in zip(groups, batches(self.split, rows()), strict=True):
            batch = self._batch(read.to(self.device), view_of(group))
            if self.ask is not None:
                said = [self.ask(part) for part in _cut(batch, ASKED)]
                batch = replace(batch, teacher_logits=torch.cat(said))
            start = 0
            for places, size, pictures in group:
                stop = start + places.stop - places.start
                yield Step(_cut(batch, size, start, stop), pictures)
                start = stop

    def whole_view(self, view: int, size: int) -> Iterator[Batch]:
        """Yield the whole split under ``view``, in its order, ``size`` images at a time."""

        def rows() -> Iterator[Tensor]:
            for own in torch.arange(len(self.split), device=self.split.labels.device).split(size):
                yield torch.cat((own, self._partners(own, view)))

        for read in batches(self.split, rows()):
            yield self._batch(read.to(self.device), view)

    def _share(self, step: int) -> Share:
        start = step * self.settings.batch_size
        stop = min(start + self.settings.batch_size, len(self.split))
        size = -(-(stop - start) // (self.settings.accumulate * self.processes.count))
        mine = start + self.processes.rank * self.settings.accumulate * size
        places = slice(mine, min(mine + self.settings.accumulate * size, stop))
        return Share(places, size, stop - start)

    def _partners(self, own: Tensor, view: int | Tensor) -> Tensor:
        if not self.augment.mixes:
            return own[:0]
        return self.augment.partner(self.split.index[own], view, len(self.split))

    def _batch(self, read: Pictures, view: int | Tensor) -> Batch:
        if isinstance(view, Tensor):
            view = view.to(self.device)
        if not self.augment.mixes:
            views = self.augment(read.images, read.index, view, self.fill)
            return Batch(views, read.labels, read.index, view)
        own, partners = _halves(read)
        mixed, share = self.augment.mix(
            self.augment(own.images, own.index, view, self.fill),
            self.augment(partners.images, partners.index, view, self.fill),
            own.index,
            view,
        )
        return Batch(mixed, own.labels, own.index, view, partners.labels, share)


def _halves(read: Pictures) -> tuple[Pictures, Pictures]:
    images, labels, index = (t.chunk(2) for t in (read.images, read.labels, read.index))
    return Pictures(images[0], labels[0], index[0]), Pictures(images[1], labels[1], index[1])


def _cut(batch: Batch, size: int, start: int = 0, stop: int | None = None) -> list[Batch]:
    """Return ``batch`` from ``start`` to ``stop`` in parts of ``size``; the last may be smaller."""
    stop = len(batch.targets) if stop is None else stop
    return [
        Batch(
            **{
                name: value[first : min(first + size, stop)] if isinstance(value, Tensor) else value
                for name, value in vars(batch).items()
            }
        )
        for first in range(start, stop, size)
    ]
