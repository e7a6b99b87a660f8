"""Readers of exported files that are fuzzed, and what each is fed to begin with.

Not among them: a C file, which is a program by intention, and the files of ncnn, OpenVINO and
ExecuTorch.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import torch
from torch import nn

from ghostnet_small.deploy.deployable import Deployable
from ghostnet_small.deploy.description import Description, Input
from ghostnet_small.deploy.formats import FORMATS
from ghostnet_small.study.classifier import open_classifier
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
    """The parts as an archive with right checksums, which would refuse what was changed."""
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
    """As a user's file is read, and run."""
    file = scratch / "model.onnx"
    file.write_bytes(data)
    _ask(file)
