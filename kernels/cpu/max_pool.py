"""Max pooling without padding: the largest element of each window.

data (samples, y, x, c), output (samples, (y − size)//stride + 1, (x − size)//stride + 1, c). Which element won is
remembered, in one byte for each maximum of windows up to 16 × 16; of equals the first wins, counted column by column.
"""

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.cpu.loops import current
from minidl.kernels.max_pool import output_shape
from minidl.kernels.windows import index_type as winners_type

__all__ = ["backward", "forward", "output_shape", "winners_shapes", "winners_type"]

Array = NDArray[np.floating]
Winners = tuple[NDArray[np.unsignedinteger], NDArray[np.unsignedinteger]]


def winners_shapes(shape: tuple[int, ...], size: int, stride: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shapes of the two arrays that remember the winners for data of (samples, y, x, c)."""
    n, _, x, c = shape
    out_y, out_x, _ = output_shape((shape[1], x, c), size, stride)
    return (n, out_y, x, c), (n, out_y, out_x, c)


def forward(data: Array, size: int, stride: int, out: Array, winners: Winners) -> None:
    """Write the maxima into ``out`` and their places into ``winners`` (see ``winners_shapes`` and ``winners_type``)."""
    current().max_pool(data, size, stride, out, *winners)


def backward(error: Array, size: int, stride: int, winners: Winners, out: Array) -> None:
    """Write each element of the error to the place that won, zero elsewhere, into ``out`` (the data's shape)."""
    current().max_pool_adjoint(error, size, stride, *winners, out)
