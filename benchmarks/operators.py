"""Where ONNX Runtime's time goes, operator by operator, in exported files.

    python benchmarks/operators.py runs/NAME/export/model.onnx runs/NAME/export/model.int8.onnx

Of each file: how many operators a picture passes, and by kind their number and time. ONNX Runtime's
profiler itself takes time at every operator, so the sums are larger than a latency; they compare.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import onnxruntime

from ghostnet_small.deploy.formats import open_file

RUNS, WARM_UP, SHOWN = 300, 30, 12


def profile(file: Path, folder: Path) -> tuple[Counter[str], Counter[str]]:
    """Number and microseconds of each kind of operator for one picture, on one thread."""
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
    parser.add_argument("files", metavar="FILE.onnx", nargs="+", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for file in args.files:
            number, taken = profile(file, Path(folder))
            print(f"{file}: {sum(number.values()) / RUNS:.0f} operators")
            for kind, time in taken.most_common(SHOWN):
                print(f"  {kind:20} {number[kind] / RUNS:5.0f} {time / RUNS:8.1f} us")


if __name__ == "__main__":
    main()
