"""Runs a notebook, once for the same code."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from traitlets.config import Config

SOURCE = Path(__file__).resolve().parents[2] / "src"
# Seconds that a cell may take, on a slow machine at work.
PATIENCE = 600
# tqdm would have the widgets of Jupyter, which are not needed here.
ENVIRONMENT = os.environ | {"PYTHONWARNINGS": "ignore:IProgress not found"}


def executed_notebook(file: Path, keep: Path) -> str:
    """The notebook of ``file`` with what its cells put out; kept in ``keep`` by its content.

    Raises ``nbclient.exceptions.CellExecutionError`` where a cell fails.
    """
    kept = keep / "notebooks" / f"{file.stem}-{_digest(file)}.ipynb"
    if not kept.is_file():
        kept.parent.mkdir(parents=True, exist_ok=True)
        place = keep / "notebooks" / "place"
        place.mkdir(exist_ok=True)
        kept.write_text(run(file, place))
    return kept.read_text()


def run(file: Path, place: Path) -> str:
    """The notebook with its outputs, run in the folder ``place``."""
    notebook = nbformat.read(file, as_version=4)
    resources = {"metadata": {"path": str(place)}}
    with tempfile.TemporaryDirectory(prefix="notebook-") as sockets:
        # Sockets in the file system: nothing listens on the network.
        config = Config({"KernelManager": {"transport": "ipc", "ip": f"{sockets}/kernel"}})
        client = NotebookClient(notebook, timeout=PATIENCE, resources=resources, config=config)
        client.execute(env=ENVIRONMENT)
    return nbformat.writes(notebook)


def _digest(file: Path) -> str:
    """Return the digest of the notebook and of the package that it uses."""
    found = hashlib.sha256(file.read_bytes())
    for path in sorted(SOURCE.rglob("*.py")):
        found.update(path.read_bytes())
    return found.hexdigest()[:16]
