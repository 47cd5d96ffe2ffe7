"""Subnormal numbers: the size below which the fast updates set weights, gradients and moments to zero.

Weights and moments of units that are never active decay towards zero without end. As soon as they are subnormal (below
1.2e-38 in float32), many processors compute at least ten times more slowly.
"""

from typing import Any

import numpy as np


def tiny(dtype: Any) -> float:
    """Return the least size of weights, gradients and moments whose products with others do not become subnormal.

    1.2e-27 for float32; 2e-297 for float64.
    """
    return 1e11 * float(np.finfo(dtype).tiny)


def smallest_square(dtype: Any) -> float:
    """Return the lower bound of V, Adam's mean of squared gradients, which keeps it from being zero or subnormal.

    1.2e-37 for float32. Gradients g far below 1e-17 no longer change V: with ψ₂ = 0.999, (1 − ψ₂)·g² is about as large
    as the bound for g = 1e-17.
    """
    return 10 * float(np.finfo(dtype).tiny)
