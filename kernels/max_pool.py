"""Max pooling without padding: the largest element of each window.

data (samples, y, x, c), output (samples, (y − size)//stride + 1, (x − size)//stride + 1, c). Which element won is
remembered, in one byte for each maximum of windows up to 16 × 16; of equals the first wins, counted column by column.
"""

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.loops import current

Array = NDArray[np.floating]
Winners = tuple[NDArray[np.unsignedinteger], NDArray[np.unsignedinteger]]


def output_shape(shape: tuple[int, int, int], size: int, stride: int) -> tuple[int, int, int]:
    """Return (y, x, c) of the output for data of (y, x, c)."""
    y, x, c = shape
    return (y - size) // stride + 1, (x - size) // stride + 1, c


def winners_shapes(shape: tuple[int, ...], size: int, stride: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shapes of the two arrays that remember the winners for data of (samples, y, x, c)."""
    n, _, x, c = shape
    out_y, out_x, _ = output_shape((shape[1], x, c), size, stride)
    return (n, out_y, x, c), (n, out_y, out_x, c)


def winners_type(size: int) -> np.dtype[np.unsignedinteger]:
    """Return the smallest type that counts all elements of a window: uint8 up to 16 × 16, uint16 up to 256 × 256."""
    return np.min_scalar_type(size * size - 1)


def forward(data: Array, size: int, stride: int, out: Array, winners: Winners) -> None:
    """Write the maxima into ``out`` and their places into ``winners`` (see ``winners_shapes`` and ``winners_type``)."""
    current().max_pool(data, size, stride, out, *winners)


def backward(error: Array, size: int, stride: int, winners: Winners, out: Array) -> None:
    """Write each element of the error to the place that won, zero elsewhere, into ``out`` (the data's shape)."""
    current().max_pool_adjoint(error, size, stride, *winners, out)
