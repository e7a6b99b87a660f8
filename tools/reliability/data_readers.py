"""Fuzzed readers of images and data sets, and the seeds of each."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, features

from ghostnet_small.data.formats.find import list_root
from ghostnet_small.data.formats.unpickle import unpickle
from ghostnet_small.data.pictures import read_picture
from trees import clear, pack, unpack

# Images --------------------------------------------------------------------------------------

SAVED = {
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "JPEG": ("L", "RGB", "CMYK"),
    "WEBP": ("RGB", "RGBA"),
    "BMP": ("1", "L", "P", "RGB"),
    "GIF": ("L", "P"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F"),
    "PPM": ("1", "L", "RGB", "I"),
    "JPEG2000": ("L", "RGB", "RGBA"),
    "AVIF": ("RGB",),
    "ICO": ("RGB", "RGBA"),
    "PCX": ("1", "L", "P", "RGB"),
    "QOI": ("RGB", "RGBA"),
    "SGI": ("L", "RGB", "RGBA"),
    "TGA": ("1", "L", "LA", "P", "RGB", "RGBA"),
    "DIB": ("L", "RGB"),
}


def picture_seeds(scratch: Path) -> list[bytes]:
    """A small image in every format and mode that PIL writes here."""
    pixels = np.random.default_rng(0).integers(256, size=(9, 12, 4), dtype=np.uint8)
    colour = Image.fromarray(pixels)
    seeds = []
    for name, modes in SAVED.items():
        for mode in modes:
            sixteen = mode in ("I;16", "I", "F")
            image = colour.convert("L").convert(mode) if sixteen else colour.convert(mode)
            for options in ({}, {"compression": "tiff_lzw"}, {"interlace": 1}):
                if options and name not in ("TIFF", "PNG"):
                    continue
                buffer = io.BytesIO()
                try:
                    image.save(buffer, name, **options)
                except (KeyError, OSError, ValueError, SystemError):
                    continue  # this build of PIL has no such encoder
                seeds.append(buffer.getvalue())
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("JPEG", "PNG", "WEBP", "TIFF"):
        buffer = io.BytesIO()
        colour.convert("RGB").save(buffer, name, exif=exif)
        seeds.append(buffer.getvalue())
    buffer = io.BytesIO()
    frames = [colour.convert("P"), colour.rotate(90).convert("P")]
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], transparency=3)
    seeds.append(buffer.getvalue())
    if features.check("webp"):
        buffer = io.BytesIO()
        colour.save(buffer, "WEBP", lossless=True)
        seeds.append(buffer.getvalue())
    return seeds


def read_bytes(data: bytes, scratch: Path) -> None:
    """Decode an image."""
    channels = (None, 1, 3)[len(data) % 3]
    found = read_picture(data, channels=channels, size=(None, 16)[len(data) % 2])
    assert found.dtype == torch.uint8 and found.dim() == 3 and len(found) in (1, 3)
    assert channels is None or len(found) == channels


# Data sets -----------------------------------------------------------------------------------

_COUNT, _SIZE = 6, 8


def _pixels(channels: int = 1) -> np.ndarray:
    shape = (_COUNT, _SIZE, _SIZE, channels)
    return np.random.default_rng(1).integers(256, size=shape, dtype=np.uint8)


def _labels() -> np.ndarray:
    return np.arange(_COUNT, dtype=np.uint8) % 2


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(buffer, "PNG")
    return buffer.getvalue()


def folder_seeds(scratch: Path) -> list[bytes]:
    """Folder sets: whole, with links, a pipe, empty and hidden folders."""
    pictures = [_png(picture) for picture in _pixels(3)]
    files = [
        ("f", f"{split}/{name}/{number}.png", pictures[number])
        for split in ("train", "val")
        for number, name in enumerate(("ant", "bee", "ant", "bee"))
    ]
    return [
        pack(files),
        pack([*files[:2], ("l", "train/ant/loop", b"."), ("p", "train/ant/pipe.png", b"")]),
        pack([*files[:3], ("d", "test/cow", b""), ("l", "train/bee/x.png", b"train/ant/0.png")]),
        pack([("d", "train", b""), ("f", "valid", b""), ("f", "train/.hidden/x.png", b"")]),
    ]


def _idx(values: np.ndarray) -> bytes:
    axes = b"".join(struct.pack(">I", axis) for axis in values.shape)
    return bytes([0, 0, 8, values.ndim]) + axes + values.tobytes()


def idx_seeds(scratch: Path) -> list[bytes]:
    """IDX files, plain and zipped, grey and colour."""
    seeds = []
    for pictures in (_pixels().squeeze(3), _pixels(3)):
        axes = pictures.ndim
        parts = [(f"images-idx{axes}", _idx(pictures)), ("labels-idx1", _idx(_labels()))]
        for split, ending, squeeze in (("train", "", bytes), ("t10k", ".gz", gzip.compress)):
            train = [("f", f"train-{name}-ubyte", content) for name, content in parts]
            other = [
                ("f", f"{split}-{name}-ubyte{ending}", squeeze(content)) for name, content in parts
            ]
            seeds.append(pack(train + other))
    return seeds


def cifar_seeds(scratch: Path) -> list[bytes]:
    """CIFAR archives in both forms."""
    rows = np.random.default_rng(2).integers(256, size=(4, 3072), dtype=np.uint8)
    small = b"".join(bytes([number % 10]) + row.tobytes() for number, row in enumerate(rows))
    fine = b"".join(bytes([0, number]) + row.tobytes() for number, row in enumerate(rows))
    names = b"\n".join(f"class{number}".encode() for number in range(10))
    hundred = b"\n".join(f"class{number}".encode() for number in range(100))
    batches = [("f", f"data_batch_{number}.bin", small) for number in range(1, 6)]
    binary10 = [*batches, ("f", "test_batch.bin", small), ("f", "batches.meta.txt", names)]
    binary100 = [
        ("f", "train.bin", fine),
        ("f", "test.bin", fine),
        ("f", "fine_label_names.txt", hundred),
        ("f", "coarse_label_names.txt", names),
    ]
    seeds = [pack(binary10), pack(binary100)]
    for protocol in (2, 4):
        batch = {b"data": rows, b"labels": [0, 1, 2, 3], b"batch_label": b"x", b"filenames": []}
        meta = {"label_names": [f"class{number}" for number in range(10)]}
        files = [
            ("f", f"data_batch_{number}", pickle.dumps(batch, protocol)) for number in range(1, 6)
        ]
        files += [("f", "test_batch", pickle.dumps(batch, protocol))]
        files += [("f", "batches.meta", pickle.dumps(meta, protocol))]
        seeds.append(pack(files))
        many = {b"data": rows, b"fine_labels": [0, 1, 2, 3], b"coarse_labels": [0] * 4}
        names100 = {"fine_label_names": [str(n) for n in range(100)]}
        files = [("f", name, pickle.dumps(many, protocol)) for name in ("train", "test")]
        seeds.append(pack([*files, ("f", "meta", pickle.dumps(names100, protocol))]))
    return seeds


def npz_seeds(scratch: Path) -> list[bytes]:
    """NumPy archives, stored and deflated, under two sets of names."""
    seeds = []
    for number, pictures in enumerate((_pixels().squeeze(3), _pixels(3))):
        labels = _labels().astype(np.int64 if number else np.uint8)
        sets = [
            {"x_train": pictures, "y_train": labels, "x_test": pictures, "y_test": labels},
            {"train_images": pictures, "train_labels": labels[:, None]},
        ]
        for write in (np.savez, np.savez_compressed):
            for arrays in sets:
                buffer = io.BytesIO()
                write(buffer, **arrays)
                seeds.append(pack([("f", "data.npz", buffer.getvalue())]))
    return seeds


def parquet_seeds(scratch: Path) -> list[bytes]:
    """Parquet files, with and without Hugging Face's description."""
    import pyarrow as pa
    from pyarrow import parquet

    pictures = [{"bytes": _png(picture), "path": None} for picture in _pixels(3)]
    about = {"img": {"_type": "Image"}, "label": {"names": ["a", "b"], "_type": "ClassLabel"}}
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"img": pa.array(pictures, type=kind), "label": pa.array(_labels())})
    named = table.replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": about}})}
    )
    seeds = []
    for one in (table, named):
        for compression in ("none", "snappy"):
            buffer = io.BytesIO()
            parquet.write_table(one, buffer, compression=compression)
            content = buffer.getvalue()
            files = [("f", f"data/{split}-0.parquet", content) for split in ("train", "test")]
            seeds.append(pack(files))
            seeds.append(pack(files[:1]))
    return seeds


def read_root(data: bytes, scratch: Path) -> None:
    """List a directory whatever its form, and decode some of its images."""
    root = scratch / "root"
    clear(root)
    unpack(data, root)
    for split in list_root(str(root), None, "data.root").splits.values():
        assert len(split.labels) == len(split.names) == len(split.pictures)
        for row in range(min(2, len(split.labels))):
            read_picture(split.picture(row), size=8, name=split.names[row])


def pickle_seeds(scratch: Path) -> list[bytes]:
    """Pickles of every protocol; two that would run a command."""
    rows = np.zeros((2, 3), np.uint8)
    values: list[Any] = [
        {b"data": rows, b"labels": [0, 1], "name": b"x", "more": ["a", "b"]},
        [1, 2.5, None, True, "text", b"bytes", (1, 2)],
        {"a": rows.astype(">i4"), "b": rows.T},
    ]
    seeds = [pickle.dumps(value, protocol) for value in values for protocol in range(6)]
    return [*seeds, b"cos\nsystem\n(S'true'\ntR.", b"\x80\x04\x8c\x02os\x8c\x06system\x93."]


def read_pickle(data: bytes, scratch: Path) -> None:
    """Read a pickle."""
    unpickle(data, "pickle")
