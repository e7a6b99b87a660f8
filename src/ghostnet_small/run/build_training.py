"""Build a recipe's training: its network, its objective and its teachers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from accelerate import Accelerator
from torch import nn

from ghostnet_small.data.dataset import ImageData
from ghostnet_small.fast import ready_to_answer
from ghostnet_small.recipe.recipe import Recipe
from ghostnet_small.run.recipe_teachers import Teaching
from ghostnet_small.train.engine import Training
from ghostnet_small.train.interfaces import Interrupted, Store, Watcher
from ghostnet_small.train.objective import class_weights, cross_entropy
from ghostnet_small.train.processes import ALONE, Processes


@dataclass(frozen=True)
class Prepared:
    """A checked training, its data, and its teachers if it has any.

    ``beginning`` is what a record says of the trained weights that it started from, if any.
    """

    training: Training
    data: ImageData
    teaching: Teaching | None
    beginning: dict[str, Any] | None = None

    @property
    def teachers(self) -> list[str]:
        """Return the SHA-256 of each teacher's weights."""
        return [] if self.teaching is None else self.teaching.digests

    def fill_targets(self) -> None:
        """Make the teachers' targets that are not stored yet.

        Raises ``Interrupted`` where the stop signal gives a number; targets made by then stay.
        """
        teaching, training = self.teaching, self.training
        if teaching is None:
            return

        def between() -> None:
            number = training.stop_signal()
            if number:
                raise Interrupted(number)

        training.processes.main_first(
            lambda: teaching.fill(training, training.watcher.preparing, between)
        )


def put_together(
    recipe: Recipe,
    data: ImageData,
    model: nn.Module,
    accelerator: Accelerator,
    *,
    store: Store,
    watcher: Watcher,
    stop_signal: Callable[[], int | None],
    processes: Processes = ALONE,
) -> Prepared:
    """Return the training of ``model`` on ``data`` as ``recipe`` says.

    Raises ``InputError`` where the recipe, its teachers or the data do not allow it.
    """
    weights = class_weights(data.train.labels, data.classes, recipe.train.class_weights)
    if weights is not None:
        weights = weights.to(accelerator.device)
    labels = objective = cross_entropy(recipe.train.label_smoothing, weights)
    teaching, companion = None, None
    if recipe.distill.teachers:
        with processes.agreed():
            teaching = Teaching(recipe, data, accelerator.device, processes.count)
            objective, companion = teaching.objective(labels, model)
        processes.check_same(lambda: teaching.digests, "their teachers")
    training = Training(
        model,
        data,
        objective=objective,
        augment=recipe.augment,
        optimizer=recipe.optimizer,
        schedule=recipe.schedule,
        settings=recipe.train,
        accelerator=accelerator,
        store=store,
        watcher=watcher,
        stop_signal=stop_signal,
        processes=processes,
        for_evaluation=ready_to_answer,
        companion=companion,
        ask=None if teaching is None else teaching.ask,
    )
    return Prepared(training, data, teaching)
