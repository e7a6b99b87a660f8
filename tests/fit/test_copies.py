"""Images held out that are nearly trained on too."""

from __future__ import annotations

import torch

from ghostnet_small.data.dataset import Split
from ghostnet_small.fit.copies import near_copies


def split(images: torch.Tensor) -> Split:
    rows = torch.arange(len(images))
    return Split(images, rows % 2, rows)


def test_copies_are_counted_also_where_saving_changed_their_pixels_a_little() -> None:
    generator = torch.Generator().manual_seed(0)
    training = torch.randint(40, 200, (50, 3, 16, 16), generator=generator, dtype=torch.uint8)
    held = torch.randint(40, 200, (9, 3, 16, 16), generator=generator, dtype=torch.uint8)
    assert near_copies(split(training), split(held)) == 0
    held[2] = training[31]
    held[5] = training[7] + 2
    held[6] = training[7] + 9  # another exposure is another image
    assert near_copies(split(training), split(held)) == 2
