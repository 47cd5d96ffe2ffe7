"""Bilinear interpolation to another size, and its adjoint, on a GPU: see kernels/resize.py and resize.cu."""

from typing import Any

from minidl.kernels.gpu.source import ints, lanes, launch, over_pixels

Array = Any


def forward(data: Array, out: Array) -> None:
    """Write the data (samples, y, x, c), interpolated, into ``out`` (samples, Y, X, c)."""
    n, out_y, out_x, c = out.shape
    unit = lanes(c, data, out)
    args = (data, out, *ints(*data.shape[1:3], out_y, out_x, c, unit))
    launch("resize", "forward", data.dtype, *over_pixels(n * out_y, out_x, c // unit), args)


def backward(error: Array, out: Array) -> None:
    """Write the adjoint for an error (samples, Y, X, c) into ``out`` (samples, y, x, c)."""
    n, y, x, c = out.shape
    unit = lanes(c, error, out)
    args = (error, out, *ints(y, x, *error.shape[1:3], c, unit))
    launch("resize", "backward", error.dtype, *over_pixels(n * y, x, c // unit), args)
