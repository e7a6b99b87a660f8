"""Profile exported files in ONNX Runtime or OpenVINO, operator by operator.

    python tools/benchmarks/operators.py RUN/export/model.onnx RUN/export/model.int8.onnx

Of each file: how many operators an image passes, and by kind their number and time. The profilers
take time at every operator themselves, and OpenVINO's counts whole microseconds, so the sums are no
latencies; they compare.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import onnxruntime

from ghostnet_small.deploy.formats import format_of, open_file

RUNS, WARM_UP, SHOWN = 300, 30, 12


Profile = tuple[Counter[str], Counter[str]]


def profile_openvino(file: Path) -> Profile:
    """Return the profile of OpenVINO's file, as ``profile_onnx`` does."""
    import openvino

    from ghostnet_small.deploy.openvino_file import options

    description = open_file(file).description
    core = openvino.Core()
    model = core.read_model(file)
    shape = (1, description.channels, *description.size)
    model.reshape(shape)
    request = core.compile_model(
        model, "CPU", {**options(1), "PERF_COUNT": True}
    ).create_infer_request()
    kind = np.uint8 if description.input == "pixels" else np.float32
    number, taken = Counter[str](), Counter[str]()
    for run in range(WARM_UP + RUNS):
        request.infer({0: np.zeros(shape, kind)})
        for part in request.profiling_info if run >= WARM_UP else ():
            if part.status == openvino.ProfilingInfo.Status.EXECUTED:
                number[part.node_type] += 1
                taken[part.node_type] += round(part.real_time.total_seconds() * 1e6)
    return number, taken


def profile_onnx(file: Path, folder: Path) -> Profile:
    """Total number and microseconds of each kind of operator in all runs, on one thread."""
    description = open_file(file).description
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / "profile")
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    kind = np.uint8 if description.input == "pixels" else np.float32
    picture = np.zeros((1, description.channels, *description.size), kind)
    (entry,) = session.get_inputs()
    for _ in range(WARM_UP + RUNS):
        session.run(None, {entry.name: picture})
    events = json.loads(Path(session.end_profiling()).read_text())
    kernels = [e for e in events if e["name"].endswith("_kernel_time")]
    kernels = kernels[len(kernels) * WARM_UP // (WARM_UP + RUNS) :]
    number, taken = Counter[str](), Counter[str]()
    for event in kernels:
        number[event["args"]["op_name"]] += 1
        taken[event["args"]["op_name"]] += event["dur"]
    return number, taken


def main() -> None:
    """Print the profile of every file."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("files", metavar="FILE", nargs="+", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for file in args.files:
            form = format_of(file)
            if form is None or form.name not in ("onnx", "openvino"):
                parser.error(f"{file} is neither .onnx nor .xml")
            openvino = form.name == "openvino"
            number, taken = profile_openvino(file) if openvino else profile_onnx(file, Path(folder))
            print(f"{file}: {sum(number.values()) / RUNS:.0f} operators")
            for kind, time in taken.most_common(SHOWN):
                print(f"  {kind:20} {number[kind] / RUNS:5.0f} {time / RUNS:8.1f} us")


if __name__ == "__main__":
    main()
