"""The teachers of a recipe: load and check them, make their targets, and report on both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ghostnet_small.data.augment import Augmentation
from ghostnet_small.data.classes import list_classes
from ghostnet_small.data.dataset import ImageData, Split, size_text
from ghostnet_small.data.fitting import same_classes
from ghostnet_small.distill.distillation import distillation
from ghostnet_small.distill.feature_maps import MapLosses
from ghostnet_small.distill.losses import share_above, target_entropy
from ghostnet_small.distill.target_cache import TargetCache, key_digest
from ghostnet_small.distill.targets import (
    BATCH,
    CachedTargets,
    LiveTargets,
    Targets,
    combination,
    fill,
)
from ghostnet_small.distill.teacher import Teacher
from ghostnet_small.errors import InputError
from ghostnet_small.fast import ready_to_answer
from ghostnet_small.files import cache_root, expanded
from ghostnet_small.models.heads import head_entry, head_in
from ghostnet_small.models.network import order_classes
from ghostnet_small.models.weights import load, weights_digest
from ghostnet_small.recipe.recipe import Recipe
from ghostnet_small.run.teacher_backends import compare_forms, fastest, first_views
from ghostnet_small.train.engine import Training
from ghostnet_small.train.evaluate import Evaluation, evaluate
from ghostnet_small.train.feed import Feed
from ghostnet_small.train.objective import Objective

NEARLY_ONE = 0.98  # a target above it says little more than its label


class Teaching:
    """One training's teachers; ``targets`` gives a batch their answers to it.

    Raises ``InputError`` where a teacher is missing, has other classes or channels than the data,
    or the stored targets are not this training's.
    """

    def __init__(
        self, recipe: Recipe, data: ImageData, device: torch.device, processes: int
    ) -> None:
        self.recipe, self.settings, self.data = recipe, recipe.distill, data
        self.device = device
        self._check_settings(processes)
        self.teachers = [
            # A folded module puts out what comes before its activation, the student's after it.
            load_teacher(expanded(path), data, device, fold=not self.settings.on_maps)
            for path in self.settings.teachers
        ]
        for teacher in self.teachers:
            teacher.to(device)
        self.caches: list[TargetCache] = []
        if self.settings.targets == "cached":
            self.caches = [self._cache(teacher) for teacher in self.teachers]
            for cache in self.caches:
                cache.check()
        self.combine = combination(self.settings)
        self.targets: Targets = (
            CachedTargets(self.caches, data.train.index, self.combine, device)
            if self.caches
            else LiveTargets(self.teachers, self.combine)
        )

    @property
    def digests(self) -> list[str]:
        """Return the SHA-256 of each teacher's weights."""
        return [teacher.digest for teacher in self.teachers]

    @property
    def views(self) -> int:
        """Return the number of views that the training shows: V, or one an epoch."""
        return self.recipe.augment.views or self.recipe.train.epochs

    @property
    def augment(self) -> Augmentation:
        """Return the augmentation of the images that the teachers see."""
        seed = self.settings.view_seed
        augment = self.recipe.augment
        return augment if seed is None else replace(augment, view_seed=seed)

    def objective(
        self, labels: Objective, student: nn.Module
    ) -> tuple[Objective, nn.Module | None]:
        """Return the loss of the ``labels`` with that of the teachers, and the part of it to train.

        Raises ``InputError`` where a module to compare has no feature map.
        """
        maps = None
        if self.settings.on_maps:
            picture = (self.data.channels, *self.data.size)
            maps = MapLosses(student, self.teachers[0], self.settings, picture)
        objective = distillation(labels, self.targets, self.settings, maps)
        return objective, None if maps is None else maps.adapters

    @property
    def ask(self) -> Targets | None:
        """Return the targets that can be made ahead of a step; feature maps cannot."""
        return self.targets if self.settings.kd_weight and not self.settings.on_maps else None

    def fill(
        self,
        training: Training,
        progress: Callable[[str, int, int], None],
        between: Callable[[], None],
    ) -> None:
        """Make the targets that are not stored yet, and report to ``progress``."""
        feed = training.feed
        if self.augment != self.recipe.augment:
            settings, processes = training.settings, training.processes
            feed = Feed(self.data, self.augment, settings, self.device, processes)
        # Without caches the targets are live, and there is nothing to fill.
        for number, (cache, teacher) in enumerate(zip(self.caches, self.teachers), 1):  # noqa: B905
            what = "targets of teacher"
            if len(self.teachers) > 1:
                what += f" {number} of {len(self.teachers)}"
            self._fill(cache, teacher, feed, what, progress, between)

    def _fill(
        self,
        cache: TargetCache,
        teacher: Teacher,
        feed: Feed,
        what: str,
        progress: Callable[[str, int, int], None],
        between: Callable[[], None],
    ) -> None:
        said = what

        def ready(teacher: Teacher) -> Teacher:
            nonlocal said
            if self.settings.answers == "float32":
                return teacher
            views = first_views(self.data, self.augment, feed.settings, self.device)
            compared = compare_forms(teacher, views, self.settings.temperature, between=between)
            found = fastest(compared)
            cache.note_fill({"from_view": cache.missing()[0], **found.about()})
            said = f"{what} by {found}"
            return replace(teacher, network=found.network)

        fill(
            cache,
            teacher,
            feed,
            progress=lambda done, total: progress(f"{said}, views", done, total),
            between=between,
            ready=ready,
        )

    def about(
        self, training: Training, found: Evaluation | None, split: Split | None
    ) -> dict[str, Any]:
        """Return a record's part on the teachers, their targets, and the student's agreement.

        ``found`` are the student's answers to ``split``.
        """
        shares = self.settings.teacher_shares or (1.0,) * len(self.teachers)
        rows = [
            {
                "name": teacher.name,
                **teacher.about,
                "weights_sha256": teacher.digest,
                "weight": share / sum(shares),
            }
            for teacher, share in zip(self.teachers, shares, strict=True)
        ]
        report: dict[str, Any] = {
            key: value
            for key, value in self.recipe.as_dict()["distill"].items()
            if key not in ("teachers", "teacher_shares", "cache", "targets", "answers")
        }
        if self.settings.answers == "fastest":
            for row, cache in zip(rows, self.caches, strict=True):
                row["answers"] = cache.fills()
        report |= {"mode": self.settings.targets, "teachers": rows}
        report["targets"] = self._about_targets(training)
        if found is None or split is None:
            return report
        name = "test" if self.data.test is not None else "validation"
        answers = [self._answers(teacher, split) for teacher in self.teachers]
        labels = split.labels.cpu()
        for row, answer in zip(rows, answers, strict=True):
            row[f"{name}_top1"] = answer.top1
        combined = self.combine([answer.logits for answer in answers]).argmax(1)
        same = (combined == found.logits.argmax(1)).float().mean()
        report["agreement"] = 100 * float(same)
        report[f"teacher_{name}_top1"] = 100 * float((combined == labels).float().mean())
        return report

    def _about_targets(self, training: Training) -> dict[str, Any]:
        """Return statistics of the targets for the first view of every training image."""
        if self.caches:
            targets = self.combine([cache.page(0).float() for cache in self.caches])
        else:
            shown = training.feed.whole_view(0, BATCH)
            targets = torch.cat([self.targets(batch).float().cpu() for batch in shown])
        temperature = self.settings.temperature
        right = targets.argmax(1) == self.data.train.labels.cpu()
        return {
            "views": self.views,
            "pictures": len(targets),
            "temperature": temperature,
            "entropy": float(target_entropy(targets, temperature).mean()),
            "entropy_at_1": float(target_entropy(targets, 1.0).mean()),
            "share_above_098": share_above(targets, temperature, NEARLY_ONE),
            "share_above_098_at_1": share_above(targets, 1.0, NEARLY_ONE),
            "top1": 100 * float(right.float().mean()),
        }

    def _answers(self, teacher: Teacher, split: Split) -> Evaluation:
        return evaluate(
            teacher.network,
            split,
            mean=teacher.mean,
            std=teacher.std,
            memory_format=teacher.memory_format,
        )

    def _check_settings(self, processes: int) -> None:
        if self.settings.on_maps and processes > 1:
            raise InputError(
                f"distill.attention and hints work in one process, and there are {processes}; "
                "leave the launcher out, or attention and hints"
            )
        if self.settings.loss == "dkd" and self.recipe.augment.mixes:
            raise InputError(
                "distill.loss 'dkd' separates an image's class from the others, and augment.mixup "
                "or cutmix gives it two; choose kd, dist or logit_standardized, or do not mix"
            )
        if (
            self.settings.targets == "cached"
            and self.recipe.train.sampler == "balanced"
            and self.recipe.augment.views is None
        ):
            raise InputError(
                "train.sampler 'balanced' shows several views of an image an epoch, without end; "
                "give augment.views, or distill.targets live"
            )

    def _cache(self, teacher: Teacher) -> TargetCache:
        augment = asdict(self.augment)
        del augment["views"]
        rows, classes = len(self.data.train), len(self.data.classes)
        key = {
            "format": 1,
            "teacher": {"weights": teacher.digest, "mean": teacher.mean, "std": teacher.std},
            "data": self.data.fingerprint,
            "split": "train",
            "pictures": rows,
            "classes": classes,
            "size": self.data.size,
            "augment": augment,
            "fill": tuple(round(255 * mean) for mean in self.data.mean),
            "views": self.views,
        }
        if self.settings.answers == "fastest":
            # Whichever form that is: another machine goes on with these views.
            key["answers"] = "fastest"
        if self.settings.cache is not None:
            folder = expanded(self.settings.cache) / f"teacher-{teacher.digest[:16]}"
        else:
            root = cache_root(self.recipe.data.cache)
            if root is None:
                raise InputError(
                    "caches are off, or this user has no home folder for them, and "
                    "distill.targets is cached; give distill.cache DIR, or distill.targets live"
                )
            folder = root / "targets" / key_digest(key)[:32]
        # Of more views than epochs the last ones are never shown, unless images are repeated.
        every = self.recipe.train.sampler == "balanced"
        shown = self.views if every else min(self.views, self.recipe.train.epochs)
        return TargetCache(folder, key, views=shown, rows=rows, classes=classes)


def load_teacher(
    path: Path, data: ImageData, device: torch.device | None = None, *, fold: bool = True
) -> Teacher:
    """Load the last weights in ``path``, a run's folder or one of weights, for use on ``device``,
    by default the CPU: as they are or, with ``fold``, in the form that is fastest there.

    Classes in another order than those of ``data`` are put into that order.

    Raises ``InputError`` where there are none, or they are for other classes or other channels than
    ``data``.
    """
    try:
        model, info = load(path)
    except InputError as error:
        raise InputError(f"teacher {path}: {error}") from None
    digest = weights_digest(model)
    order = same_classes(data.classes, info.classes)
    if order is None:
        raise InputError(
            f"teacher {path} knows the {list_classes(info.classes)}; the data's are others, the "
            f"{list_classes(data.classes)}; give a teacher that was trained on the same classes"
        )
    if info.classes != data.classes:
        order_classes(model, order)
    if len(info.mean) != data.channels:
        raise InputError(
            f"teacher {path} takes images of {len(info.mean)} channels, and the data have "
            f"{data.channels}; give data.channels {len(info.mean)}, or another teacher"
        )
    if info.size != data.size:
        raise InputError(
            f"teacher {path} was trained on {size_text(info.size)} images, and the data's are "
            f"{size_text(data.size)}; give data.size {info.size[0]}, or another teacher"
        )
    config = model.config
    return Teacher(
        name=str(path),
        network=ready_to_answer(model, device or torch.device("cpu")) if fold else model,
        mean=info.mean,
        std=info.std,
        digest=digest,
        about={
            "recipe": info.recipe.get("name", ""),
            "architecture": config["architecture"],
            "width": config.get("width"),
            **head_entry(head_in(config)),
        },
    )
