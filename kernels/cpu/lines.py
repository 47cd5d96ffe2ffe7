"""Lines: weights that do not change, in the order in which a product with windows reads them.

Filters are grouped; a group has as many as numbers fit into a cache line, and the last group is filled up with zeros. A
line has the weights of the filters of a group for one element of a window. The result has the shape (groups of filters,
elements of a window, numbers of a line).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.cpu.scratch import ALIGNMENT, allocate

Array = NDArray[Any]


def per_line(dtype: Any) -> int:
    """Return how many numbers a line has, which is also the number of filters of a group."""
    return ALIGNMENT // np.dtype(dtype).itemsize


def in_lines(weights: Array) -> Array:
    """Return weights (filters, …) in lines, (groups of filters, elements of a window, numbers of a line)."""
    filters, width = len(weights), per_line(weights.dtype)
    matrix = weights.reshape(filters, -1)
    shape = -(-filters // width), matrix.shape[1], width
    lines = allocate(int(np.prod(shape)) * weights.itemsize).view(weights.dtype).reshape(shape)
    for group, first in zip(lines, range(0, filters, width), strict=True):
        some = matrix[first : first + width]
        group[:, : len(some)] = some.T
        group[:, len(some) :] = 0
    return lines
