"""What the steps of an epoch see: pictures in their order, augmented, mixed and cut into parts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ghostnet_small.data.augment import Augmentation
from ghostnet_small.data.dataset import ImageData, Pictures
from ghostnet_small.data.reader import batches
from ghostnet_small.data.sampling import epoch_rows
from ghostnet_small.train.objective import Batch
from ghostnet_small.train.processes import Processes
from ghostnet_small.train.settings import TrainSettings


@dataclass(frozen=True)
class Step:
    """The micro-batches of a step that fall to this process, out of ``pictures`` in all."""

    parts: list[Batch]
    pictures: int


class Feed:
    """The training split, step by step; what a step holds follows from its number alone.

    The pictures of a step are cut, in their order, into ``accumulate`` micro-batches for each
    process: the first of them for the first process, and so on.
    """

    def __init__(
        self,
        data: ImageData,
        augment: Augmentation,
        settings: TrainSettings,
        device: torch.device,
        processes: Processes,
    ) -> None:
        self.split = data.train.to(device)
        self.fill = tuple(round(255 * m) for m in data.mean)
        self.augment, self.settings = augment, settings
        self.device, self.processes = device, processes
        steps = len(self.split) / settings.batch_size
        self.steps = math.floor(steps) if settings.drop_last else math.ceil(steps)

    def epoch(self, epoch: int, first: int) -> Iterator[Step]:
        """The steps of ``epoch`` (from 0) from step ``first`` on."""
        order, repeat = epoch_rows(
            self.split.labels,
            epoch,
            seed=self.settings.seed,
            shuffle=self.settings.shuffle,
            sampler=self.settings.sampler,
        )
        # A picture that comes again looks as in an epoch that will never be; an odd number of
        # epochs away, so that an alternating flip is the other way round.
        views = self.augment.view_of_epoch(epoch + repeat * (self.settings.epochs | 1))
        same = None if repeat.any() else self.augment.view_of_epoch(epoch)
        shares = [self._share(step) for step in range(first, self.steps)]

        def view_at(places: slice) -> int | Tensor:
            return views[places] if same is None else same

        def rows() -> Iterator[Tensor]:
            """What each step reads: its pictures and, where they are mixed, their partners."""
            for places, _, _ in shares:
                own = order[places]
                yield torch.cat((own, self._partners(own, view_at(places))))

        taken = batches(self.split, rows())
        for (places, size, pictures), read in zip(shares, taken, strict=True):
            yield Step(self._parts(read.to(self.device), view_at(places), size), pictures)

    def whole_view(self, view: int, size: int) -> Iterator[Batch]:
        """Every picture of the split under ``view``, in the split's order, ``size`` at a time."""

        def rows() -> Iterator[Tensor]:
            for own in torch.arange(len(self.split), device=self.split.labels.device).split(size):
                yield torch.cat((own, self._partners(own, view)))

        for read in batches(self.split, rows()):
            yield self._parts(read.to(self.device), view, size)[0]

    def _share(self, step: int) -> tuple[slice, int, int]:
        """Where in the order this process's pictures of ``step`` stand, how many make a part,
        and how many pictures the whole step has."""
        start = step * self.settings.batch_size
        stop = min(start + self.settings.batch_size, len(self.split))
        size = -(-(stop - start) // (self.settings.accumulate * self.processes.count))
        mine = start + self.processes.rank * self.settings.accumulate * size
        share = slice(mine, min(mine + self.settings.accumulate * size, stop))
        return share, size, stop - start

    def _partners(self, own: Tensor, view: int | Tensor) -> Tensor:
        if not self.augment.mixes:
            return own[:0]
        return self.augment.partner(self.split.index[own], view, len(self.split))

    def _parts(self, read: Pictures, view: int | Tensor, size: int) -> list[Batch]:
        if isinstance(view, Tensor):
            view = view.to(self.device)
        if not self.augment.mixes:
            views = self.augment(read.images, read.index, view, self.fill)
            return _cut(Batch(views, read.labels, read.index, view), size)
        own, partners = _halves(read)
        mixed, share = self.augment.mix(
            self.augment(own.images, own.index, view, self.fill),
            self.augment(partners.images, partners.index, view, self.fill),
            own.index,
            view,
        )
        batch = Batch(mixed, own.labels, own.index, view, partners.labels, share)
        return _cut(batch, size)


def _halves(read: Pictures) -> tuple[Pictures, Pictures]:
    images, labels, index = (t.chunk(2) for t in (read.images, read.labels, read.index))
    return Pictures(images[0], labels[0], index[0]), Pictures(images[1], labels[1], index[1])


def _cut(batch: Batch, size: int) -> list[Batch]:
    """``batch`` in parts of ``size`` pictures, the last one smaller where they do not fit."""
    return [
        Batch(
            **{
                name: value[start : start + size] if isinstance(value, Tensor) else value
                for name, value in vars(batch).items()
            }
        )
        for start in range(0, len(batch.targets), size)
    ]
