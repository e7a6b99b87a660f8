"""The logits that a student is compared with: computed live, or read from a cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ghostnet_small.distill.losses import ensemble_logits
from ghostnet_small.distill.settings import DistillSettings
from ghostnet_small.distill.target_cache import TargetCache
from ghostnet_small.distill.teacher import Teacher
from ghostnet_small.train.feed import Feed
from ghostnet_small.train.objective import Batch

BATCH = 500
PAGES = 2  # views kept on the device: that of this epoch, and one more

Targets = Callable[[Batch], Tensor]
"""A function of a batch; returns the combined teachers' float32 logits ``(N, K)``, no gradient."""

Combine = Callable[[Sequence[Tensor]], Tensor]


def combination(settings: DistillSettings) -> Combine:
    """Return the function that combines several teachers' logits; it keeps those of one teacher."""

    def combine(logits: Sequence[Tensor]) -> Tensor:
        if len(logits) == 1:
            return logits[0]
        return ensemble_logits(
            logits,
            mean=settings.mean,
            weights=settings.teacher_shares,
            temperature=settings.temperature,
        )

    return combine


class LiveTargets:
    """Targets from every teacher, computed on the same views that the student sees."""

    def __init__(self, teachers: Sequence[Teacher], combine: Combine) -> None:
        self.teachers, self.combine = teachers, combine

    def __call__(self, batch: Batch) -> Tensor:
        return self.combine([teacher.logits(batch.views) for teacher in self.teachers])


class CachedTargets:
    """Targets that ``fill`` stored for every teacher and view.

    ``index`` int64 ``(N,)`` is that of the training split; a batch identifies its images by it.
    """

    def __init__(
        self,
        caches: Sequence[TargetCache],
        index: Tensor,
        combine: Combine,
        device: torch.device,
    ) -> None:
        self.caches, self.combine, self.device = caches, combine, device
        row = torch.full((int(index.max()) + 1,), -1)
        row[index.cpu()] = torch.arange(len(index))
        self.row = row.to(device)
        self.pages: dict[int, list[Tensor]] = {}

    def __call__(self, batch: Batch) -> Tensor:
        rows = self.row[batch.index]
        if isinstance(batch.view, int):
            return self.combine([page[rows].float() for page in self._pages(batch.view)])
        # On the CPU, where the files are: otherwise whole pages would be moved for a few rows of
        # each view, and each choice of rows would wait for the device.
        rows, views = rows.cpu(), batch.view.cpu()
        logits = [torch.empty(len(rows), cache.shape[1]) for cache in self.caches]
        for view in views.unique().tolist():
            there = views == view
            for found, cache in zip(logits, self.caches, strict=True):
                found[there] = cache.page(view)[rows[there]].float()
        return self.combine([found.to(self.device) for found in logits])

    def _pages(self, view: int) -> list[Tensor]:
        if view not in self.pages:
            if len(self.pages) >= PAGES:
                del self.pages[next(iter(self.pages))]
            self.pages[view] = [cache.page(view).to(self.device) for cache in self.caches]
        return self.pages[view]


def fill(
    cache: TargetCache,
    teacher: Teacher,
    feed: Feed,
    *,
    progress: Callable[[int, int], None],
    between: Callable[[], None],
    ready: Callable[[Teacher], Teacher] = lambda teacher: teacher,
) -> None:
    """Compute ``teacher``'s logits of every view that ``cache`` lacks, and store them.

    If any view is missing, ``ready`` first returns the teacher in the form to evaluate.

    ``progress`` gets the numbers of stored views and of all; ``between`` runs before each batch and
    may raise. After a kill at any moment, the next call continues at the same view.
    """
    if not cache.missing():
        return
    with cache.filling(between):
        missing = cache.missing()
        if missing:
            teacher = ready(teacher)
        for view in missing:
            parts = []
            for batch in feed.whole_view(view, BATCH):
                between()
                parts.append(teacher.logits(batch.views).cpu())
            cache.write(view, torch.cat(parts))
            progress(cache.views - len(missing) + missing.index(view) + 1, cache.views)
