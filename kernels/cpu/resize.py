"""Bilinear interpolation to another size, corner pixels onto corner pixels, as DLIB does it; and its adjoint.

Output pixel i of n lies at i·(m − 1)/(n − 1) on an axis of m pixels, between two pixels. It is their weighted mean; the
weight of each is 1 minus its distance. Along an axis this is a matrix R (n, m) with at most two entries per row that
are not zero: out = Ry · data · Rxᵀ for each channel, and the adjoint is Ryᵀ · error · Rx.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.cpu.program import PerImage, Program, Recorder
from minidl.kernels.cpu.scratch import carve

Array = NDArray[Any]
_recorder = Recorder()


@lru_cache(64)
def interpolation(size: int, into: int, dtype: Any) -> Array:
    """Return the matrix (into, size) that interpolates ``size`` pixels at ``into`` places."""
    places = np.arange(into) * ((size - 1) / max(into - 1, 1))
    return np.maximum(0, 1 - np.abs(places[:, None] - np.arange(size))).astype(dtype)


def forward(data: Array, out: Array) -> None:
    """Write the data (samples, y, x, c), interpolated, into ``out`` (samples, Y, X, c)."""
    (_, y, x, _), (_, out_y, out_x, _) = data.shape, out.shape
    _apply(interpolation(y, out_y, data.dtype), interpolation(x, out_x, data.dtype), data, out)


def backward(error: Array, out: Array) -> None:
    """Write the adjoint for an error (samples, Y, X, c) into ``out`` (samples, y, x, c)."""
    (_, y, x, _), (_, error_y, error_x, _) = out.shape, error.shape
    _apply(interpolation(y, error_y, error.dtype).T, interpolation(x, error_x, error.dtype).T, error, out)


def _apply(rows: Array, columns: Array, data: Array, out: Array) -> None:
    """Write rows · data · columnsᵀ of each channel into ``out``."""
    _, _, x, channels = data.shape

    def write(worker: int, start: int, stop: int) -> list[Program]:
        program = Program(1, range(start, stop))
        (between,) = carve(worker, data.dtype, (1, len(rows), x, channels))
        program.product(rows, PerImage(data.reshape(len(data), data.shape[1], -1)), between.reshape(1, len(rows), -1))
        program.product(columns, between, PerImage(out))
        return [program]

    _recorder.run(len(data), (rows, columns, data, out), write)
