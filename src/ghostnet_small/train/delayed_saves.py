"""Weights and rows of finished epochs: written at once, or held until the next state is."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from ghostnet_small.train.ema import places
from ghostnet_small.train.interfaces import Store


class Shelf:
    """Weights and rows on their way to ``store``.

    On a GPU an epoch may take less time than writing its files. With ``seconds`` above 0, weights
    are kept as copies on the device, and later ones replace earlier ones, until ``write``. Call
    ``write`` before each save of a state: then every epoch that a state contains has its weights
    and row on the disk, and a resumed training makes newer ones again. With 0 ``seconds`` all is
    written at once.
    """

    def __init__(self, store: Store, *, seconds: float) -> None:
        self.store, self.seconds = store, seconds
        self.copies: dict[str, nn.Module] = {}
        self.waiting: set[str] = set()
        self.rows: list[dict[str, Any]] | None = None

    def put_weights(self, name: str, model: nn.Module) -> None:
        """Replace the weights called ``name`` by those that ``model`` has now."""
        if not self.seconds:
            self.store.save_weights(name, model)
            return
        if name in self.copies:
            _copy(model, self.copies[name])
        else:
            self.copies[name] = copy.deepcopy(model)
        self.waiting.add(name)

    def put_rows(self, rows: list[dict[str, Any]]) -> None:
        """Replace the rows of finished epochs."""
        self.rows = rows
        if not self.seconds:
            self.write()

    def write(self) -> None:
        """Write all that is held to the store."""
        for name in ("best", "last"):
            if name in self.waiting:
                self.store.save_weights(name, self.copies[name])
        self.waiting.clear()
        if self.rows is not None:
            self.store.save_metrics(self.rows)
            self.rows = None


@torch.no_grad()
def _copy(model: nn.Module, into: nn.Module) -> None:
    lists: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
    for (of_ours, name), (of_theirs, _) in zip(places(into), places(model), strict=True):
        # Grouped by type, because a GPU copies a mixed list tensor by tensor.
        ours, theirs = lists.setdefault(of_ours[name].dtype, ([], []))
        ours.append(of_ours[name])
        theirs.append(of_theirs[name])
    for ours, theirs in lists.values():
        torch._foreach_copy_(ours, theirs)
