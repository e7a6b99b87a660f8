"""The network that a description describes, with placeholder weights."""

from __future__ import annotations

from functools import partial

import torch

from ghostnet_small.deploy.deployable import Deployable
from ghostnet_small.deploy.description import Description
from ghostnet_small.models.ghostnetv3 import ARCHITECTURES
from ghostnet_small.models.heads import head_text
from ghostnet_small.models.registry import create_ghostnet
from ghostnet_small.nn.fold import reparameterize

# The training form, which is built first, holds at most this many times the numbers of a file.
FORMS_RATIO = 4


def blank_network(description: Description, most: float) -> Deployable:
    """Return the described network, folded, for a file that holds at most ``most`` numbers.

    Raises ``ValueError`` for another architecture, or a network of more numbers.
    """
    if description.architecture not in ARCHITECTURES:
        raise ValueError(f"architecture {description.architecture!r:.40}")
    build = partial(
        create_ghostnet,
        description.architecture,
        width=description.width,
        head=description.head,
        num_classes=len(description.classes),
        in_channels=description.channels,
    )
    # On the meta device a network takes no memory, however large the description says it is.
    with torch.device("meta"):
        count = sum(tensor.numel() for tensor in build().state_dict().values())
    if count > FORMS_RATIO * most:
        shape = f"width {description.width:g}{head_text(description.head)}"
        raise ValueError(f"it is too short for {shape}")
    with torch.random.fork_rng(devices=[]):
        network = reparameterize(build().float().eval())
    return Deployable(network, description)
