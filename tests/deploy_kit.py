"""Networks to export, and what their files must answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import ghostnet_small as gns
from ghostnet_small.deploy.deployable import Deployable
from ghostnet_small.deploy.description import Description, Input
from ghostnet_small.deploy.formats import FORMATS
from ghostnet_small.deploy.session import Session, relative_error
from ghostnet_small.models.ghostnetv3 import Architecture, Block, GhostNetV3
from networks import randomize_network

BOUND = 1e-4
# Every kind of layer once, in maps as of the whole network: converters take their time by the
# operator, whatever its size.
SHALLOW = Architecture(
    blocks=(
        Block(3, 16, 16, 0, 1),
        Block(3, 32, 20, 0, 2),
        Block(3, 40, 20, 0.25, 1),
        Block(3, 80, 48, 0, 2),
        Block(3, 96, 48, 0, 1),
    ),
    stem=16,
    last=160,
    groups=(1, 1, 1, 1, 1),
)


@dataclass(frozen=True)
class Sample:
    """A folded network as training could have left it; ``answers`` are those of PyTorch."""

    network: Deployable
    description: Description
    pictures: NDArray[Any]
    answers: NDArray[Any] = field(repr=False)


@torch.no_grad()
def sample(
    *,
    width: float = 1.0,
    channels: int = 3,
    size: int = 32,
    classes: int = 10,
    takes: Input = "normalized",
    pictures: int = 7,
    shallow: bool = False,
) -> Sample:
    # Among the first five seeds, that whose answers depend most on the image.
    torch.manual_seed(int(10 * width) + 4)
    shape: dict[str, Any] = {"width": width, "num_classes": classes, "in_channels": channels}
    if shallow:
        model: nn.Module = GhostNetV3(SHALLOW, **shape)
    else:
        model = gns.create_model("ghostnetv3_small", **shape)
    randomize_network(model, torch.randn(4, channels, size, size))
    description = Description(
        architecture="ghostnetv3_small",
        width=width,
        classes=tuple(f"class {number}, \N{SNOWMAN}" for number in range(classes)),
        size=(size, size),
        mean=(0.5, 0.4, 0.3)[:channels],
        std=(0.25, 0.2, 0.3)[:channels],
        precision="float32",
        input=takes,
        data={"name": "cifar10"},
    )
    network = Deployable(gns.reparameterize(model), description).eval()
    # Patches, for pictures of noise are all alike to the network.
    patches = torch.rand(pictures, channels, size // 4, size // 4)
    pixels = (255 * patches.repeat_interleave(4, 2).repeat_interleave(4, 3)).to(torch.uint8)
    x = pixels if takes == "pixels" else (pixels / 255 - 0.5) / 0.25
    return Sample(network, description, x.numpy(), network(x).numpy())


CASES: dict[str, dict[str, Any]] = {
    "width 1.0": {},
    "width 2.8, pixels": {"width": 2.8, "takes": "pixels"},
    "grey 28x28": {"channels": 1, "size": 28, "classes": 7},
}


def export(form: str, case: dict[str, Any], folder: Path) -> tuple[Sample, Path]:
    made, path = sample(**case), FORMATS[form].file(folder)
    FORMATS[form].load().export(made.network, made.description, path)
    return made, path


def check_answers(session: Session, made: Sample) -> None:
    """Descriptions are the same and answers agree, for batches of one, three and all."""
    assert session.description == made.description
    for number in (1, 3, len(made.pictures)):
        found = session(made.pictures[:number])
        assert found.dtype == np.float32
        assert found.shape == (number, len(made.description.classes))
        assert relative_error(found, made.answers[:number]) < BOUND
    # The comparison would say little about answers that hardly depend on the picture.
    assert made.answers.std(0).max() > 0.05 * np.abs(made.answers).max()


def flipped(data: bytes, place: int) -> bytes:
    """``data`` with one bit changed."""
    return data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :]
