"""A cache of exports: a file, its companions, and the result of its comparison."""

from __future__ import annotations

import hashlib
import platform
import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ghostnet_small.data.decoded.cache import key_of, locked
from ghostnet_small.deploy.description import Description
from ghostnet_small.deploy.session import Array
from ghostnet_small.errors import os_error_text
from ghostnet_small.files import checked_json, new_folder, read_bytes, signed_json, trim_folder
from ghostnet_small.provenance import describe_device
from ghostnet_small.tensorfile import tensors_digest
from ghostnet_small.use.agreement import CheckFailed

FOLDER, FACTS = "exports", "facts.json"
LARGEST = 2 << 30  # bytes
# A comparison with everything keeps some 70 MiB.
MOST_BYTES, MOST_DAYS = 512 << 20, 30.0
SOURCES = (".py", ".c", ".h")


class KeptExports:
    """The exports in ``root``, the folder of all caches; None: each is made again."""

    def __init__(self, root: Path | None, say: Callable[[str], None]) -> None:
        self.root = None if root is None else root / FOLDER
        self.say = say

    def obtain(
        self,
        parts: Sequence[object],
        files: Sequence[Path],
        make: Callable[[], dict[str, Any]],
    ) -> dict[str, Any]:
        """Put ``files`` in their places, from the cache or by ``make``; return its result.

        ``parts`` identify the files, beside the code, the libraries and the machine. Raises what
        ``make`` does, and again a ``CheckFailed`` of an earlier time. A cache that cannot be used
        causes a remark only.
        """
        if self.root is None:
            return make()
        machine = describe_device(torch.device("cpu"))
        key = key_of([code_digest(), environment(), machine, *parts])
        kept = self.root / key
        with ExitStack() as stack:
            # Without a lock, writing says why.
            with suppress(OSError):
                stack.enter_context(locked(self.root, key))
            found = self._take(kept, files)
            if found is None:
                try:
                    found = {"facts": make()}
                except CheckFailed as error:
                    if error.__cause__ is not None:  # a library's, which may not occur again
                        raise
                    # Nothing has changed by the next time, and a calibration takes long.
                    found = {"failed": str(error)}
                self._keep(kept, [] if "failed" in found else files, found)
        if "failed" in found:
            raise CheckFailed(found["failed"])
        return dict(found["facts"])

    def _take(self, kept: Path, files: Sequence[Path]) -> dict[str, Any] | None:
        try:
            values = checked_json(kept / FACTS)
            wanted = [] if "failed" in values["found"] else files
            contents = [read_bytes(kept / file.name, LARGEST) for file in wanted]
            if values["sha256"] != [hashlib.sha256(content).hexdigest() for content in contents]:
                raise ValueError("a file is not the one that was kept")
        except OSError:  # there is none, or writing says why
            return None
        except (ValueError, KeyError) as error:
            self.say(f"the kept export {kept} is damaged and made anew ({error})")
            return None
        for file, content in zip(wanted, contents, strict=True):
            file.write_bytes(content)
        with suppress(OSError):
            kept.touch()  # the last use counts
        found: dict[str, Any] = values["found"]
        return found

    def _keep(self, kept: Path, files: Sequence[Path], found: dict[str, Any]) -> None:
        assert self.root is not None
        try:
            shutil.rmtree(kept, ignore_errors=True)
            with new_folder(kept) as partial:
                digests = []
                for file in files:
                    content = file.read_bytes()
                    (partial / file.name).write_bytes(content)
                    digests.append(hashlib.sha256(content).hexdigest())
                (partial / FACTS).write_text(signed_json({"found": found, "sha256": digests}))
            trim_folder(self.root, MOST_BYTES, MOST_DAYS)
        except OSError as error:
            self.say(
                f"the cache {self.root} cannot be used ({os_error_text(error)}); exports are made "
                "again at each start: name another folder in GHOSTNET_CACHE"
            )
            self.root = None


def network_digest(network: nn.Module, description: Description) -> str:
    """SHA-256 of all that a file of ``network`` is made of."""
    tensors = {name: value.contiguous() for name, value in network.state_dict().items()}
    return tensors_digest(tensors, {"description": description.as_json()})


def array_digest(array: Array | None) -> str | None:
    """SHA-256 of an array's type, shape and values; None of None."""
    if array is None:
        return None
    sha = hashlib.sha256(f"{array.dtype} {array.shape}\n".encode())
    sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()


@cache
def code_digest() -> str:
    """SHA-256 of this package's source."""
    package = Path(__file__).resolve().parent.parent
    sha = hashlib.sha256()
    for file in sorted(file for file in package.rglob("*") if file.suffix in SOURCES):
        sha.update(f"{file.relative_to(package)}\0".encode() + file.read_bytes())
    return sha.hexdigest()


@cache
def environment() -> list[str]:
    """Python and every installed distribution: exporters call one another."""
    found = sorted({f"{one.name} {one.version}" for one in distributions()})
    return [platform.python_version(), str(torch.__version__), *found]
