"""Max pooling without padding on a GPU: see kernels/max_pool.py and max_pool.cu."""

from typing import Any

import cupy

from minidl.kernels.gpu.source import ints, lanes, launch, over_pixels
from minidl.kernels.gpu.windows import kind, over_tiles
from minidl.kernels.windows import index_type

Array = Any


def forward(data: Array, size: int, stride: int, out: Array, buffer: Any) -> Array:
    """Write the maxima into ``out``, and return the number of each one's pixel in its window.

    buffer: buffer(name, shape, dtype) gives the array for these numbers.
    """
    argmax = buffer("argmax", out.shape, index_type(size))
    n, out_y, out_x, c = out.shape
    unit = lanes(c, data, out, argmax)
    args = (data, out, argmax, *ints(size, stride, *data.shape[1:], out_y, out_x))
    name = f"forward_{argmax.dtype}_{kind(size, stride, unit)}"
    launch("max_pool", name, data.dtype, *over_pixels(n * out_y, out_x, c // unit), args)
    return argmax


def inference(data: Array, size: int, stride: int, out: Array) -> None:
    """Write the maxima into ``out``, without their positions."""
    forward(data, size, stride, out, lambda _, shape, dtype: cupy.empty(shape, dtype))


def backward(error: Array, size: int, stride: int, argmax: Array, out: Array) -> None:
    """Write each element of the error to the place of the maximum, zero elsewhere, into ``out`` (the data's shape).

    argmax: of ``forward``.
    """
    _, y, x, c = out.shape
    unit = lanes(c, error, out, argmax)
    args = (error, argmax, out, *ints(size, stride, y, x, c, *error.shape[1:3]))
    name = f"backward_{argmax.dtype}_{kind(size, stride, unit)}"
    launch("max_pool", name, error.dtype, *over_tiles(out.shape, stride, unit), args)
