"""The picture reader against pixels worked out by hand, and what it refuses."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

from ghostnet_small.data.pictures import find_pictures, read_picture
from ghostnet_small.errors import InputError


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_colour_is_channels_first_from_file_bytes_and_image(tmp_path: Path) -> None:
    pixels = noise(9, 11, 3)
    image = Image.fromarray(pixels)
    file = tmp_path / "picture.png"
    image.save(file)
    for source in (file, str(file), encode(image), encode(image, "WEBP", lossless=True), image):
        picture = read_picture(source)
        assert picture.dtype == torch.uint8
        assert torch.equal(picture, torch.from_numpy(pixels).permute(2, 0, 1))


def test_channels_are_kept_or_forced() -> None:
    grey = Image.fromarray(noise(8, 8))
    assert read_picture(encode(grey)).shape == (1, 8, 8)
    assert torch.equal(read_picture(encode(grey), channels=3), read_picture(grey).expand(3, 8, 8))
    red = Image.new("RGB", (8, 8), (255, 0, 0))
    assert read_picture(red).shape == (3, 8, 8)
    assert read_picture(red, channels=1).unique().tolist() == [76]  # 0.299 * 255


def test_modes_1_and_palette() -> None:
    assert read_picture(Image.new("1", (8, 8), 1)).unique().tolist() == [255]
    palette = Image.new("RGB", (8, 8), (10, 20, 30)).convert("P", palette=Image.Palette.ADAPTIVE)
    assert read_picture(encode(palette))[:, 0, 0].tolist() == [10, 20, 30]


def test_transparency_lies_over_white() -> None:
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    assert read_picture(encode(clear)).unique().tolist() == [255]
    # A fifth of black over white: 255 * (1 - 51 / 255) = 204.
    thin = read_picture(encode(Image.new("LA", (8, 8), (0, 51))))
    assert thin.shape == (1, 8, 8)
    assert thin.unique().tolist() == [204]


def test_size_is_antialiased() -> None:
    stripes = np.zeros((32, 32), dtype=np.uint8)
    stripes[:, ::2] = 254
    picture = read_picture(Image.fromarray(stripes), size=8)
    assert picture.shape == (1, 8, 8)
    # Bilinear without antialiasing would pick single stripes; the mean is 127.
    assert (picture[:, :, 1:-1].int() - 127).abs().max() <= 1


def test_exif_orientation_is_applied() -> None:
    pixels = noise(8, 12, 3)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
    picture = read_picture(encode(Image.fromarray(pixels), exif=exif))
    assert torch.equal(picture, torch.from_numpy(np.rot90(pixels, -1).copy()).permute(2, 0, 1))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF"])
def test_truncated_picture(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = encode(Image.fromarray(noise(32, 32, 3)), kind)
    file = tmp_path / "cut.png"
    file.write_bytes(content[: len(content) // 2])
    # Another library may have asked PIL to fill up what is missing; not here.
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(InputError, match=r"cut\.png is not a readable picture") as caught:
        read_picture(file)
    assert "\n" not in str(caught.value)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


@pytest.mark.parametrize("content", [b"", b"hello, not a picture", bytes(1000)])
def test_corrupt_picture_is_named(content: bytes) -> None:
    with pytest.raises(InputError, match="file row 3 is not a readable picture"):
        read_picture(content, name="file row 3")


def test_postscript_is_never_run() -> None:
    with pytest.raises(InputError, match="no known picture format"):
        read_picture(encode(Image.new("RGB", (8, 8)), "EPS"), name="a.png")


def test_other_modes_are_refused() -> None:
    with pytest.raises(InputError, match=r"deep\.png: mode I;16 is not one of 1, L, LA, P, RGB"):
        read_picture(encode(Image.fromarray(noise(8, 8).astype(np.uint16))), name="deep.png")
    with pytest.raises(InputError, match="mode CMYK"):
        read_picture(encode(Image.new("CMYK", (8, 8)), "JPEG"))


@pytest.mark.parametrize("side", [9_000, 60_000])
def test_decompression_bomb(side: int) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        tail = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + tail

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"")
    with pytest.raises(InputError, match=r"bomb\.png.*pixels"):
        read_picture(content, name="bomb.png")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no\.png does not exist"):
        read_picture(tmp_path / "no.png")


def test_find_pictures(tmp_path: Path) -> None:
    for name in ("b.png", "a/z.JPG", "a/y.webp", ".hidden/x.png", "notes.txt", "a/.DS_Store"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = find_pictures(tmp_path)
    assert [file.relative_to(tmp_path).as_posix() for file in found] == [
        "a/y.webp",
        "a/z.JPG",
        "b.png",
    ]
    assert find_pictures(tmp_path / "notes.txt") == [tmp_path / "notes.txt"]
    with pytest.raises(InputError, match="missing does not exist"):
        find_pictures(tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty holds no picture"):
        find_pictures(tmp_path / "empty")
