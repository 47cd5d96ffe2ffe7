"""Max pooling without padding on a GPU: see kernels/max_pool.py and max_pool.cu."""

from typing import Any

import cupy

from minidl.kernels.gpu.source import ints, lanes, launch, over_pixels
from minidl.kernels.gpu.windows import kind, over_tiles
from minidl.kernels.max_pool import output_shape
from minidl.kernels.windows import index_type as argmax_type

__all__ = ["argmax_shapes", "argmax_type", "backward", "forward", "inference", "output_shape"]

Array = Any
Argmax = tuple[Array]


def argmax_shapes(shape: tuple[int, ...], size: int, stride: int) -> tuple[tuple[int, ...]]:
    """Return the shape of the one array that remembers where the maxima are, for data of (samples, y, x, c)."""
    n, *image = shape
    return ((n, *output_shape((image[0], image[1], image[2]), size, stride)),)


def forward(data: Array, size: int, stride: int, out: Array, argmax: Argmax) -> None:
    """Write the maxima into ``out`` and their places into ``argmax`` (see ``argmax_shapes`` and ``argmax_type``)."""
    n, out_y, out_x, c = out.shape
    unit = lanes(c, data, out, *argmax)
    args = (data, out, *argmax, *ints(size, stride, *data.shape[1:], out_y, out_x))
    name = f"forward_{argmax[0].dtype}_{kind(size, stride, unit)}"
    launch("max_pool", name, data.dtype, *over_pixels(n * out_y, out_x, c // unit), args)


def inference(data: Array, size: int, stride: int, out: Array) -> None:
    """Write the maxima into ``out``, without their positions."""
    (shape,) = argmax_shapes(data.shape, size, stride)
    forward(data, size, stride, out, (cupy.empty(shape, argmax_type(size)),))


def backward(error: Array, size: int, stride: int, argmax: Argmax, out: Array) -> None:
    """Write each element of the error to the place of the maximum, zero elsewhere, into ``out`` (the data's shape)."""
    _, y, x, c = out.shape
    unit = lanes(c, error, out, *argmax)
    args = (error, *argmax, out, *ints(size, stride, y, x, c, *error.shape[1:3]))
    name = f"backward_{argmax[0].dtype}_{kind(size, stride, unit)}"
    launch("max_pool", name, error.dtype, *over_tiles(out.shape, stride, unit), args)
