"""Int8 files that keep the top-1: as few parts as that takes stay in float32."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from ghostnet_small.deploy.deployable import Deployable
from ghostnet_small.deploy.description import Description
from ghostnet_small.deploy.formats import FORMATS, Format, open_file
from ghostnet_small.deploy.sensitivity import Relief, measure_relief
from ghostnet_small.deploy.session import Array
from ghostnet_small.option_values import HEAD_BITS
from ghostnet_small.use.export_check import Reference

# Points of top-1 that an int8 file may lose before parts of it are kept in float32.
ALLOWED = 0.3
# Most images that the parts are compared on, and at most half of the calibration's.
COMPARED = 256

Say = Callable[[str], None]


@dataclass
class Quantizer:
    """Writes a network's int8 files, calibrated on ``samples`` as its sessions take them.

    Without ``judge`` the top-1 is measured only where it decides what stays in float32. A C file
    keeps the weights of its head in ``head_bits``.
    """

    network: Deployable
    description: Description
    samples: Array
    reference: Reference
    threads: int
    say: Say
    judge: bool = True
    head_bits: int = HEAD_BITS[0]
    _reliefs: tuple[float, list[Relief]] | None = field(default=None, init=False)

    def write(self, form: Format, path: Path) -> dict[str, Any]:
        """Write ``path`` and return how it compares: the result of ``Reference.compare``,
        ``kept_in_float`` and, if parts were searched for, the ``reliefs`` of all.

        First everything has 8 bits. While the file loses more than 0.3 points on the split that
        it is compared on, twice as many parts as before are kept in float32, the most helpful
        first; if no number of them suffices, the file that lost least is written again.

        Raises ``CheckFailed`` if the answers do not agree with the network's at all.
        """
        found = self._attempt(form, path, [])
        if form.mixed and _lost(found) > ALLOWED:
            error, reliefs = self._relief()
            order = [relief.part for relief in reliefs]
            self.say(
                f"{path.name} loses {_lost(found):.2f} points; keeping parts in float32, "
                f"{order[0]} first"
            )
            best, count = found, 1
            while _lost(found) > ALLOWED and count < len(order):
                found = self._attempt(form, path, order[:count])
                best = min(best, found, key=_lost)
                count *= 2
            if found is not best:
                found = self._attempt(form, path, best["kept_in_float"])
            found["error_everywhere"] = error
            found["reliefs"] = {relief.part: relief.error for relief in reliefs}
        return found

    def _attempt(self, form: Format, path: Path, keep_float: list[str]) -> dict[str, Any]:
        kept = [keep_float] if keep_float else []
        bits = self.head_bits if form is FORMATS.get("c") else HEAD_BITS[0]
        description = replace(self.description, head_bits=bits)
        form.load_int8().quantize(self.network, description, self.samples, path, *kept)
        session = open_file(path, self.threads)
        judge = {} if self.judge or form.mixed else {"judge": False}
        compared = self.reference.compare(session, "int8", **judge)
        return {**compared, "kept_in_float": keep_float}

    def _relief(self) -> tuple[float, list[Relief]]:
        """Return error and reliefs, measured once for all formats; half the samples give ranges."""
        if self._reliefs is None:
            shown = torch.from_numpy(self.samples)
            if self.network.pixels:
                shown = shown.float() * self.network.scale + self.network.shift
            half = max(1, len(shown) // 2)
            pictures = shown[-min(half, COMPARED) :]
            self._reliefs = measure_relief(self.network.network, shown[:half], pictures)
        return self._reliefs


def _lost(compared: dict[str, Any]) -> float:
    top1 = compared["top1"]
    return float(top1["before"] - top1["after"])
