"""Center, standardize and rescale, and their adjoints, on a GPU: see kernels/normalize.py and normalize.cu.

A contiguous group that fits into the registers of a block, such as a filter, takes one launch and one pass over memory.
All others take one pass to sum them and one pass to change them.
"""

from typing import Any

import cupy
import numpy as np

from minidl.kernels.gpu.groups import BATCH, Layout, change, finish, matrices, sums
from minidl.kernels.gpu.source import launch

Array = Any
MOST_THREADS = 512  # of a block: with more, a thread would have too few registers for its part of the group


def center(x: Array, out: Array) -> None:
    """Subtract the mean of each group: y = x − μ (equations 2, 4, 10 and 11)."""
    _transform("center", x, x, out)


def center_adjoint(error: Array, output: Array, scale: Array | None, out: Array) -> None:
    """Write ∂L/∂x = ∂L/∂y − mean(∂L/∂y): centering is a symmetric projection, its own adjoint."""
    center(error, out)


def standardize(x: Array, out: Array, epsilon: float = 1e-5) -> Array:
    """Subtract the mean and divide by the deviation: y = (x − μ)/√(σ² + ε) (equations 3, 8 and 9)."""
    return _transform("standardize", x, x, out, epsilon=epsilon)


def standardize_adjoint(error: Array, output: Array, scale: Array, out: Array) -> None:
    """Write ∂L/∂x = scale·(∂L/∂y − mean(∂L/∂y) − y·mean(∂L/∂y·y)), with y = ``output``."""
    _transform("standardize_adjoint", error, output, out, scale)


def rescale(x: Array, out: Array, k: float = 1.0, epsilon: float = 1e-12) -> Array:
    """Give each group the Euclidean length k: y = k·x/√(‖x‖² + ε) (equation 1)."""
    return _transform("rescale", x, x, out, k=k, epsilon=epsilon)


def rescale_adjoint(error: Array, output: Array, scale: Array, out: Array, k: float = 1.0) -> None:
    """Write ∂L/∂x = scale·(∂L/∂y − y·Σ(∂L/∂y·y)/k²), with y = ``output``."""
    _transform("rescale_adjoint", error, output, out, scale, k=k)


def _transform(
    name: str, x: Array, y: Array, out: Array, scale: Array | None = None, k: float = 1.0, epsilon: float = 0.0
) -> Array:
    """Run a transform or adjoint of normalize.cu; return ``scale``, the factors of x, one for each group."""
    layout = matrices(x)
    if scale is None:
        scale = cupy.empty(layout.groups, x.dtype)
    settings = (scale, np.float64(k), np.float64(epsilon))
    threads = _threads(layout)
    if layout.channels == 1 and threads <= MOST_THREADS:
        args = (x, y, out, *settings, np.int32(layout.length))
        launch("normalize", f"{name}_group", x.dtype, layout.matrices, threads, args)
        return scale
    parts = sums("normalize", x, y, layout)
    affines = cupy.empty((layout.groups, 4), x.dtype)
    n = x.size // layout.groups
    finish("normalize", f"{name}_affines", parts, layout, layout.width, np.float64(n), affines, *settings)
    change("normalize", x, y, out, affines, layout, layout.width)
    return scale


def _threads(layout: Layout) -> int:
    """Return how many threads, in whole warps, can hold a group in their registers."""
    return -(-layout.length // (BATCH * layout.vector * 32)) * 32
