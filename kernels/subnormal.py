"""Subnormal numbers: the size below which the fast updates set weights, gradients and moments to zero.

Those of idle units decay towards zero for ever. Where they become subnormal (below 1.2e-38 in float32), many
processors compute ten and more times slower.
"""

from typing import Any

import numpy as np


def tiny(dtype: Any) -> float:
    """Return what weights, gradients and moments must not be below, lest their products with others become subnormal.

    1.2e-27 for float32; 2e-297 for float64.
    """
    return 1e11 * float(np.finfo(dtype).tiny)


def smallest_square(dtype: Any) -> float:
    """Return what the mean of a gradient's squares must not be below, lest it become subnormal, or zero.

    1.2e-37 for float32: gradients count as zero where they are far below 1e-17, with which (1 − ψ₂)·g² is that small
    for ψ₂ = 0.999.
    """
    return 10 * float(np.finfo(dtype).tiny)
