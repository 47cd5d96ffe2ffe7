"""Lines: weights that do not change, in the order in which a product with windows reads them.

As many filters are grouped as numbers fit into a cache line; missing filters are zeros. For each element of a window,
one line has the weights of these filters, and the lines follow each other: (groups of filters, elements of a window,
numbers of a line).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.cpu.scratch import ALIGNMENT, allocate

Array = NDArray[Any]


def per_line(dtype: Any) -> int:
    """Return how many numbers, and so filters, a line has."""
    return ALIGNMENT // np.dtype(dtype).itemsize


def in_lines(weights: Array) -> Array:
    """Return weights (filters, …) in lines."""
    filters, width = len(weights), per_line(weights.dtype)
    matrix = weights.reshape(filters, -1)
    shape = -(-filters // width), matrix.shape[1], width
    lines = allocate(int(np.prod(shape)) * weights.itemsize).view(weights.dtype).reshape(shape)
    for group, first in zip(lines, range(0, filters, width), strict=True):
        some = matrix[first : first + width]
        group[:, : len(some)] = some.T
        group[:, len(some) :] = 0
    return lines
