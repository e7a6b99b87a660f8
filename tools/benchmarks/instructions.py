"""Count the instructions of one inference of a C file on emulated cores, and its sizes by section.

The counts come from QEMU, which has no caches and no pipeline: they are not times. FILE.c is what
export wrote, or a folder of weights, of which the int8 and the float32 file are written here
(calibrated on random images: the values change no count).

    python tools/benchmarks/instructions.py FILE.c|WEIGHTS ...
        [--cores cortex-m4,cortex-m55,aarch64] [--flags=-O2] [--record results/instructions.jsonl]
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from ghostnet_small.benchmark import emulator
from ghostnet_small.deploy import c_file
from ghostnet_small.deploy.c.source import read_tag
from ghostnet_small.deploy.deployable import Deployable
from ghostnet_small.deploy.description import Description, read_description
from ghostnet_small.files import read_text
from ghostnet_small.models.heads import head_in
from ghostnet_small.models.shipped_weights import find_weights
from ghostnet_small.models.weights import load
from ghostnet_small.nn.fold import reparameterize
from ghostnet_small.provenance import commit_text, source_commit
from ghostnet_small.run.records import append_row
from ghostnet_small.use.describe_model import describe_model

CALIBRATION = 16


def write_files(weights: Path, folder: Path) -> list[Path]:
    """Write the C files of trained weights, int8 first."""
    model, info = load(find_weights(weights))
    config = model.config
    model = reparameterize(model.eval())
    made = []
    for precision in ("int8", "float32"):
        description = Description(
            architecture=config["architecture"],
            width=config["width"],
            classes=info.classes,
            size=info.size,
            mean=info.mean,
            std=info.std,
            precision=precision,
            input="normalized",
            data={},
            head=head_in(config),
        )
        network, path = Deployable(model, description), folder / f"{weights.name}.{precision}.c"
        if precision == "int8":
            c_file.quantize(network, description, images(description, CALIBRATION), path)
        else:
            c_file.export(network, description, path)
        made.append(path)
    return made


def images(description: Description, count: int) -> np.ndarray:
    """Return random images as the network takes them, ``(N, C, H, W)``."""
    shape = (count, description.channels, *description.size)
    pixels = np.random.default_rng(1).integers(256, size=shape, dtype=np.uint8)
    if description.input == "pixels":
        return pixels
    mean, std = (np.reshape(v, (-1, 1, 1)) for v in (description.mean, description.std))
    return ((pixels / 255 - mean) / std).astype(np.float32)


def count(path: Path, name: str, flags: list[str], folder: Path) -> dict[str, Any]:
    """Return the row of a C file on the core ``name``."""
    core = emulator.CORES[name]
    description = read_description(read_tag(read_text(path)), str(path))
    made = emulator.emulate(path, images(description, 1), core, flags, folder)
    used = emulator.sections(folder / "model.o", core)
    workspace = re.search(r"GHOSTNET_WORKSPACE (\d+)", path.with_suffix(".h").read_text())
    assert workspace is not None
    macs = macs_of(description)
    return {
        "network": f"{description.architecture} {description.width:g}",
        "precision": description.precision,
        "core": name,
        "flags": " ".join([*core.flags, *flags]),
        "compiler": emulator.version(core.compilers[0]),
        "macs": macs,
        "instructions": made.instructions[0],
        "instructions_per_mac": made.instructions[0] / macs,
        "tables_bytes": used["tables"] + used["data"],
        "code_bytes": used["code"],
        "workspace_bytes": int(workspace[1]),
        "stack_bytes": made.stack,
        "commit": commit_text(*source_commit()),
    }


def macs_of(description: Description) -> int:
    """Return the multiply-accumulates of an inference."""
    about = describe_model(
        description.architecture,
        width=description.width,
        head=description.head,
        classes=len(description.classes),
        channels=description.channels,
        size=description.size[0],
    )
    return int(about["macs"]["deployed"])


def main() -> None:
    """Count, print and record."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("files", metavar="FILE.c|WEIGHTS", nargs="+", type=Path)
    parser.add_argument("--cores", default="cortex-m4,cortex-m55,aarch64")
    parser.add_argument("--flags", default="-O2")
    parser.add_argument("--record", type=Path, metavar="FILE.jsonl", help="append the rows")
    asked = parser.parse_args()
    cores = asked.cores.split(",")
    for name in cores:
        if name not in emulator.CORES:
            parser.error(f"no core {name!r}; choose of {', '.join(emulator.CORES)}")
        core = emulator.CORES[name]
        missing = emulator.missing(*core.compilers, core.emulator)
        if missing:
            parser.error(f"{name} needs {', '.join(missing)}, which is not installed")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for given in asked.files:
            for path in [given] if given.suffix == ".c" else write_files(given, folder):
                for name in cores:
                    row = count(path, name, asked.flags.split(), folder / path.stem / name)
                    print(
                        f"{row['precision']} {name} {asked.flags}: {row['instructions']:,} "
                        f"instructions, {row['instructions_per_mac']:.2f} a MAC; code "
                        f"{row['code_bytes']:,} B, tables {row['tables_bytes']:,} B",
                        file=sys.stderr,
                    )
                    if asked.record is not None:
                        append_row(row, asked.record)


if __name__ == "__main__":
    main()
