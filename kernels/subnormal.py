"""Subnormal numbers: the size below which the fast updates set weights, gradients and moments to zero.

Those of idle units decay towards zero for ever. When they become subnormal (below 1.2e-38 in float32), many processors
compute at least ten times more slowly.
"""

from typing import Any

import numpy as np


def tiny(dtype: Any) -> float:
    """Return the least size of weights, gradients and moments whose products with others do not become subnormal.

    1.2e-27 for float32; 2e-297 for float64.
    """
    return 1e11 * float(np.finfo(dtype).tiny)


def smallest_square(dtype: Any) -> float:
    """Return the least mean of a gradient's squares that does not become subnormal or zero.

    1.2e-37 for float32: gradients far below 1e-17 count as zero; at 1e-17, (1 − ψ₂)·g² has that size for ψ₂ = 0.999.
    """
    return 10 * float(np.finfo(dtype).tiny)
