"""Random initial weights."""

import math

import numpy as np
from numpy.typing import NDArray


def glorot(shape: tuple[int, ...], fan_in: int, fan_out: int, random: np.random.Generator) -> NDArray[np.float64]:
    """Draw weights from U(−b, b), b = √6/√(fan_in + fan_out): formula 16 of Glorot and Bengio (2010)."""
    bound = math.sqrt(6 / (fan_in + fan_out))
    return random.uniform(-bound, bound, shape)
