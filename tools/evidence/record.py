"""A finished run becomes a record under ``results/``, with its weights where they are wanted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ghostnet_small.files import check_free, new_folder
from ghostnet_small.models.weights import load, save_model
from ghostnet_small.run.records import append_record, read_records
from ghostnet_small.run.run_folder import RunFolder


def publish_run(run: Path, results_file: Path, weights_to: Path | None = None) -> dict[str, Any]:
    """Append the record of ``run``, and save its last weights in the new folder ``weights_to``.

    Raises ``InputError`` where the run has not come to its end, is recorded already, or
    ``weights_to`` exists; nothing is written then.
    """
    folder = RunFolder.open(run)
    summary = folder.finished()
    if weights_to is None:
        append_record(summary, results_file)
    else:
        check_free(weights_to, "--weights-to")
        model, info = load(run, "last")
        with new_folder(weights_to) as partial:
            save_model(model, info, partial)
            append_record(summary, results_file)
    return {
        "run": str(run),
        "results": str(results_file),
        "records": len(read_records(results_file)),
        "weights": None if weights_to is None else str(weights_to),
    }
