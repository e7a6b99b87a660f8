"""The one reader of pictures: a file, its bytes or an open picture becomes a uint8 tensor."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFile, ImageOps
from torch import Tensor

from ghostnet_small.errors import InputError

# Raster formats only. Left out are those that PIL hands to another program (EPS would start
# Ghostscript) or that are documents rather than pictures.
FORMATS = (
    *("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF"),
    *("DIB", "ICO", "PCX", "QOI", "SGI", "TGA"),
)
GREY_MODES = ("1", "L", "LA")
MODES = (*GREY_MODES, "P", "RGB", "RGBA")
MAX_PIXELS = 64_000_000  # a larger picture is taken for a decompression bomb


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


@contextmanager
def _whole_pictures_only() -> Iterator[None]:
    """Truncated files fail, even where another library asked PIL to fill them with grey."""
    before = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


def read_picture(
    source: str | Path | bytes | Image.Image,
    *,
    channels: int | None = None,
    size: int | tuple[int, int] | None = None,
    name: str | None = None,
) -> Tensor:
    """A picture as uint8 ``(C, H, W)``, C = 1 or 3.

    ``channels`` None keeps grey pictures (modes 1, L, LA) at one channel and all others at
    three. Transparent pixels are laid over white; of an animation the first frame is read; an
    EXIF orientation is applied. ``size`` resizes to ``size x size``, or to (height, width)
    (bilinear, antialiased; the sides' ratio is not kept). ``name`` stands in
    messages, by default the path.

    Raises ``InputError`` with the picture's name where it is missing, corrupt, truncated, too
    large or of another mode.
    """
    if name is None:
        name = str(source) if isinstance(source, str | Path) else "picture"
    if isinstance(source, Image.Image):
        return _to_tensor(source, channels, size, name)
    content = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        with _whole_pictures_only(), Image.open(content, formats=_formats()) as image:
            if image.width * image.height > MAX_PIXELS:
                raise InputError(
                    f"{name}: {image.width}x{image.height} pixels are more than the allowed "
                    f"{MAX_PIXELS}; make the picture smaller"
                )
            image.load()
            upright = ImageOps.exif_transpose(image) if "exif" in image.info else image
            return _to_tensor(upright, channels, size, name)
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


def _to_tensor(
    image: Image.Image, channels: int | None, size: int | tuple[int, int] | None, name: str
) -> Tensor:
    if image.mode not in MODES:
        raise InputError(
            f"{name}: mode {image.mode} is not one of {', '.join(MODES)}; save the picture as "
            "8-bit grey or RGB"
        )
    grey = image.mode in GREY_MODES
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
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
