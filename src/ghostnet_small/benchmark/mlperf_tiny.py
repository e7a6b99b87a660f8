"""A network as MLPerf Tiny judges image classification, beside that benchmark's own network.

Accuracy counts on 200 images of CIFAR-10's test split that the benchmark names by their places.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ghostnet_small.benchmark.deploy_candidates import Candidate, Say, fits_peers
from ghostnet_small.benchmark.deploy_subject import Ours, ours_of
from ghostnet_small.benchmark.emulator import CORES, emulate, missing, version
from ghostnet_small.data.dataset import Split
from ghostnet_small.deploy.c.footprint import flash_of, workspace_bytes
from ghostnet_small.errors import InputError
from ghostnet_small.files import cache_root, read_bytes, temporary_folder
from ghostnet_small.models.heads import head_entry
from ghostnet_small.provenance import provenance_row
from ghostnet_small.train.evaluate import score
from ghostnet_small.use.agreement import CheckFailed
from ghostnet_small.use.classifier import feed
from ghostnet_small.use.export_cache import KeptExports

WHERE = (
    "perf_samples_idxs.npy, which github.com/mlcommons/tiny has in "
    "benchmark/training/image_classification"
)
LARGEST = 1 << 20  # bytes of a file of indices
EVALUATED = 250  # images at once
# MLPerf Tiny's network in 8 bits, run here in tflite-micro on all 10,000 images; its best published
# latency on a Cortex-M4: 165 ms at 120 MHz (results v1.1 to v1.3, closed division).
REFERENCE = {
    "network": "ResNet-8, MLPerf Tiny IC01",
    "top1": 86.97,
    "params": 77_706,
    "macs": 12_500_000,
    "flash_bytes": 98_496,
    "memory_bytes": 55_984,
    "cycles": 19_800_000,
    "source": "mlcommons/tiny, pretrainedResnet_quant.tflite",
}


def read_indices(file: Path) -> list[int]:
    """Return the places of images that ``file`` names: a ``.npy`` of whole numbers, or text.

    Raises ``InputError`` where it cannot be read, or does not name each image once.
    """
    try:
        content = read_bytes(file, LARGEST)
    except OSError as error:
        raise InputError(
            f"--indices {file} cannot be read ({error.strerror}); give {WHERE}"
        ) from None
    try:
        if content.startswith(b"\x93NUMPY"):
            array = np.load(BytesIO(content), allow_pickle=False)
            if array.dtype.kind not in "iu" or array.ndim != 1:
                raise ValueError(f"it holds {array.dtype} of shape {array.shape}")
            found: list[int] = array.tolist()
        else:
            found = [int(word) for word in content.decode().replace(",", " ").split()]
    except (ValueError, EOFError) as error:
        raise InputError(
            f"--indices {file} is no list of whole numbers ({error!s:.100}); give {WHERE}"
        ) from None
    if not found or len(set(found)) < len(found):
        what = "is empty" if not found else "names an image twice"
        raise InputError(f"--indices {file} {what}; give {WHERE}")
    return found


def judge_mlperf_tiny(
    path: Path,
    indices: Path | None,
    *,
    weights: str | None = None,
    overrides: Sequence[str] = (),
    say: Say,
    doing: Callable[[str], None],
) -> dict[str, Any]:
    """Return what MLPerf Tiny asks of the int8 C file of the weights ``path``, or of the C file
    ``path``: top-1 on the images that ``indices`` names, if any, and on all, flash, working memory,
    and instructions of an inference on a Cortex-M4.

    What needs a program that is not installed is None, and ``say`` names it.

    Raises ``InputError`` where the indices, the weights or CIFAR-10 cannot be had; ``CheckFailed``
    where the file cannot be made or the emulated core answers otherwise than this machine.
    """
    rows = None if indices is None else read_indices(indices)
    is_file = path.is_file()
    ours = ours_of(
        path,
        formats=None if is_file else ["c"],
        int8=not is_file,
        weights=weights,
        overrides=overrides,
        threads=1,
        quick=False,
        say=say,
    )
    _check(ours)
    pictures = ours.split("test", overrides, say)
    bad = next((row for row in rows or () if not 0 <= row < len(pictures)), None)
    if bad is not None:
        raise InputError(
            f"--indices {indices} names image {bad}, and the test split has {len(pictures):,}; "
            f"give {WHERE}"
        )
    with temporary_folder() as folder:
        candidate = _c_file(ours, folder / "ours", KeptExports(cache_root(), say), doing)
        return _judged(ours, candidate, pictures, rows, say, doing)


def _check(ours: Ours) -> None:
    if ours.formats[0].name != "c":
        raise InputError(f"--mlperf-tiny takes weights or a C file, and {ours.path} is neither")
    if not fits_peers(ours.description):
        shape = " x ".join(map(str, (ours.description.channels, *ours.description.size)))
        raise InputError(
            f"MLPerf Tiny classifies 3 x 32 x 32 images of CIFAR-10, and {ours.path} takes {shape} "
            f"of {len(ours.description.classes)} classes; give a network of CIFAR-10"
        )


def _c_file(ours: Ours, folder: Path, kept: KeptExports, doing: Callable[[str], None]) -> Candidate:
    candidates = ours.candidates(folder, kept)
    wanted = ours.precisions[-1]
    found = next(one for one in candidates if (one.runtime, one.precision) == ("c", wanted))
    found.prepare(1, doing)
    if found.failed is not None:
        raise CheckFailed(found.failed)
    return found


def _judged(
    ours: Ours,
    candidate: Candidate,
    pictures: Split,
    rows: Sequence[int] | None,
    say: Say,
    doing: Callable[[str], None],
) -> dict[str, Any]:
    assert candidate.run is not None and candidate.file is not None
    description = ours.description
    doing("evaluating on the test split")
    parts = [
        torch.from_numpy(candidate.run(feed(images, description)))
        for images in pictures.images.split(EVALUATED)
    ]
    logits, labels = torch.cat(parts), pictures.labels.cpu()
    every, subset, digest = score(logits, labels), None, None
    if rows is not None:
        chosen = torch.tensor(rows)
        few = score(logits[chosen], labels[chosen])
        subset = {"images": few.total, "correct": few.correct, "top1": few.top1}
        digest = hashlib.sha256(chosen.numpy().astype("<i8").tobytes()).hexdigest()
    cost = candidate.cost
    value: dict[str, Any] = {
        "benchmark": "mlperf_tiny",
        "model": description.architecture,
        "width": description.width,
        **head_entry(description.head),
        "network": ours.title,
        "runtime": candidate.runtime,
        "precision": candidate.precision,
        "params": None if cost is None else cost.params,
        "macs": None if cost is None else cost.macs,
        "subset": subset,
        "all": {"images": every.total, "correct": every.correct, "top1": every.top1},
        "indices_sha256": digest,
        "flash_bytes": None,
        "memory_bytes": workspace_bytes(candidate.file.with_suffix(".h").read_text()),
        "instructions": None,
        "instructions_per_mac": None,
        "programs": [],
        "reference": REFERENCE,
        **provenance_row(),
    }
    core = CORES["cortex-m4"]
    lacking = missing(*core.compilers)
    if lacking:
        say(f"no flash and no instructions: {', '.join(lacking)} is not installed")
        return value
    doing("compiling for a Cortex-M4")
    value["flash_bytes"], _ = flash_of(candidate.file.read_text())
    value["programs"] = [version(core.compilers[0])]
    if missing(core.emulator):
        say(f"no instructions: {core.emulator} is not installed")
        return value
    doing("counting instructions")
    first = 0 if rows is None else rows[0]
    shown = feed(pictures.images[first : first + 1], description)
    with temporary_folder() as folder:
        made = emulate(candidate.file, shown, core, ["-Os"], folder)
    (counted,), (answers,) = made.instructions, made.answers
    here = candidate.run(shown)[0]
    exact = candidate.precision == "int8" and description.input == "normalized"
    if not (np.array_equal(answers, here) if exact else np.allclose(answers, here, atol=1e-4)):
        raise CheckFailed(
            f"the emulated Cortex-M4 answers otherwise than this machine: {answers.tolist()}"
        )
    value["instructions"] = counted
    value["instructions_per_mac"] = None if cost is None else counted / cost.macs
    value["programs"].append(version(core.emulator))
    return value
