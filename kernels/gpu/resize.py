"""Bilinear interpolation to another size, and its adjoint, on a GPU: see kernels/resize.py and resize.cu."""

from typing import Any

from minidl.kernels.gpu.source import ints, lanes, launch, over_pixels

Array = Any
# The most pixels of a column per thread, which computes the neighbours along the row only once.
ROWS = {"forward": 16, "backward": 32}
BLOCKS = 1024  # with fewer, threads take fewer rows


def forward(data: Array, out: Array) -> None:
    """Write the data (samples, y, x, c), interpolated, into ``out`` (samples, Y, X, c)."""
    _launch("forward", data, out, (*data.shape[1:3], *out.shape[1:3]))


def backward(error: Array, out: Array) -> None:
    """Write the adjoint for an error (samples, Y, X, c) into ``out`` (samples, y, x, c)."""
    _launch("backward", error, out, (*out.shape[1:3], *error.shape[1:3]))


def _launch(kernel: str, source: Array, out: Array, extents: tuple[int, ...]) -> None:
    n, y, x, c = out.shape
    unit = lanes(c, source, out)
    name = f"{kernel}_{'vector' if unit > 1 else 'one'}"
    (_, down, across), block = over_pixels(1, x, c // unit)
    rows = max(1, min(ROWS[kernel], n * y * down * across // BLOCKS))
    grid = n * -(-y // rows), down, across
    launch("resize", name, out.dtype, grid, block, (source, out, *ints(*extents, c, rows)))
