"""C files of networks for tests: made, compiled as asked, and run where they are for."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ghostnet_small.deploy.deployable import Deployable
from ghostnet_small.deploy.description import Description
from ghostnet_small.models.ghostnetv3 import Architecture, Block, GhostNetV3
from ghostnet_small.models.heads import HEAD_FEATURES
from ghostnet_small.models.registry import create_model
from ghostnet_small.nn.fold import reparameterize
from networks import randomize_network

# Every kind of layer once: converters take their time by the operator, whatever its size.
SHALLOW = Architecture(
    blocks=(Block(3, 16, 16, 0, 1), Block(3, 32, 20, 0, 2), Block(3, 40, 20, 0.25, 1)),
    stem=16,
    last=160,
    groups=(1, 1, 1),
)
STRICT = ("-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror")


def deployable(
    name: str = "ghostnetv3_small",
    *,
    width: float = 1.0,
    head: int = HEAD_FEATURES,
    channels: int = 3,
    size: tuple[int, int] = (32, 32),
    pixels: bool = False,
    int8: bool = False,
    shallow: bool = False,
) -> tuple[Deployable, Description]:
    """A folded network whose norms are as a training leaves them, and its description.

    A ``shallow`` one has three blocks, and in them every kind of layer of GhostNetV3-Small.
    """
    torch.manual_seed(0)
    shape: dict[str, Any] = {
        "width": width,
        "head": head,
        "num_classes": 7,
        "in_channels": channels,
    }
    model = GhostNetV3(SHALLOW, **shape) if shallow else create_model(name, **shape)
    randomize_network(model, torch.randn(32, channels, *size))
    description = Description(
        architecture=name,
        width=width,
        classes=tuple(f"class {k}" for k in range(7)),
        size=size,
        mean=(0.4914, 0.4822, 0.4465)[:channels],
        std=(0.2471, 0.2435, 0.2616)[:channels],
        precision="int8" if int8 else "float32",
        input="pixels" if pixels else "normalized",
        data={},
        head=head,
    )
    return Deployable(reparameterize(model), description).eval(), description


def pictures(description: Description, count: int, seed: int = 1) -> np.ndarray:
    """Random pictures as the network takes them."""
    random = np.random.default_rng(seed)
    shape = (count, description.channels, *description.size)
    pixels = random.integers(256, size=shape, dtype=np.uint8)
    if description.input == "pixels":
        return pixels
    mean, std = (np.reshape(v, (-1, 1, 1)) for v in (description.mean, description.std))
    return ((pixels / 255 - mean) / std).astype(np.float32)


def answers(network: Deployable, shown: np.ndarray) -> np.ndarray:
    """What the network itself says in float64."""
    double = network.double()
    with torch.inference_mode():
        made = torch.from_numpy(shown)
        found = double(made if network.pixels else made.double()).numpy()
    network.float()
    return found


def compile_object(source: Path, *flags: str, compiler: str = "cc") -> Path:
    """``source`` compiled to an object file beside it; the compiler's words where it fails."""
    made = source.with_suffix(".o")
    done = subprocess.run(
        [compiler, *STRICT, *flags, "-c", str(source), "-o", str(made)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[:2000]
    return made


def sections(made: Path, size: str = "size") -> dict[str, int]:
    """Bytes of code with constants (``text``), of ``data`` and of ``bss``."""
    lines = subprocess.run([size, str(made)], capture_output=True, text=True, check=True).stdout
    names, values = (line.split()[:3] for line in lines.splitlines()[:2])
    return dict(zip(names, map(int, values), strict=True))
