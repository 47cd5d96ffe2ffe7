"""Rectified linear unit (Nair and Hinton 2010).

    y = max(x, 0)        ∂L/∂x = ∂L/∂y where y > 0, else 0

>>> x = np.array([-1.0, 0.0, 2.0])
>>> forward(x, x)
>>> x
array([0., 0., 2.])
"""

from typing import Any

import numpy as np

Array = Any  # numpy.ndarray or cupy.ndarray


def forward(data: Array, out: Array) -> None:
    """Write max(data, 0) into ``out``, which may be ``data`` itself; both of one shape."""
    out[...] = np.maximum(data, 0)


def backward(error: Array, output: Array, out: Array) -> None:
    """Write the error where ``output`` is positive, else zero, into ``out``, which may be ``error`` itself."""
    out[...] = np.where(output > 0, error, 0)
