"""Average pooling without padding on a GPU: see kernels/average_pool.py and average_pool.cu."""

from math import prod
from typing import Any

from minidl.kernels.gpu.source import ints, lanes, launch, over_pixels
from minidl.kernels.gpu.windows import kind, over_tiles

Array = Any
COLUMNS, ROWS = 32, 8  # channels and pixels that a block of the global average takes at a time
PIXELS = 4  # that a thread of the global average's adjoint writes; with more pixels, the error is read less often


def forward(data: Array, size: int, stride: int, out: Array) -> None:
    """Write the mean of each size × size window into ``out``."""
    n, out_y, out_x, c = out.shape
    unit = lanes(c, data, out)
    args = (data, out, *ints(size, stride, *data.shape[1:], out_y, out_x))
    name = f"forward_{kind(size, stride, unit)}"
    launch("average_pool", name, data.dtype, *over_pixels(n * out_y, out_x, c // unit), args)


def backward(error: Array, size: int, stride: int, out: Array) -> None:
    """Spread each element of the error evenly over its window: the adjoint of forward, written into ``out``."""
    _, y, x, c = out.shape
    unit = lanes(c, error, out)
    args = (error, out, *ints(size, stride, y, x, c, *error.shape[1:3]))
    name = f"backward_{kind(size, stride, unit)}"
    launch("average_pool", name, error.dtype, *over_tiles(out.shape, stride, unit), args)


def forward_global(data: Array, out: Array) -> None:
    """Write the mean of each plane into ``out`` (samples, c)."""
    n, *plane, c = data.shape
    args = (data, out, *ints(prod(plane), c))
    launch("average_pool", "forward_global", data.dtype, (n, -(-c // COLUMNS)), (COLUMNS, ROWS), args)


def backward_global(error: Array, out: Array) -> None:
    """Spread each element of the error (samples, c) evenly over its plane of ``out`` (samples, y, x, c)."""
    n, *plane, c = out.shape
    unit = lanes(c, error, out)
    (_, down, across), block = over_pixels(n, prod(plane), c // unit)
    args = (error, out, *ints(prod(plane), c))
    name = f"backward_global_{'vector' if unit > 1 else 'one'}"
    launch("average_pool", name, error.dtype, (n, -(-down // PIXELS), across), block, args)
