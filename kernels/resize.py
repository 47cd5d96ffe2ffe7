"""Bilinear interpolation to another size, corner pixels onto corner pixels, as DLIB does it; and its adjoint.

Output pixel i of n lies at i·(m − 1)/(n − 1) on an axis of m pixels, between two pixels. It is their weighted mean; the
weight of each is 1 minus its distance. Along an axis this is a matrix R (n, m) with at most two entries per row that
are not zero. For each channel

    out = Ry · data · Rxᵀ        ∂L/∂data = Ryᵀ · ∂L/∂out · Rx
"""

from typing import Any

import numpy as np

Array = Any  # numpy.ndarray or cupy.ndarray


def forward(data: Array, out: Array) -> None:
    """Write the data (samples, y, x, c), interpolated, into ``out`` (samples, Y, X, c)."""
    rows, columns = (_matrix(data.shape[axis], out.shape[axis], data) for axis in (1, 2))
    out[...] = columns @ _along_y(rows, data)


def backward(error: Array, out: Array) -> None:
    """Write the adjoint for an error (samples, Y, X, c) into ``out`` (samples, y, x, c)."""
    rows, columns = (_matrix(out.shape[axis], error.shape[axis], error) for axis in (1, 2))
    out[...] = columns.T @ _along_y(rows.T, error)


def _matrix(size: int, into: int, like: Array) -> Array:
    """Return R (into, size): the weight of each of ``size`` pixels in each of ``into`` output pixels.

    >>> _matrix(2, 3, np.zeros(1))
    array([[1. , 0. ],
           [0.5, 0.5],
           [0. , 1. ]])
    """
    places = np.arange(into, like=like) * ((size - 1) / max(into - 1, 1))
    return np.maximum(0, 1 - np.abs(places[:, None] - np.arange(size, like=like))).astype(like.dtype)


def _along_y(matrix: Array, images: Array) -> Array:
    """Return matrix · images, summed over y; ``@`` alone sums over the axis before the last, which is x."""
    return (matrix @ images.swapaxes(1, 2)).swapaxes(1, 2)
