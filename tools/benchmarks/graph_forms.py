"""The gain of each step of rewriting a network for a runtime: one batch through every form.

A form is what deploy/rewrite.py makes of the network; "as it is" is the folded network as PyTorch
exports it. All are exported, opened as `evaluate` would open them and timed in one process, turn by
turn; a time is the median over all turns. `times as it is` is the median over the turns of a
form's time by that of the runtime's "as it is" in the same turn.

    python tools/benchmarks/graph_forms.py [--runtimes onnx,openvino,executorch,ncnn,torch]
        [--weights FOLDER] [--width 1.0] [--size 32] [--channels 3] [--batch 1] [--threads 1]
        [--turns 21] [--runs 40] [--record results/graph-forms.jsonl]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import openvino
import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner

import ghostnet_small as gns
from ghostnet_small.deploy import executorch_file, executorch_nearest, onnx_file, openvino_file
from ghostnet_small.deploy.deployable import Deployable
from ghostnet_small.deploy.description import Description
from ghostnet_small.deploy.formats import FORMATS, open_file
from ghostnet_small.deploy.rewrite import Style, rewrite
from ghostnet_small.deploy.session import Array, relative_error
from ghostnet_small.models import weights

Run = Callable[[Array], Array]
AS_IT_IS = "as it is"
# Gates are stretched by ExecuTorch's own kernel, and not by XNNPACK.
BY_ITSELF = "as it is, stretched by itself"
SUM = "one operator where one is enough"
FORMS: dict[str, dict[str, Style | None]] = {
    "onnx": {
        AS_IT_IS: None,
        SUM: Style(),
        "and channels in blocks of 16": Style(16),
        "and weights stretched": Style(16, stretch=True),
        "and one filter a gate": Style(16, stretch=True, one_filter=True),
        "stretched, in blocks of 8": Style(8, stretch=True),
    },
    "openvino": {
        AS_IT_IS: None,
        SUM: Style(),
        "and one filter a gate": Style(one_filter=True),
        "and channels in blocks of 16": Style(16, one_filter=True),
    },
    "executorch": {
        AS_IT_IS: None,
        BY_ITSELF: None,
        SUM: Style(),
        "and means of pictures": Style(to_one_pixel=True),
        "and clamps": Style(to_one_pixel=True, clamp=True),
        "and one filter a gate": Style(one_filter=True, to_one_pixel=True, clamp=True),
    },
    "ncnn": {
        AS_IT_IS: None,
        SUM: Style(),
        "and means of pictures": Style(to_one_pixel=True),
        "and clamps": Style(to_one_pixel=True, clamp=True),
        "and channels in blocks of 4": Style(4, to_one_pixel=True, clamp=True),
        "and channels in blocks of 8": Style(8, to_one_pixel=True, clamp=True),
        "and channels in blocks of 16": Style(16, to_one_pixel=True, clamp=True),
        "4, one filter a gate": Style(4, one_filter=True, to_one_pixel=True, clamp=True),
    },
    "torch": {
        AS_IT_IS: None,
        SUM: Style(),
        "and means of pictures": Style(to_one_pixel=True),
        "and one filter a gate": Style(one_filter=True, to_one_pixel=True),
    },
}


def network(asked: argparse.Namespace) -> tuple[torch.nn.Module, Description]:
    """The folded network of ``--weights``, or an untrained one."""
    torch.manual_seed(0)
    if asked.weights is not None:
        model, _ = weights.load(asked.weights)
    else:
        model = gns.create_model(
            "ghostnetv3_small", width=asked.width, in_channels=asked.channels
        ).eval()
    described = Description(
        architecture="ghostnetv3_small",
        width=asked.width,
        classes=tuple(map(str, range(model.num_classes))),
        size=(asked.size, asked.size),
        mean=(0.5,) * asked.channels,
        std=(0.25,) * asked.channels,
        precision="float32",
        input="normalized",
        data={},
    )
    return gns.reparameterize(model), described


def opened(
    runtime: str, name: str, folded: torch.nn.Module, described: Description, threads: int
) -> Run:
    """``folded`` in the form called ``name``, exported and opened again."""
    form = FORMS[runtime][name]
    best = folded if form is None else rewrite(folded, described.size, form)
    exported = Deployable(best, described).eval()
    with tempfile.TemporaryDirectory() as folder:
        path = FORMATS[runtime].file(Path(folder))
        if runtime == "onnx":
            model = onnx_file.onnx_model(exported, described)
            path.write_bytes(onnx_file.content(model, described))
        elif runtime == "openvino":
            openvino_file.save(openvino_file.openvino_model(exported, described), described, path)
        elif name == BY_ITSELF:
            with mock.patch.object(executorch_nearest, "partitioner", XnnpackPartitioner):
                executorch_file.write(exported, described, path)
        else:
            FORMATS[runtime].load().write(exported, described, path)
        return open_file(path, threads)


def with_open_batch(folded: torch.nn.Module, described: Description, threads: int) -> Run:
    """OpenVINO as its first page shows it: compiled once, for batches of any size."""
    model = openvino_file.openvino_model(Deployable(folded, described).eval(), described)
    options = openvino_file.options(threads)
    request = openvino.Core().compile_model(model, "CPU", options).create_infer_request()
    return lambda pictures: request.infer({0: pictures})[0]


def in_turn(runs: dict[str, Run], pictures: Array, turns: int, each: int) -> dict[str, list[float]]:
    """Return the median milliseconds of a run of each in every turn; the first turn warms up."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(turns + 1):
        # Now forwards, now backwards, for none is to run always behind the same other.
        for name in list(runs) if turn % 2 else reversed(list(runs)):
            seconds = []
            for _ in range(each):
                start = time.perf_counter()
                runs[name](pictures)
                seconds.append(time.perf_counter() - start)
            if turn:
                found[name].append(1000 * statistics.median(seconds))
    return found


def main() -> int:
    """Export all, compare, time, print and record."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--weights", type=Path, metavar="FOLDER", help="(untrained)")
    names = ",".join(FORMS)
    parser.add_argument("--runtimes", default=names, metavar="A,B", help=f"({names})")
    parser.add_argument("--width", type=float, default=1.0, help="(1.0)")
    parser.add_argument("--size", type=int, default=32, help="pixels a side (32)")
    parser.add_argument("--channels", type=int, default=3, help="of an image (3)")
    parser.add_argument("--batch", type=int, default=1, help="(1)")
    parser.add_argument("--threads", type=int, default=1, help="(1)")
    parser.add_argument("--turns", type=int, default=21, help="of each form (21)")
    parser.add_argument("--runs", type=int, default=40, help="in a turn (40)")
    parser.add_argument("--record", type=Path, metavar="FILE.jsonl", help="append the rows")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    folded, described = network(asked)
    pictures = torch.randn(asked.batch, asked.channels, asked.size, asked.size)
    with torch.no_grad():
        exact = folded(pictures).numpy()
    runs: dict[str, Run] = {}
    for runtime in asked.runtimes.split(","):
        for name in FORMS[runtime]:
            runs[f"{runtime}: {name}"] = opened(runtime, name, folded, described, asked.threads)
        if runtime == "openvino":
            run = with_open_batch(folded, described, asked.threads)
            runs["openvino: as it is, batch left open"] = run
    x = np.ascontiguousarray(pictures.numpy())
    errors = {name: relative_error(run(x), exact) for name, run in runs.items()}
    found = in_turn(runs, x, asked.turns, asked.runs)
    for name, times in found.items():
        runtime, form_name = name.split(": ")
        ratios = [a / b for a, b in zip(times, found[f"{runtime}: {AS_IT_IS}"], strict=True)]
        row = {
            "runtime": runtime,
            "form": form_name,
            "width": asked.width,
            "size": asked.size,
            "channels": asked.channels,
            "batch": asked.batch,
            "threads": asked.threads,
            "n": asked.turns,
            "median ms": round(statistics.median(times), 4),
            "times as it is": round(statistics.median(ratios), 3),
            "range": f"{min(ratios):.2f} to {max(ratios):.2f}",
            "relative error": float(f"{errors[name]:.1e}"),
        }
        print(json.dumps(row), flush=True)
        if asked.record is not None:
            from ghostnet_small.provenance import provenance_row
            from ghostnet_small.run.records import append_row

            append_row({**row, **provenance_row()}, asked.record)
    return 0


if __name__ == "__main__":
    sys.exit(main())
