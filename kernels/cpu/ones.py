"""Vectors of ones, by which sums are products of matrices."""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def ones(length: int, dtype: Any) -> Array:
    """Return a vector of ones, which nobody may change and which stays where it is for ever."""
    return _power_of_two((length - 1).bit_length(), dtype)[:length]


@cache  # a few of them serve all lengths, however many sizes of images come
def _power_of_two(exponent: int, dtype: Any) -> Array:
    vector = np.ones(1 << exponent, dtype)
    vector.flags.writeable = False
    return vector
