"""Maps (pixels by channels), and the operations on them other than convolutions and norms."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ghostnet_small.fast.gpu import map_kernels

# Numbers in a program's tile.
TILE = 1024
# Columns of a tile.
WIDTHS = (8, 16, 32, 64)
# A multiple of this many columns suits the matrix units.
ALIGNED = 16


class Map(NamedTuple):
    """Some columns of ``base`` ``(pixels, all columns)``, which is contiguous: pixels' channels."""

    base: Tensor
    offset: int
    columns: int

    @property
    def at(self) -> tuple[int, int]:
        """Return offset and stride, in units of two numbers, as the kernels take them."""
        return self.offset // 2, self.base.shape[1] // 2

    @property
    def rows(self) -> Tensor:
        """Return the columns as a matrix."""
        return self.base[:, self.offset : self.offset + self.columns]


class Size(NamedTuple):
    """The number of images, and the height and width of each."""

    pictures: int
    height: int
    width: int

    @property
    def pixels(self) -> int:
        """Return the number of pixels of all images."""
        return self.pictures * self.height * self.width

    @property
    def halved(self) -> Size:
        """Return the size after ``pool``."""
        return Size(self.pictures, self.height // 2, self.width // 2)


def whole(base: Tensor) -> Map:
    """Return the map of all columns of ``base``."""
    return Map(base, 0, base.shape[1])


def real_of(dtype: torch.dtype) -> torch.dtype:
    """Return the type that sums of ``dtype`` are kept in."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def tile(columns: int) -> dict[str, int]:
    """Return the rows and columns of a program's tile."""
    # As wide as possible, for memory is read in sectors, unless much of the tile would be empty.
    least = min(-columns % wide for wide in WIDTHS)
    wide = max(w for w in WIDTHS if 5 * (-columns % w) <= columns or -columns % w == least)
    return {"ROWS": TILE // wide, "COLUMNS": wide}


def grid(rows: int, columns: int, most: int | None = None) -> tuple[int]:
    """Return the number of programs whose tiles cover a map, at most ``most`` for each column."""
    size = tile(columns)
    high = -(-rows // size["ROWS"])
    return ((high if most is None else min(high, most)) * -(-columns // size["COLUMNS"]),)


def patches(x: Tensor, kernel: int, dtype: torch.dtype) -> Tensor:
    """Return the windows of a ``kernel x kernel`` convolution of stride 1 over ``(N, C, H, W)``.

    Shape ``(N * H * W, K)``: tap by tap the channels, then zeros up to a multiple of 16.
    """
    n, channels, height, width = x.shape
    columns = -(-kernel * kernel * channels // ALIGNED) * ALIGNED
    out = torch.empty(n * height * width, columns, dtype=dtype, device=x.device)
    map_kernels.patches[grid(len(out), columns)](
        x, out, n, channels, height, width, *x.stride(), columns, KERNEL=kernel, **tile(columns)
    )
    return out


def pool(x: Tensor, size: Size) -> Tensor:
    """Return means of 2x2 pixels; a last odd row or column is left out."""
    out = x.new_empty(size.halved.pixels, x.shape[1])
    map_kernels.pool[grid(*out.shape)](x, out, *size, x.shape[1] // 2, **tile(x.shape[1]))
    return out


def add_pool_slope(grad: Tensor, dx: Tensor, size: Size) -> None:
    """Add the gradient through ``pool``, of images of ``size``, to ``dx``."""
    map_kernels.add_pool_slope[grid(*dx.shape)](
        grad, dx, *size, dx.shape[1] // 2, **tile(dx.shape[1])
    )


def gate(x: Tensor, z: Tensor, size: Size, small: Size) -> Tensor:
    """Return ``x`` times the sigmoid of ``z``, which is stretched from ``small`` to ``size``."""
    out = torch.empty_like(x)
    map_kernels.gate[grid(*x.shape)](
        x, z, out, *size, small.height, small.width, x.shape[1] // 2, **tile(x.shape[1])
    )
    return out


def gate_slopes(
    grad: Tensor, x: Tensor, z: Tensor, size: Size, small: Size
) -> tuple[Tensor, Tensor]:
    """Return the gradients of ``x`` and ``z`` in ``gate``."""
    dx, dz = torch.empty_like(x), torch.empty_like(z)
    even = size.height == 2 * small.height and size.width == 2 * small.width
    map_kernels.gate_slopes[grid(*z.shape)](
        grad,
        x,
        z,
        dx,
        dz,
        *size,
        small.height,
        small.width,
        x.shape[1] // 2,
        MOST=2 if even else 3,
        **tile(x.shape[1]),
    )
    return dx, dz


def _by_picture(x: Tensor, pictures: int) -> tuple[tuple[int, int], dict[str, int]]:
    columns = x.shape[1]
    return (-(-columns // 16), pictures), {"ROWS": 32, "COLUMNS": 16}


def means(x: Tensor, size: Size) -> Tensor:
    """Return the mean of each image's channels ``(N, C)``."""
    real = real_of(x.dtype)
    out = torch.empty(size.pictures, x.shape[1], dtype=real, device=x.device)
    programs, shape = _by_picture(x, size.pictures)
    map_kernels.means[programs](x, out, size.height * size.width, x.shape[1] // 2, **shape)
    return out


def excite(x: Tensor, v: Tensor, size: Size) -> Tensor:
    """Return ``x`` times the hard sigmoid of ``v``, float32 ``(N, C)``."""
    out = torch.empty_like(x)
    map_kernels.excite[grid(*x.shape)](
        x, v, out, size.pictures, size.height * size.width, x.shape[1] // 2, **tile(x.shape[1])
    )
    return out


def excite_sums(grad: Tensor, x: Tensor, v: Tensor, size: Size) -> Tensor:
    """Return the gradient of ``v`` in ``excite``."""
    dv = torch.empty_like(v)
    programs, shape = _by_picture(x, size.pictures)
    map_kernels.excite_sums[programs](
        grad, x, v, dv, size.height * size.width, x.shape[1] // 2, **shape
    )
    return dv


def excite_slopes(grad: Tensor, v: Tensor, of_mean: Tensor, size: Size) -> Tensor:
    """Return the gradient of ``x`` in ``excite`` and through the ``means`` behind ``v``."""
    dx = torch.empty_like(grad)
    map_kernels.excite_slopes[grid(*dx.shape)](
        grad,
        v,
        of_mean,
        dx,
        size.pictures,
        size.height * size.width,
        dx.shape[1] // 2,
        **tile(dx.shape[1]),
    )
    return dx
