"""The picture reader against pixels worked out by hand, and what it refuses."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, PngImagePlugin

from ghostnet_small.data import pictures
from ghostnet_small.data.pictures import picture_form, read_picture
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


# Where the upright picture's rows and columns lie for each EXIF orientation, by the standard: the
# picture is stored so that turning it in this way shows it upright.
STORED_AS = {
    1: lambda pixels: pixels,
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, 1),  # to be turned by 90 degrees clockwise
    7: lambda pixels: np.rot90(pixels, 2).swapaxes(0, 1),
    8: lambda pixels: np.rot90(pixels, -1),
}


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", STORED_AS)
def test_exif_orientation_is_applied(orientation: int, kind: str) -> None:
    pixels = noise(8, 12, 3)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED_AS[orientation](pixels)))
    options = {"lossless": True} if kind == "WEBP" else {}
    picture = read_picture(encode(stored, kind, exif=exif, **options))
    assert torch.equal(picture, torch.from_numpy(pixels).permute(2, 0, 1))


def test_exif_of_jpeg_and_exif_that_is_damaged() -> None:
    half = np.zeros((8, 16), dtype=np.uint8)
    half[:, 8:] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = read_picture(encode(Image.fromarray(half), "JPEG", exif=exif))
    assert picture.shape == (1, 16, 8) and picture[0, 0].max() < 9 and picture[0, -1].min() > 246
    for damaged in (b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", exif.tobytes()[:-9]):
        picture = read_picture(encode(Image.fromarray(half), "JPEG", exif=damaged))
        assert picture.shape == (1, 8, 16)  # the pixels are none the worse


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM", "JPEG2000"])
def test_grey_of_16_bits(kind: str) -> None:
    """257 times every value of 8 bits gives it back, and what lies between is rounded."""
    exact = np.arange(256, dtype=np.uint16).reshape(16, 16) * 257
    for shift, rounded in ((0, 0), (128, 0), (129, 1)):
        values = exact[:15] + np.uint16(shift)
        image = Image.fromarray(values.astype(np.int32) if kind == "PPM" else values)
        picture = read_picture(encode(image, kind))
        assert torch.equal(picture[0], torch.arange(240).reshape(15, 16) + rounded)
        assert torch.equal(read_picture(encode(image, kind), channels=3), picture.expand(3, -1, -1))


def test_grey_of_32_bits_and_of_floats() -> None:
    values = np.array([[0, 65535], [257, 128]], dtype=np.int32)
    assert read_picture(encode(Image.fromarray(values), "TIFF"))[0].tolist() == [[0, 255], [1, 0]]
    for wrong in (-1, 65536):
        values[0, 0] = wrong
        with pytest.raises(
            InputError, match=r"deep\.tif: grey values from -?\d+ to \d+ are not in 0"
        ):
            read_picture(encode(Image.fromarray(values), "TIFF"), name="deep.tif")
    with pytest.raises(InputError, match=r"float\.tif: mode F .* save the picture as 8-bit"):
        read_picture(encode(Image.fromarray(values.astype("f4")), "TIFF"), name="float.tif")


def test_transparent_value_of_grey_and_colour_pictures() -> None:
    deep = np.array([[1000, 514], [0, 65535]], dtype=np.uint16)
    picture = read_picture(encode(Image.fromarray(deep), transparency=1000))
    assert picture[0].tolist() == [[255, 2], [0, 255]]
    grey = Image.fromarray(np.array([[7, 8]], dtype=np.uint8))
    assert read_picture(encode(grey, transparency=7))[0].tolist() == [[255, 8]]
    colour = Image.new("RGB", (2, 1), (1, 2, 3))
    colour.putpixel((1, 0), (9, 9, 9))
    assert read_picture(encode(colour, transparency=(1, 2, 3)))[0].tolist() == [[255, 9]]
    assert read_picture(encode(Image.new("1", (8, 8)), transparency=0)).unique().tolist() == [255]
    palette = Image.new("P", (2, 1), 0)
    palette.putpalette([0, 0, 0, 50, 60, 70])
    palette.putpixel((1, 0), 1)
    # A fifth of black over white, and the second colour as it is.
    assert read_picture(encode(palette, transparency=bytes([51, 255])))[:, 0].tolist() == [
        *([204, 50], [204, 60], [204, 70])
    ]


def test_other_ways_to_store_colour() -> None:
    # Magenta's and yellow's ink leave red; the JPEG is Adobe's inverted one.
    ink = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    for content in (ink, encode(ink, "TIFF"), encode(ink, "JPEG", quality=100)):
        picture = read_picture(content)
        assert (picture[:, 4, 4].int() - torch.tensor([255, 0, 0])).abs().max() <= 3
    red = Image.new("RGB", (8, 8), (200, 30, 30))
    for mode in ("YCbCr", "HSV", "LAB", "RGBX"):
        stored = Image.new("LAB", (8, 8), (110, 191, 173)) if mode == "LAB" else red.convert(mode)
        picture = read_picture(stored)
        assert (picture[:, 0, 0].int() - torch.tensor([200, 30, 30])).abs().max() <= 6, mode
    assert read_picture(encode(red.convert("YCbCr"), "TIFF")).shape == (3, 8, 8)


def test_premultiplied_alpha() -> None:
    # A fifth of white over white is white; of black, 204.
    for mode, layer in (("RGBa", "RGBA"), ("La", "LA")):
        for value, shown in ((255, 255), (0, 204)):
            colour = (value,) * (len(layer) - 1)
            image = Image.new(layer, (4, 4), (*colour, 51)).convert(mode)
            picture = read_picture(image)
            assert picture.shape[0] == (1 if mode == "La" else 3)
            assert (picture.int() - shown).abs().max() <= 1
    palette = Image.new("PA", (4, 4), (1, 51))
    palette.putpalette([9, 9, 9, 0, 0, 0])
    assert read_picture(palette).unique().tolist() == [204]


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_first_of_several_frames(kind: str) -> None:
    frames = [Image.new("L", (8, 8), value) for value in (10, 200, 90)]
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert read_picture(content).unique().tolist() == [10]


def test_colour_of_16_bits_keeps_its_upper_8() -> None:
    """A PNG made by hand: PIL reads such files and does not write them."""
    pixels = struct.pack(">3H", 0x1234, 0xABFF, 0x00FF)
    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(kind, body)
        for kind, body in (
            (b"IHDR", header),
            (b"IDAT", zlib.compress(b"\0" + pixels)),
            (b"IEND", b""),
        )
    )
    assert read_picture(content).flatten().tolist() == [0x12, 0xAB, 0x00]


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


def chunk(kind: bytes, body: bytes) -> bytes:
    """A part of a PNG file."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


@pytest.mark.parametrize("side", [8_001, 17_000, 60_000])
def test_decompression_bomb(side: int) -> None:
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"")
    with pytest.raises(InputError, match=r"bomb\.png.*pixels"):
        read_picture(content, name="bomb.png")


def test_a_large_jpeg_is_read_small_where_a_size_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("MAX_PIXELS", 4000), ("DRAFT_ABOVE", 1000), ("MAX_DRAFT_PIXELS", 5000)):
        monkeypatch.setattr(pictures, name, value)
    ramp = np.tile(np.arange(64, dtype=np.uint8) * 4, (64, 1))
    image = Image.fromarray(ramp)
    content = encode(image, "JPEG", quality=95)
    picture = read_picture(content, size=8)[0].int()
    assert (picture - torch.arange(8) * 32 - 14).abs().max() <= 4
    # Whole it is too large, and so is one whose coefficients are held for all of it, or a PNG.
    for refused, size in (
        (content, None),
        (encode(image, "JPEG", progressive=True), 8),
        (encode(image), 8),
        (encode(Image.new("L", (80, 64)), "JPEG"), 8),
    ):
        with pytest.raises(InputError, match="pixels are more than the allowed 4,000"):
            read_picture(refused, size=size)


def test_smaller_jpegs_are_decoded_whole() -> None:
    content = encode(Image.fromarray(noise(64, 64)), "JPEG")
    assert torch.equal(
        read_picture(content, size=8), read_picture(Image.open(io.BytesIO(content)), size=8)
    )


def test_a_png_with_much_text_is_read() -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("workflow", "x" * (2 << 20), zip=True)
    picture = read_picture(encode(Image.new("L", (8, 8), 9), pnginfo=text))
    assert picture.unique().tolist() == [9]
    assert PngImagePlugin.MAX_TEXT_CHUNK < 2 << 20  # as it was


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        (b"\n<!DOCTYPE html><title>404</title>", "an HTML page"),
        (b"\0\0\0\x18ftypheic" + bytes(40), "HEIC is not read: save it as JPEG or PNG"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), r"\(a damaged PNG\)"),
    ],
)
def test_what_a_file_is_instead(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(content)
    for source in (content, tmp_path / "a.png"):
        with pytest.raises(InputError, match=words):
            read_picture(source)


def test_a_header_tells_the_form(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    file = tmp_path / "a.jpg"
    Image.new("RGB", (12, 8)).save(file, exif=exif)
    assert picture_form(file) == (3, 12, 8) == tuple(read_picture(file).shape)
    Image.fromarray(np.zeros((8, 9), np.uint16)).save(tmp_path / "deep.png")
    assert picture_form(tmp_path / "deep.png") == (1, 8, 9)
    assert pictures.is_deep(tmp_path / "deep.png") and not pictures.is_deep(file)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no\.png does not exist"):
        read_picture(tmp_path / "no.png")


def test_a_bomb_within_an_icon() -> None:
    """The directory of an icon says 16x16; the picture in it is larger than is allowed."""
    inner = encode(Image.new("1", (8_001, 8_000)))
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 1, len(inner), 22)
    content = struct.pack("<HHH", 0, 1, 1) + entry + inner
    with pytest.raises(InputError, match=r"8001x8000 pixels are more than the allowed"):
        read_picture(content)


@pytest.mark.parametrize("tags", [{322: 65520, 323: 65520}, {278: 2**31 - 1}, {277: 60000}])
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_tiff_that_promises_much(tags: dict[int, int]) -> None:
    """Tiles, strips or samples of gigabytes in a file of 8x8 pixels."""
    code = (
        "import io, sys\n"
        "from PIL import Image, TiffImagePlugin\n"
        "from ghostnet_small.data.pictures import read_picture\n"
        "from ghostnet_small.errors import InputError\n"
        "try:\n"
        "    read_picture(sys.stdin.buffer.read())\n"
        "except InputError:\n"
        "    pass\n"
        # Not ru_maxrss, which begins with that of the process that started this one.
        "with open('/proc/self/status') as status:\n"
        "    print(int(status.read().split('VmHWM:')[1].split()[0]) // 1024)\n"
    )
    content = bytearray(encode(Image.fromarray(noise(8, 8)), "TIFF", compression="tiff_deflate"))
    start = struct.unpack_from("<I", content, 4)[0]
    count = struct.unpack_from("<H", content, start)[0]
    entries = [content[start + 2 + 12 * k : start + 14 + 12 * k] for k in range(count)]
    new = {tag: struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items()}
    kept = {struct.unpack_from("<H", entry)[0]: bytes(entry) for entry in entries} | new
    if 322 in tags:  # tiles have their own places and sizes
        kept[324] = struct.pack("<H", 324) + kept.pop(273)[2:]
        kept[325] = struct.pack("<H", 325) + kept.pop(279)[2:]
    directory = (
        struct.pack("<H", len(kept)) + b"".join(kept[tag] for tag in sorted(kept)) + bytes(4)
    )
    content[4:8] = struct.pack("<I", len(content))
    result = subprocess.run(
        [sys.executable, "-c", code],
        input=bytes(content + directory),
        capture_output=True,
        check=True,
    )
    assert int(result.stdout) < 1500


LOSSLESS = {
    "PNG": {},
    "WEBP": {"lossless": True},
    "BMP": {},
    "TIFF": {"compression": "tiff_lzw"},
    "PPM": {},
    "TGA": {},
    "JPEG2000": {},
    "QOI": {},
}


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(sorted(LOSSLESS)),
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    colour=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_what_is_written_is_read(
    kind: str, shape: tuple[int, int], colour: bool, seed: int
) -> None:
    colour = colour or kind == "QOI"
    pixels = np.random.default_rng(seed).integers(
        0, 256, (*shape, 3) if colour else shape, dtype=np.uint8
    )
    picture = read_picture(encode(Image.fromarray(pixels), kind, **LOSSLESS[kind]), channels=3)
    expected = pixels if colour else np.repeat(pixels[..., None], 3, 2)
    assert torch.equal(picture, torch.from_numpy(expected).permute(2, 0, 1))


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from([*sorted(LOSSLESS), "JPEG", "GIF", "ICO", "AVIF", "PCX", "SGI"]),
    data=st.data(),
)
def test_damage_gives_a_picture_or_an_input_error(kind: str, data: st.DataObject) -> None:
    content = bytearray(encode(Image.fromarray(noise(16, 16, 3)), kind))
    at = st.integers(0, min(60, len(content) - 1)) | st.integers(0, len(content) - 1)
    for place in data.draw(st.lists(at, max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del content[data.draw(at) :]
    try:
        picture = read_picture(bytes(content))
        assert picture.dtype == torch.uint8 and picture.shape[0] in (1, 3)
    except InputError as error:
        assert "\n" not in str(error)
