"""Data sets written in the forms of their publishers: IDX files and the CIFAR archives."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np


def idx_bytes(values: np.ndarray) -> bytes:
    """An array of bytes in IDX form."""
    head = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
    return head + values.astype(np.uint8).tobytes()


def write_idx(
    root: Path,
    split: str,
    pictures: np.ndarray,
    labels: Sequence[int],
    *,
    zipped: bool = False,
) -> None:
    """``pictures`` ``(N, H, W[, C])`` and their labels; ``split`` is how the files' names begin."""
    root.mkdir(parents=True, exist_ok=True)
    for name, values in (
        (f"{split}-images-idx{pictures.ndim}-ubyte", pictures),
        (f"{split}-labels-idx1-ubyte", np.array(labels)),
    ):
        content = idx_bytes(values)
        if zipped:
            (root / f"{name}.gz").write_bytes(gzip.compress(content, 1))
        else:
            (root / name).write_bytes(content)


def python2_pickle(value: Any) -> bytes:
    """``value`` as Python 2 pickles it (protocol 2), bytes being its strings."""
    return b"\x80\x02" + _python2(value) + b"."


def _python2(value: Any) -> bytes:
    if isinstance(value, dict):
        return b"}(" + b"".join(_python2(k) + _python2(v) for k, v in value.items()) + b"u"
    if isinstance(value, list):
        return b"](" + b"".join(map(_python2, value)) + b"e"
    if isinstance(value, bytes):
        return b"T" + struct.pack("<I", len(value)) + value
    if isinstance(value, int):
        return b"J" + struct.pack("<i", value)
    shape = b"(" + b"".join(map(_python2, value.shape)) + b"t"
    kind = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNK\x00K\x00K\x00tb"
    make = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    return make + b"(K\x01" + shape + kind + b"\x89" + _python2(value.tobytes()) + b"tb"


def cifar_files(
    form: str,
    train: tuple[np.ndarray, Sequence[int]],
    test: tuple[np.ndarray, Sequence[int]],
    names: Sequence[str],
    protocol: int | None = None,
) -> dict[str, bytes]:
    """The files of an original archive, by name.

    ``form`` is the folder's name in the archive; pictures are uint8 ``(N, 32, 32, 3)``. CIFAR-100's
    coarse label is half the fine one. ``protocol`` None pickles as Python 2 does.
    """
    ten, pickled = "cifar-10-" in form, "py" in form
    coarse = [f"coarse {number}" for number in range((len(names) + 1) // 2)]
    splits = {"train": train, "test": test}
    if ten:
        parts = np.array_split(np.arange(len(train[0])), 5)
        splits = {
            f"data_batch_{number}": (train[0][rows], [int(train[1][row]) for row in rows])
            for number, rows in enumerate(parts, 1)
        } | {"test_batch": test}
    files: dict[str, bytes] = {}

    def pack(value: dict[str, Any]) -> bytes:
        encoded = {key.encode(): item for key, item in value.items()}
        return python2_pickle(encoded) if protocol is None else pickle.dumps(value, protocol)

    for file, (pictures, labels) in splits.items():
        rows = pictures.transpose(0, 3, 1, 2).reshape(len(pictures), -1)
        if pickled:
            files[file] = pack(
                {
                    "batch_label": b"a batch",
                    **({"labels": list(labels)} if ten else {"fine_labels": list(labels)}),
                    **({} if ten else {"coarse_labels": [label // 2 for label in labels]}),
                    "data": np.ascontiguousarray(rows),
                    "filenames": [b"%d.png" % row for row in range(len(rows))],
                }
            )
        else:
            fine = np.array(labels, np.uint8)[:, None]
            columns = [fine] if ten else [fine // 2, fine]
            files[f"{file}.bin"] = np.concatenate([*columns, rows], 1).tobytes()
    fine_names = [name.encode() for name in names]
    coarse_names = [name.encode() for name in coarse]
    if pickled and ten:
        files["batches.meta"] = pack({"num_vis": 3072, "label_names": fine_names})
    elif pickled:
        files["meta"] = pack({"fine_label_names": fine_names, "coarse_label_names": coarse_names})
    elif ten:
        files["batches.meta.txt"] = b"\n".join(fine_names) + b"\n\n"
    else:
        files["fine_label_names.txt"] = b"\n".join(fine_names) + b"\n"
        files["coarse_label_names.txt"] = b"\n".join(coarse_names) + b"\n"
    return files


def write_files(folder: Path, files: dict[str, bytes]) -> Path:
    """``folder`` with these files."""
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def write_tar(archive: Path, folder: str, files: dict[str, bytes], mode: str = "w:gz") -> Path:
    """An archive of ``folder`` with these files and a page beside them, as CIFAR's have."""
    with tarfile.open(archive, mode) as tar:  # type: ignore[call-overload]
        head = tarfile.TarInfo(folder)
        head.type, head.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(head)
        for name, content in {**files, "readme.html": b"<html>"}.items():
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return archive
