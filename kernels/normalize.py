"""Center, standardize and rescale: the transforms of weights, gradients and errors, and their adjoints.

All take a view x of four axes (outer, rows, inner, lanes), see areas.py, and write into ``out`` of the same shape,
which may be x itself. Each (outer, inner) is a group, whose mean μ and deviation σ are taken over rows and lanes:

    center        y = x − μ                              WC GC EB EL        equations 2, 4, 10, 11
    standardize   y = (x − μ) / √(σ² + ε)                WS EBN ELN         equations 3, 8, 9; σ² is biased (1/n)
    rescale       y = k·x / √(‖x‖² + ε)                  WN                 equation 1

A transform returns its ``scale``, the factors by which it multiplied (None for center). The adjoint carries an error
through the transform: given ∂L/∂y, y and scale it writes ∂L/∂x.

>>> x = np.array([1.0, 2.0, 6.0]).reshape(1, 1, 1, 3)
>>> center(x, x)
>>> x.ravel()
array([-2., -1.,  3.])
"""

from typing import Any

import numpy as np

Array = Any  # numpy.ndarray or cupy.ndarray


def mean(x: Array) -> Array:
    """Return the mean of each group, (outer, 1, inner, 1), in float64: long sums in float32 would lose digits."""
    return x.mean(axis=(1, 3), dtype=np.float64, keepdims=True)


def total(x: Array) -> Array:
    """Return the sum of each group, (outer, 1, inner, 1), in float64."""
    return x.sum(axis=(1, 3), dtype=np.float64, keepdims=True)


def center(x: Array, out: Array) -> None:
    """Subtract the mean of each group: y = x − μ (equations 2, 4, 10 and 11)."""
    out[...] = x - mean(x)


def center_adjoint(error: Array, output: Array, scale: Array | None, out: Array) -> None:
    """Write ∂L/∂x = ∂L/∂y − mean(∂L/∂y): centering is a symmetric projection, its own adjoint."""
    out[...] = error - mean(error)


def standardize(x: Array, out: Array, epsilon: float = 1e-5) -> Array:
    """Subtract the mean and divide by the deviation: y = (x − μ)/√(σ² + ε) (equations 3, 8 and 9)."""
    centered = x - mean(x)
    scale = 1 / np.sqrt(mean(centered**2) + epsilon)
    out[...] = scale * centered
    return scale


def standardize_adjoint(error: Array, output: Array, scale: Array, out: Array) -> None:
    """Write ∂L/∂x = scale·(∂L/∂y − mean(∂L/∂y) − y·mean(∂L/∂y·y)), with y = ``output``."""
    out[...] = scale * (error - mean(error) - output * mean(error * output))


def rescale(x: Array, out: Array, k: float = 1.0, epsilon: float = 1e-12) -> Array:
    """Give each group the Euclidean length k: y = k·x/√(‖x‖² + ε) (equation 1)."""
    scale = k / np.sqrt(total(x**2) + epsilon)
    out[...] = scale * x
    return scale


def rescale_adjoint(error: Array, output: Array, scale: Array, out: Array, k: float = 1.0) -> None:
    """Write ∂L/∂x = scale·(∂L/∂y − y·Σ(∂L/∂y·y)/k²), with y = ``output``."""
    out[...] = scale * (error - output * total(error * output) / k**2)
