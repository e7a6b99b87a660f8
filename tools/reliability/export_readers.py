"""Fuzzed readers of exported files, and the seeds of each.

Not among them: the files of ncnn, OpenVINO and ExecuTorch, which those libraries read.
"""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

import ghostnet_small as gns
from ghostnet_small.deploy import c_file
from ghostnet_small.deploy.c.rewritten import rewritten
from ghostnet_small.deploy.c.source import read_tag
from ghostnet_small.deploy.deployable import Deployable
from ghostnet_small.deploy.description import Description, Input, read_description
from ghostnet_small.deploy.formats import FORMATS
from ghostnet_small.use.classifier import open_classifier
from trees import clear, pack, unpack


def exported(name: str, input: Input, folder: Path) -> Path:
    """The file of a network of three layers, which makes quick seeds."""
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    about = Description("net", 1.0, tuple("abcd"), (8, 8), (0.3,), (0.4,), "float32", input, {})
    path = FORMATS[name].file(folder)
    network = Deployable(layers, about).eval().requires_grad_(False)
    FORMATS[name].load().export(network, about, path)
    return path


def _ask(path: Path) -> None:
    open_classifier(path).logits(torch.zeros(2, 1, 8, 8, dtype=torch.uint8))


def program_seeds(scratch: Path) -> list[bytes]:
    """The records of exported programs, as the parts of a folder."""
    seeds = []
    for input in ("normalized", "pixels"):
        with zipfile.ZipFile(exported("torch", input, scratch)) as archive:
            records = [(info.filename, archive.read(info)) for info in archive.infolist()]
        # The order of the file is kept, for its first record names the folder of all.
        seeds.append(pack([("f", name, content) for name, content in records]))
    return seeds


def read_program(data: bytes, scratch: Path) -> None:
    """Read the parts as an archive with right checksums, which would refuse what was changed."""
    folder, file = scratch / "parts", scratch / "model.pt2"
    clear(folder)
    unpack(data, folder)
    with zipfile.ZipFile(file, "w") as archive:
        for part in sorted(folder.rglob("*")):
            if part.is_file():
                name = str(part.relative_to(folder)).encode(errors="replace").decode()
                archive.writestr(name, part.read_bytes())
    _ask(file)


def onnx_seeds(scratch: Path) -> list[bytes]:
    """ONNX files, with one and the other input."""
    return [exported("onnx", input, scratch).read_bytes() for input in ("normalized", "pixels")]


def read_onnx(data: bytes, scratch: Path) -> None:
    """Read and run a file as a user's."""
    file = scratch / "model.onnx"
    file.write_bytes(data)
    _ask(file)


def c_seeds(scratch: Path) -> list[bytes]:
    """The narrowest network in C, float32 and int8, each with its header."""
    torch.manual_seed(0)
    model = gns.create_model("ghostnetv3_small", width=0.01, num_classes=3, in_channels=1).eval()
    about = Description(
        "ghostnetv3_small", 0.01, tuple("abc"), (8, 8), (0.3,), (0.4,), "float32", "normalized", {}
    )
    network = Deployable(gns.reparameterize(model), about).eval()
    images = np.random.default_rng(0).normal(size=(4, 1, 8, 8)).astype(np.float32)
    path, seeds = scratch / "model.c", []
    c_file.export(network, about, path)
    seeds.append(_c_parts(path))
    c_file.quantize(network, replace(about, precision="int8"), images, path)
    return [*seeds, _c_parts(path)]


def _c_parts(path: Path) -> bytes:
    return pack([("f", file.name, file.read_bytes()) for file in (path, path.with_suffix(".h"))])


def read_c(data: bytes, scratch: Path) -> None:
    """Read C files up to the text that would be compiled."""
    folder = scratch / "c"
    clear(folder)
    unpack(data, folder)
    path = folder / "model.c"
    texts = [
        file.read_bytes().decode(errors="replace") if file.is_file() else ""
        for file in (path, path.with_suffix(".h"))
    ]
    rewritten(path, *texts, read_description(read_tag(texts[0]), str(path)))
