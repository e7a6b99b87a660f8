"""Stratified choice of rows, as pure functions of (labels, share, seed)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ghostnet_small.errors import InputError


def apportion(count: int, sizes: list[int], *, least: int, spare: int) -> list[int]:
    """Return the number of rows from each class, ``count`` in all, in proportion to ``sizes``.

    Largest remainders decide the odd rows; among equal remainders the lower class goes first.
    Each class gives at least ``least`` and keeps at least ``spare`` rows. The caller makes sure
    that such an answer exists.
    """
    total = sum(sizes)
    most = [size - spare for size in sizes]
    given = [
        min(max(count * size // total, least), top) for size, top in zip(sizes, most, strict=True)
    ]
    # How far a class is above its exact share, in units of 1 / total: the bounds above may have
    # moved it by several rows, so rows are handed out or taken back one at a time.
    while (missing := count - sum(given)) != 0:
        step = 1 if missing > 0 else -1
        free = [
            k for k in range(len(sizes)) if (given[k] < most[k] if step > 0 else given[k] > least)
        ]
        assert free, "the caller has checked that the bounds leave room"
        given[min(free, key=lambda k: (step * (given[k] * total - count * sizes[k]), k))] += step
    return given


def stratified_rows(labels: Tensor, count: int, *, seed: int, least: int, spare: int) -> Tensor:
    """Rows of a stratified choice of ``count`` images, ascending.

    Shapes: ``labels`` int64 ``(N,)`` in which each class ``0 .. K - 1`` occurs; the answer is
    int64 ``(count,)``. ``least`` and ``spare`` bound a class as in ``apportion``.
    """
    values = labels.numpy()
    sizes = np.bincount(values).tolist()
    given = apportion(count, sizes, least=least, spare=spare)
    # RandomState and not default_rng: its stream is frozen (NumPy's NEP 19), so the same seed
    # cuts the same rows under every version of NumPy.
    random = np.random.RandomState(seed)
    chosen = [
        random.permutation(np.flatnonzero(values == label))[:number]
        for label, number in enumerate(given)
    ]
    return torch.from_numpy(np.sort(np.concatenate(chosen)).astype(np.int64))


def limited_rows(labels: Tensor, limit: int, *, seed: int) -> Tensor:
    """Rows of a stratified part of ``limit`` images, at least one of each class.

    Raises ``InputError`` where the limit is larger than the set or smaller than its number of
    classes.
    """
    classes = int(labels.max()) + 1
    if not classes <= limit <= len(labels):
        raise InputError(
            f"data.limit {limit} does not fit: the training split has {len(labels)} images of "
            f"{classes} classes; choose {classes} to {len(labels)}"
        )
    return stratified_rows(labels, limit, seed=seed, least=1, spare=0)


def hold_out_fold(labels: Tensor, parts: int, fold: int, *, seed: int) -> tuple[Tensor, Tensor]:
    """Rows kept for training and rows held out: the ``fold`` of ``parts``, stratified, which share
    no image and together hold all.

    Raises ``InputError`` where a class could not keep one training image.
    """
    random = np.random.RandomState(seed)  # see ``stratified_rows``
    order = torch.from_numpy(random.permutation(len(labels)))
    by_class = order[torch.argsort(labels[order], stable=True)]
    held = by_class[fold::parts].sort().values
    keep = torch.ones(len(labels), dtype=torch.bool)
    keep[held] = False
    missing = set(labels.unique().tolist()) - set(labels[keep].unique().tolist())
    if missing:
        raise InputError(
            f"data.fold {fold} of {parts} holds out all images of {len(missing)} class(es), but "
            "each must keep one; use more images, or fewer parts"
        )
    return keep.nonzero().flatten(), held


def hold_out(labels: Tensor, share: float, *, seed: int) -> tuple[Tensor, Tensor]:
    """Rows kept for training and rows held out: ``round(share * N)``, stratified.

    Raises ``InputError`` where nothing would be held out, or where a class could not keep one
    training image.
    """
    total, classes = len(labels), int(labels.max()) + 1
    count = round(share * total)
    if count == 0:
        # One can be held out only where each class keeps one.
        more = f"give {1 / total:.2g} or more, or" if total > classes else "give"
        raise InputError(
            f"data.validation {share} of {total} training images is none; {more} 0 to train "
            "without a validation split"
        )
    if count > total - classes:
        raise InputError(
            f"data.validation {share} holds out {count} of {total} training images, but each of "
            f"the {classes} classes must keep one; lower it, or use more images"
        )
    held = stratified_rows(labels, count, seed=seed, least=0, spare=1)
    keep = torch.ones(total, dtype=torch.bool)
    keep[held] = False
    return keep.nonzero().flatten(), held
