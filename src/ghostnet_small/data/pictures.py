"""The one reader of pictures: a file, its bytes or an open picture becomes a uint8 tensor."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import IcoImagePlugin, Image, ImageFile, JpegImagePlugin, PngImagePlugin
from torch import Tensor

from ghostnet_small.errors import InputError

# Raster formats only. Left out are those that PIL hands to another program (EPS would start
# Ghostscript) or that are documents rather than pictures.
FORMATS = (
    *("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF"),
    *("DIB", "ICO", "PCX", "QOI", "SGI", "TGA"),
)
DEEP_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N")  # grey of 16 bits
GREY_MODES = ("1", "L", "LA", "La", *DEEP_MODES)
COLOUR_MODES = ("P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")
# A larger image is taken for a decompression bomb: a file of some kilobytes can promise any size.
# PIL takes 4 bytes a pixel, transparency three times that, in each of the decoding processes. The
# limit lets full-frame cameras through (61 megapixels); 256 MB, or 768 MB, are then in use at once.
MAX_PIXELS = 64_000_000
# A JPEG of more pixels than this is decoded at a half, a quarter or an eighth of its sides where
# that is enough for the wanted size: a camera's image costs a few megabytes. Smaller ones are
# decoded whole, so that their pixels stay what they were.
DRAFT_ABOVE = 25_000_000
MAX_DRAFT_PIXELS = 256_000_000  # of such a JPEG; telephones have up to 200 million
# Bytes of text in one PNG, once unzipped: programs that generate images store their workflow there.
MAX_TEXT = 64 << 20
_ORIENTATION = 0x0112  # the EXIF tag, with what makes the picture upright
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = [turn for orientation, turn in _TURNS.items() if orientation >= 5]
# Formats that begin with bytes that nothing else begins with.
_SIGNED_FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "JPEG2000", "AVIF", "QOI")


@cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


@cache
def picture_extensions() -> frozenset[str]:
    """File endings of the formats that can be read, lower case, with the dot."""
    known = _formats()
    return frozenset(
        ending for ending, name in Image.registered_extensions().items() if name in known
    )


class _StrictPil:
    """PIL's switches for as long as any thread reads a picture.

    Truncated files fail, even where another library asked PIL to fill them with grey, and PIL's
    remarks on odd metadata are not shown: a picture is read or refused. Limits of size are ours.
    """

    SWITCHES = (
        (ImageFile, "LOAD_TRUNCATED_IMAGES", False),
        (Image, "MAX_IMAGE_PIXELS", MAX_DRAFT_PIXELS // 2),  # PIL refuses twice that
        (PngImagePlugin, "MAX_TEXT_CHUNK", MAX_TEXT),
        (PngImagePlugin, "MAX_TEXT_MEMORY", MAX_TEXT),
    )

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before = ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside > 1:
                return
            for module, name, value in self.SWITCHES:
                self._before.callback(setattr, module, name, getattr(module, name))
                setattr(module, name, value)
            self._before.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", module=r"PIL\b")

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._before.close()


_STRICT_PIL = _StrictPil()


def read_picture(
    source: str | Path | bytes | Image.Image,
    *,
    channels: int | None = None,
    size: int | tuple[int, int] | None = None,
    name: str | None = None,
) -> Tensor:
    """A picture as uint8 ``(C, H, W)``, C = 1 or 3.

    ``channels`` None keeps grey pictures at one channel and all others at three. Grey values of
    16 bits are divided by 257 and rounded, so that 65535 becomes 255; colours of 16 bits keep
    their upper 8; other colour spaces than RGB are converted. Transparent pixels are laid over
    white; of an animation the first frame is read; an EXIF orientation is applied. ``size``
    resizes to ``size x size``, or to (height, width) (bilinear, antialiased; the sides' ratio is
    not kept); a JPEG of more than ``DRAFT_ABOVE`` pixels is then decoded small. ``name`` stands in
    messages, by default the path.

    Raises ``InputError`` with the picture's name where it is missing, corrupt, truncated, larger
    than ``MAX_PIXELS``, or of floating-point values.
    """
    if name is None:
        name = _name(source)
    if isinstance(source, Image.Image):
        return _to_tensor(source, channels, size, name)
    with _opened(source, name) as image:
        _draft(image, size)
        _check_size(image, name)
        if isinstance(image, IcoImagePlugin.IcoImageFile):
            # The image within may be of another size than the icon's directory says.
            _check_size(image.ico.getimage(image.size), name)
        image.load()
        return _to_tensor(_upright(image), channels, size, name)


def picture_form(source: str | Path) -> tuple[int, int, int]:
    """Return the channels (1 or 3), height and width of an image file, from its header alone.

    Raises ``InputError`` where it is missing or its header cannot be read.
    """
    with _opened(source, _name(source)) as image:
        width, height = image.size
        if _turn(image) in _SIDEWAYS:
            width, height = height, width
        return 1 if image.mode in GREY_MODES else 3, height, width


def is_deep(source: str | Path | bytes | Image.Image) -> bool:
    """Return whether an image has 16-bit grey values, from its header alone.

    Raises ``InputError`` where it is missing or its header cannot be read.
    """
    if isinstance(source, Image.Image):
        return source.mode in DEEP_MODES
    with _opened(source, _name(source)) as image:
        return image.mode in DEEP_MODES


def _name(source: str | Path | bytes | Image.Image) -> str:
    return str(source) if isinstance(source, str | Path) else "picture"


@contextmanager
def _opened(source: str | Path | bytes, name: str) -> Iterator[Image.Image]:
    """The image in a file, with PIL's errors, also later ones, as one line."""
    content = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        with _STRICT_PIL, Image.open(content, formats=_formats()) as image:
            yield image
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{name} does not exist; give a picture file") from None
    except Exception as error:  # PIL's decoders raise almost any type on damaged bytes
        reason = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, Image.UnidentifiedImageError):
            reason = _what_it_is(source)
        elif isinstance(error, OSError) and error.strerror:
            reason = error.strerror
        raise InputError(
            f"{name} is not a readable picture ({reason}); replace or remove it"
        ) from error


def _what_it_is(source: str | Path | bytes) -> str:
    """A name, by its first bytes, for a file that PIL does not know."""
    if isinstance(source, bytes):
        head = source[:64]
    else:
        with open(source, "rb") as file:
            head = file.read(64)
    if not head:
        return "the file is empty"
    if head.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS and not the file: git lfs pull fetches that"
    if head.lstrip()[:9].lower() in (b"<!doctype", b"<html>"):
        return "an HTML page, not what was to be downloaded"
    if head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"hevc", b"hevx", b"mif1"):
        return "HEIC is not read: save it as JPEG or PNG"
    for name in _SIGNED_FORMATS:
        accept = Image.OPEN[name][1] if name in _formats() else None
        if accept is not None and accept(head) is True:
            return "a damaged PNG" if name == "PNG" else f"a damaged {name}, or an unknown kind"
    return "no known picture format"


def _draft(image: Image.Image, size: int | tuple[int, int] | None) -> None:
    """Have a large JPEG decoded small, but at twice the wanted ``size`` at least."""
    if size is None or not isinstance(image, JpegImagePlugin.JpegImageFile):
        return
    pixels = image.width * image.height
    # Of a progressive one the coefficients of all pixels are in memory, however small it is read.
    most = MAX_PIXELS if image.info.get("progressive") else MAX_DRAFT_PIXELS
    if DRAFT_ABOVE < pixels <= most:
        side = 2 * (size if isinstance(size, int) else max(size))  # it may be turned yet
        image.draft(None, (side, side))


def _check_size(image: Image.Image, name: str) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise InputError(
            f"{name}: {image.width}x{image.height} pixels are more than the allowed "
            f"{MAX_PIXELS:,}; make the picture smaller"
            + (
                f"; where --data.size resizes it, a JPEG may have {MAX_DRAFT_PIXELS:,}"
                if isinstance(image, JpegImagePlugin.JpegImageFile)
                else ""
            )
        )


def _upright(image: Image.Image) -> Image.Image:
    """The picture as its EXIF orientation wants it shown; as it lies where that cannot be read."""
    turn = _turn(image)
    return image if turn is None else image.transpose(turn)


def _turn(image: Image.Image) -> Image.Transpose | None:
    """The turn that makes an image upright."""
    if "exif" not in image.info:
        return None
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except Exception:  # PIL raises almost any type; the pixels are none the worse
        return None
    return _TURNS.get(orientation) if isinstance(orientation, int) else None


def _eight_bits(image: Image.Image, name: str) -> Image.Image:
    """Grey of 16 bits as grey of 8; transparent pixels become white."""
    values = np.asarray(image)
    if image.mode == "I" and (values.min() < 0 or values.max() > 65535):
        raise InputError(
            f"{name}: grey values from {values.min()} to {values.max()} are not in 0 to 65535; "
            "save the picture with 8 or 16 bits"
        )
    grey = ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        grey[values == clear] = 255
    return Image.fromarray(grey)


def _to_tensor(
    image: Image.Image, channels: int | None, size: int | tuple[int, int] | None, name: str
) -> Tensor:
    if image.mode not in (*GREY_MODES, *COLOUR_MODES):
        raise InputError(
            f"{name}: mode {image.mode} (floating-point values, where it is F) is not read; save "
            "the picture as 8-bit grey or RGB"
        )
    grey = image.mode in GREY_MODES
    if image.mode in DEEP_MODES:
        image = _eight_bits(image, name)
    if image.mode == "La":  # has no other way to RGBA
        image = image.convert("LA")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
        del layer
    mode = "L" if channels == 1 or (channels is None and grey) else "RGB"
    if image.mode != mode:
        image = image.convert(mode)
    if size is not None:
        height, width = (size, size) if isinstance(size, int) else size
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.array(image)
    if mode == "L":
        return torch.from_numpy(pixels[None])
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
