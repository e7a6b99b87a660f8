"""A teacher's logits of every view, cached in one memory-mapped file for each view."""

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

    A view's file is the SHA-256 of the rest, then float16 ``(N, K)``: the logits of all images of
    the training split in its order. Rounding to float16 changes a logit z by at most
    ``|z| / 2048``. A view is written atomically, and compared with its digest before its first use,
    so that a truncated or damaged one is made again.
    """

    def __init__(
        self, folder: Path, key: Mapping[str, Any], *, views: int, rows: int, classes: int
    ):
        self.folder, self.key = folder, dict(key)
        self.views, self.shape = views, (rows, classes)
        self._mapped: dict[int, np.memmap] = {}

    @property
    def view_bytes(self) -> int:
        """Return the bytes of a view's file."""
        return DIGEST_BYTES + 2 * self.shape[0] * self.shape[1]

    @property
    def size_bytes(self) -> int:
        """Return the bytes of all views."""
        return self.views * self.view_bytes

    def check(self) -> None:
        """Raise ``InputError`` where the folder holds targets of another key, or other files."""
        path = self.folder / KEY
        if not path.exists():
            near = next(p for p in (self.folder, *self.folder.parents) if p.exists())
            if not (near.is_dir() and os.access(near, os.W_OK)):
                raise InputError(
                    f"targets cannot be stored in {self.folder}: {near} is no folder to write in; "
                    "give another distill.cache"
                )
            # A hidden file may be a partly written key of a killed process.
            if self.folder.is_dir() and any(f.name[0] != "." for f in self.folder.iterdir()):
                raise InputError(
                    f"{self.folder} holds other files than targets ({KEY} is missing); give "
                    "another distill.cache"
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
                f"the targets in {self.folder} differ from those that this training needs: "
                f"{'; '.join(different)}; give another distill.cache, or remove that folder"
            )

    def missing(self) -> list[int]:
        """Return the views that are missing or incomplete."""
        return [view for view in range(self.views) if self._map(view) is None]

    def page(self, view: int) -> Tensor:
        """Return the logits of ``view``, float16 ``(N, K)``, mapped read-only from the file."""
        found = self._map(view)
        if found is None:
            raise OSError(
                f"the targets of view {view} in {self.folder} were removed or damaged while they "
                "were in use; start the command again, and they are made once more"
            )
        return torch.from_numpy(found)

    def write(self, view: int, logits: Tensor) -> None:
        """Store float32 ``(N, K)`` as the targets of ``view``.

        Raises ``InputError`` where a logit is not finite in float16.
        """
        assert tuple(logits.shape) == self.shape
        kept = logits.cpu().half()
        if not kept.isfinite().all():
            raise InputError(
                f"a teacher's logit of {float(logits.abs().max()):.3g} does not fit float16, or is "
                "not a number, as after only a few steps of training; give a teacher that was "
                "trained longer, or distill.targets live"
            )
        data = kept.numpy().tobytes()
        self._mapped.pop(view, None)
        write_atomic(self._path(view), hashlib.sha256(data).digest() + data)

    def note_fill(self, about: Mapping[str, Any]) -> None:
        """Store ``about``, the form of the teacher, beside the views; call it while ``filling``."""
        fills = [*self.fills(), dict(about)]
        write_atomic(self.folder / FILLS, signed_json({"fills": fills}))

    def fills(self) -> list[dict[str, Any]]:
        """Return all that ``note_fill`` stored, in order; nothing where that is lost or damaged."""
        try:
            return list(checked_json(self.folder / FILLS)["fills"])
        except (OSError, ValueError, KeyError, TypeError):
            return []

    @contextmanager
    def filling(self, between: Callable[[], None]) -> Iterator[None]:
        """Let only one process fill the folder; others wait, call ``between``, and find it full."""
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
            # Again: another process may have made it while this one waited.
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
            # "c" is copy-on-write: writing to a tensor over it does not change the file.
            found = np.memmap(path, np.float16, "c", DIGEST_BYTES, self.shape)
        except OSError:
            return None
        if hashlib.sha256(found.data).digest() != digest:
            return None
        self._mapped[view] = found
        return found


def key_digest(key: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a key, independent of the order of its entries."""
    return hashlib.sha256(canonical(key)).hexdigest()


def _differences(kept: Mapping[str, Any], wanted: Mapping[str, Any], where: str = "") -> list[str]:
    """Return differences such as ``augment.flip 'none', here 'random'``."""
    found: list[str] = []
    # As read from a file: a tuple becomes a list.
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
