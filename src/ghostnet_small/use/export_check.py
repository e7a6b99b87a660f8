"""Compare an exported file with its network, computed in float64."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ghostnet_small.data.dataset import ImageData
from ghostnet_small.deploy.deployable import Deployable
from ghostnet_small.deploy.description import Description
from ghostnet_small.deploy.session import Array, Session, relative_error
from ghostnet_small.models.weights import ModelInfo
from ghostnet_small.train.evaluate import score
from ghostnet_small.use.agreement import CheckFailed, Shown, allowance, first_split, shown
from ghostnet_small.use.classifier import check_finite, feed, run

# The allowed error of a float32 file, relative to the largest answer.
BOUND = 1e-4
# An int8 file names the same class as the network for so many percent of the images. This finds
# broken files: even hardly trained networks kept 96.
AGREEMENT = 80.0
BATCH = 250


class Reference:
    """The network that a file of ``description`` must match, and images to compare both on."""

    def __init__(
        self,
        network: Deployable,
        description: Description,
        data: ImageData | None,
        info: ModelInfo,
        path: Path,
    ) -> None:
        self.network, self.description, self.data = network, description, data
        self.pictures: Shown = shown(data, info)
        double = copy.deepcopy(network).double()
        self.exact = self._answers(double, self.pictures.images)
        check_finite(torch.from_numpy(self.exact), path)
        plain = self._answers(network, self.pictures.images)
        self.bound = allowance(BOUND, relative_error(plain, self.exact))
        self._before: float | None = None

    def compare(self, session: Session, precision: str, *, judge: bool = True) -> dict[str, Any]:
        """Return the ``relative_error`` of the file behind ``session``, and its ``agreement``, the
        percentage of the images for which it names the network's class; for an int8 file also,
        unless ``judge`` is off, the ``top1`` of the network and its own on a whole split.

        Raises ``CheckFailed`` if its answers differ too much from the network's.
        """
        images, source = self.pictures.images, self.pictures.source
        # A single image first, because a file must take any number of them.
        found = np.concatenate(
            [
                run(session, part, self.description)
                for part in (images[:1], *images[1:].split(BATCH))
            ]
        )
        if found.shape != self.exact.shape:
            raise CheckFailed(
                f"answers in shape {found.shape}, where the network's is {self.exact.shape}"
            )
        error = relative_error(found, self.exact)
        agreement = 100 * float((found.argmax(1) == self.exact.argmax(1)).mean())
        compared = {"relative_error": error, "agreement": agreement, "bound": None, "top1": None}
        if precision == "float32":
            if not error <= self.bound:
                raise CheckFailed(
                    f"differs from the network by {error:.1e} on {source}, more than "
                    f"{self.bound:.1e}"
                )
            return {**compared, "bound": self.bound}
        if not (np.isfinite(found).all() and agreement >= AGREEMENT):
            raise CheckFailed(
                f"names the network's class for {agreement:.1f} % of {len(images)} images of "
                f"{source}, fewer than {AGREEMENT:g} %; train longer, or give a larger "
                "--calibration"
            )
        return {**compared, "top1": self._top1(session) if judge else None}

    def _top1(self, session: Session) -> dict[str, Any]:
        assert self.data is not None
        # The test split is not for choosing between precisions.
        name = first_split(self.data, ("validation", "test", "train"))
        split = self.data.split(name)
        parts, labels = split.images.split(BATCH), split.labels
        if self._before is None:
            answers = np.concatenate([self._answers(self.network, part) for part in parts])
            self._before = score(torch.from_numpy(answers), labels).top1
        answers = np.concatenate([run(session, part, self.description) for part in parts])
        after = score(torch.from_numpy(answers), labels).top1
        return {"before": self._before, "after": after, "split": name, "pictures": len(split)}

    def _answers(self, network: Deployable, images: Tensor) -> Array:
        """Return ``(N, K)`` in the type that ``network`` computes in."""
        assert isinstance(network.scale, Tensor)
        kind, parts = network.scale.dtype, []
        with torch.inference_mode():
            for part in images.split(BATCH):
                pictures = torch.from_numpy(feed(part, self.description))
                parts.append(network(pictures if network.pixels else pictures.to(kind)))
        answers: Array = torch.cat(parts).numpy()
        return answers
