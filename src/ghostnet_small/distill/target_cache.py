"""What a teacher says of every view, kept in files: one for each view, mapped when it is read."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ghostnet_small.errors import InputError
from ghostnet_small.files import (
    canonical,
    check_no_link,
    checked_json,
    lock_folder,
    private_folder,
    signed_json,
    write_atomic,
)

KEY, FILLS = "key.json", "fills.json"
DIGEST_BYTES = 32
LOOK_SECONDS = 0.2


class TargetCache:
    """A folder of one teacher's logits: ``key.json``, and a file for each view.

    A view's file is the SHA-256 of what follows, then float16 ``(N, K)``: the logits of all
    images of the training split in its order. Rounding to float16 moves a logit z by at most
    ``|z| / 2048``. Every view is replaced whole, and compared with its digest before its first use,
    so that a cut or damaged one is made again.
    """

    def __init__(
        self, folder: Path, key: Mapping[str, Any], *, views: int, rows: int, classes: int
    ):
        self.folder, self.key = folder, dict(key)
        self.views, self.shape = views, (rows, classes)
        self._mapped: dict[int, np.memmap] = {}

    @property
    def view_bytes(self) -> int:
        """Bytes of a view's file."""
        return DIGEST_BYTES + 2 * self.shape[0] * self.shape[1]

    @property
    def size_bytes(self) -> int:
        """Bytes of all views."""
        return self.views * self.view_bytes

    def check(self) -> None:
        """Raises ``InputError`` where the folder holds targets of another key, or none of ours."""
        path = self.folder / KEY
        if not path.exists():
            near = next(p for p in (self.folder, *self.folder.parents) if p.exists())
            if not (near.is_dir() and os.access(near, os.W_OK)):
                raise InputError(
                    f"targets cannot be kept in {self.folder}: {near} is no folder to write in; "
                    "give another distill.cache"
                )
            # A hidden file may be what a killed process left of the key.
            if self.folder.is_dir() and any(f.name[0] != "." for f in self.folder.iterdir()):
                raise InputError(
                    f"{self.folder} holds files and no targets ({KEY} is missing); give another "
                    "distill.cache"
                )
            return
        try:
            kept = checked_json(path)
        except ValueError as error:
            raise InputError(
                f"{path} is damaged ({str(error).splitlines()[0]}); remove {self.folder}, and the "
                "targets are made again"
            ) from None
        different = _differences(kept, self.key)
        if different:
            raise InputError(
                f"the targets in {self.folder} are others than this training needs: "
                f"{'; '.join(different)}; give another distill.cache, or remove that folder"
            )

    def missing(self) -> list[int]:
        """The views that are not there, or not whole."""
        return [view for view in range(self.views) if self._map(view) is None]

    def page(self, view: int) -> Tensor:
        """The logits of ``view``, float16 ``(N, K)``, mapped from the file; not to be changed."""
        found = self._map(view)
        if found is None:
            raise OSError(
                f"the targets of view {view} in {self.folder} were removed or damaged while they "
                "were in use; start the command again, and they are made once more"
            )
        return torch.from_numpy(found)

    def write(self, view: int, logits: Tensor) -> None:
        """Keep float32 ``(N, K)`` as the targets of ``view``.

        Raises ``InputError`` where a logit is not finite in float16.
        """
        assert tuple(logits.shape) == self.shape
        kept = logits.cpu().half()
        if not kept.isfinite().all():
            raise InputError(
                f"a teacher's logit of {float(logits.abs().max()):.3g} does not fit float16, or is "
                "no number, as after a few steps of training only; give a teacher that was trained "
                "longer, or distill.targets live"
            )
        data = kept.numpy().tobytes()
        self._mapped.pop(view, None)
        write_atomic(self._path(view), hashlib.sha256(data).digest() + data)

    def note_fill(self, about: Mapping[str, Any]) -> None:
        """Keep ``about``, what answers from now on, beside the views; for who is ``filling``."""
        fills = [*self.fills(), dict(about)]
        write_atomic(self.folder / FILLS, signed_json({"fills": fills}))

    def fills(self) -> list[dict[str, Any]]:
        """All that ``note_fill`` kept, in its order; none where that is gone or damaged."""
        try:
            return list(checked_json(self.folder / FILLS)["fills"])
        except (OSError, ValueError, KeyError, TypeError):
            return []

    @contextmanager
    def filling(self, between: Callable[[], None]) -> Iterator[None]:
        """Only one process fills the folder; others wait, calling ``between``, and find it full."""
        check_no_link(self.folder)
        private_folder(self.folder)
        while True:
            try:
                handle = lock_folder(self.folder)
                break
            except BlockingIOError:
                between()
                time.sleep(LOOK_SECONDS)
        try:
            # Once more: it may have been another's while this process waited.
            self.check()
            if not (self.folder / KEY).exists():
                write_atomic(self.folder / KEY, signed_json(self.key))
            yield
        finally:
            os.close(handle)

    def _path(self, view: int) -> Path:
        return self.folder / f"view-{view:05d}.f16"

    def _map(self, view: int) -> np.memmap | None:
        if view in self._mapped:
            return self._mapped[view]
        path = self._path(view)
        try:
            if path.stat().st_size != self.view_bytes:
                return None
            with path.open("rb") as file:
                digest = file.read(DIGEST_BYTES)
            # "c": a tensor over it may be written to, and then the file stays as it is.
            found = np.memmap(path, np.float16, "c", DIGEST_BYTES, self.shape)
        except OSError:
            return None
        if hashlib.sha256(found.data).digest() != digest:
            return None
        self._mapped[view] = found
        return found


def key_digest(key: Mapping[str, Any]) -> str:
    """SHA-256 of a key, whatever the order of its entries."""
    return hashlib.sha256(canonical(key)).hexdigest()


def _differences(kept: Mapping[str, Any], wanted: Mapping[str, Any], where: str = "") -> list[str]:
    """``augment.flip 'none', here 'random'`` and so on."""
    found: list[str] = []
    # As they are once written: a tuple is read as a list.
    wanted = json.loads(canonical(wanted))
    for name in dict.fromkeys((*kept, *wanted)):
        was, now = kept.get(name), wanted.get(name)
        if isinstance(was, dict) and isinstance(now, dict):
            found += _differences(was, now, f"{where}{name}.")
        elif was != now:
            found.append(f"{where}{name} {_short(was)}, here {_short(now)}")
    return found


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:13]}...{text[-3:]}"
