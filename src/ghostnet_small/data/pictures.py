"""The one reader of pictures: a file, its bytes or an open picture becomes a uint8 tensor."""

from __future__ import annotations

import io
import threading
import warnings
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFile
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
MAX_PIXELS = 25_000_000  # a larger picture is taken for a decompression bomb
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


def is_hidden(path: Path, root: Path) -> bool:
    """Whether a part of ``path`` below ``root`` starts with a dot."""
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def find_pictures(path: str | Path) -> list[Path]:
    """The file ``path`` itself, or every picture below the folder ``path``, sorted.

    Hidden files and endings of other kinds of file are passed over in a folder; a file that is
    named is taken at its word.

    Raises ``InputError`` where nothing is there.
    """
    path = Path(path).expanduser()
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(f"{path} does not exist; give a picture file or a folder of pictures")
    found = [
        file
        for file in path.rglob("*")
        if file.suffix.lower() in picture_extensions()
        and not is_hidden(file, path)
        and file.is_file()
    ]
    if not found:
        raise InputError(
            f"folder {path} holds no picture; put pictures there (.png, .jpg, .webp, .bmp, ...)"
            " or remove it"
        )
    return sorted(found)


class _StrictPil:
    """PIL's switches for as long as any thread reads a picture.

    Truncated files fail, even where another library asked PIL to fill them with grey, and PIL's
    remarks on odd metadata are not shown: a picture is read or refused.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before = ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside > 1:
                return
            self._before.callback(
                setattr, ImageFile, "LOAD_TRUNCATED_IMAGES", ImageFile.LOAD_TRUNCATED_IMAGES
            )
            ImageFile.LOAD_TRUNCATED_IMAGES = False
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
    not kept). ``name`` stands in messages, by default the path.

    Raises ``InputError`` with the picture's name where it is missing, corrupt, truncated, larger
    than ``MAX_PIXELS``, or of floating-point values.
    """
    if name is None:
        name = str(source) if isinstance(source, str | Path) else "picture"
    if isinstance(source, Image.Image):
        return _to_tensor(source, channels, size, name)
    content = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        with _STRICT_PIL, Image.open(content, formats=_formats()) as image:
            _check_size(image, name)
            image.load()
            _check_size(image, name)  # an icon's own size may be another than it said
            return _to_tensor(_upright(image), channels, size, name)
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{name} does not exist; give a picture file") from None
    except Exception as error:  # PIL's decoders raise almost any type on damaged bytes
        reason = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, Image.UnidentifiedImageError):
            reason = "no known picture format"
        raise InputError(
            f"{name} is not a readable picture ({reason}); replace or remove it"
        ) from error


def _check_size(image: Image.Image, name: str) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise InputError(
            f"{name}: {image.width}x{image.height} pixels are more than the allowed "
            f"{MAX_PIXELS}; make the picture smaller"
        )


def _upright(image: Image.Image) -> Image.Image:
    """The picture as its EXIF orientation wants it shown; as it lies where that cannot be read."""
    if "exif" not in image.info:
        return image
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except Exception:  # PIL raises almost any type; the pixels are none the worse
        return image
    turn = _TURNS.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)


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
