"""Vectors of ones, with which sums are matrix products."""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def ones(length: int, dtype: Any) -> Array:
    """Return a read-only vector of ones, whose memory never moves."""
    return _power_of_two((length - 1).bit_length(), dtype)[:length]


@cache  # a few vectors are enough for all lengths
def _power_of_two(exponent: int, dtype: Any) -> Array:
    vector = np.ones(1 << exponent, dtype)
    vector.flags.writeable = False
    return vector
