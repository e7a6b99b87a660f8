"""LiteRT files of trained weights: top-1 on all test images, size, memory and operators.

The arena is the memory that tflite-micro takes on this machine, whose pointers have 8 bytes.

    python tools/benchmarks/litert_files.py ghostnetv3_small_w1.0_cifar10 --data DIR \\
        [--record results/litert.jsonl]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import ai_edge_litert.schema_py_generated as schema
import torch

from ghostnet_small.deploy.litert_file import working_memory
from ghostnet_small.provenance import provenance_row
from ghostnet_small.run.records import append_row
from ghostnet_small.use.evaluation import evaluate_classifier
from ghostnet_small.use.export import export_weights

NAMES = {code: name for name, code in vars(schema.BuiltinOperator).items() if name.isupper()}
# What a converter adds to a network of PyTorch, whose channels do not lie side by side.
COUNTED = ("CONCATENATION", "PAD", "RESIZE_NEAREST_NEIGHBOR", "TRANSPOSE", "QUANTIZE")


def operators_of(path: Path) -> Counter[str]:
    """Return the operators of a LiteRT file by name."""
    model = schema.Model.GetRootAs(path.read_bytes())
    graph = model.Subgraphs(0)
    codes = [graph.Operators(n).OpcodeIndex() for n in range(graph.OperatorsLength())]
    return Counter(NAMES[model.OperatorCodes(code).BuiltinCode()] for code in codes)


def say(remark: str) -> None:
    """Print a remark beside the rows."""
    print(remark, file=sys.stderr)


def row_of(name: str, precision: str, path: Path, data: list[str]) -> dict[str, Any]:
    """Return the row of one file."""
    found = evaluate_classifier(path, overrides=data, say=say)
    operators = operators_of(path)
    return {
        "network": name,
        "precision": precision,
        "test images": found["total"],
        "top-1, %": round(found["top1"], 2),
        "file, bytes": path.stat().st_size,
        "arena, bytes": working_memory(path),
        "operators": operators.total(),
        **{key: operators[key] for key in COUNTED},
    }


def main() -> int:
    """Export, evaluate, print and record."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("weights", type=Path, help="a run's folder, or weights by folder or name")
    parser.add_argument("--data", required=True, metavar="DIR", help="the data that it learnt from")
    parser.add_argument("--record", type=Path, metavar="FILE.jsonl", help="append the rows")
    asked = parser.parse_args()
    data = ["--data.root", asked.data]
    # Beside other work a second thread waits longer than it helps with one small image.
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="ghostnet-small-litert-") as folder:
        made = export_weights(
            asked.weights, Path(folder), formats=["litert"], int8=True, overrides=data, say=say
        )
        for file in made["files"]:
            path = Path(file["files"][0])
            row = row_of(asked.weights.name, file["precision"], path, data)
            print(json.dumps(row), flush=True)
            if asked.record is not None:
                append_row({**row, **provenance_row()}, asked.record)
    return 0


if __name__ == "__main__":
    sys.exit(main())
