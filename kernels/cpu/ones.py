"""Vectors of ones: the product of a matrix with one is the sum of its columns."""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def ones(length: int, dtype: Any) -> Array:
    """Return a read-only vector of ones; recorded programs may keep its address, because it is never freed."""
    return _power_of_two((length - 1).bit_length(), dtype)[:length]


@cache  # each vector serves all lengths up to its own
def _power_of_two(exponent: int, dtype: Any) -> Array:
    vector = np.ones(1 << exponent, dtype)
    vector.flags.writeable = False
    return vector
