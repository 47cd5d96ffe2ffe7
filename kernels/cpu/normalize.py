"""Center, standardize and rescale on a CPU; kernels/normalize.py defines them.

The groups of a view are columns of matrices (see groups.py). A transform sums down the columns, and then writes
x·factor + offset; an adjoint sums as well, and then writes error·a + y·b + c. The loops in use (loops/) do both.
"""

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.cpu.groups import Layout, Sums, matrices
from minidl.kernels.cpu.loops import current

Array = NDArray[np.floating]
FIRST = 64  # rows whose mean is the first guess of a column's mean


def center(x: Array, out: Array) -> None:
    """Subtract the mean of each group: y = x − μ (equations 2, 4, 10 and 11)."""
    (data, layout), loops = matrices(x), current()
    mean = layout.mean(loops.sums(data) / data.shape[1])
    loops.shift(data, -mean[:, None].astype(x.dtype), matrices(out)[0])


def center_adjoint(error: Array, output: Array, scale: Array | None, out: Array) -> None:
    """Write ∂L/∂x = ∂L/∂y − mean(∂L/∂y): centering is a symmetric projection, its own adjoint."""
    center(error, out)


def moments(data: Array, layout: Layout) -> tuple[Sums, Sums]:
    """Return mean and variance of the group that each column belongs to, (n, 1, columns) both.

        mean = guess + mean(x − guess)        variance = mean((x − guess)²) − mean(x − guess)²

    So both come from one pass. The guess, the mean of a column's first rows, is near the mean, so that the difference
    loses no digits. The variance of a group of several columns also includes that of their means.
    """
    loops, first = current(), np.ascontiguousarray(data[:, :FIRST])
    guess = (loops.sums(first) / first.shape[1]).astype(data.dtype)[:, None]
    off, square = (sums / data.shape[1] for sums in loops.moments(data, guess))
    columns = guess[:, 0] + off
    mean = layout.mean(columns)
    variance = layout.mean(square - off**2 + (columns - mean) ** 2)
    return mean[:, None], variance[:, None]


def standardize(x: Array, out: Array, epsilon: float = 1e-5) -> Array:
    """Subtract the mean and divide by the deviation: y = (x − μ)/√(σ² + ε) (equations 3, 8 and 9)."""
    (data, layout), loops = matrices(x), current()
    mean, variance = moments(data, layout)
    scale = (1 / np.sqrt(variance + epsilon)).astype(x.dtype)
    loops.affine(data, scale, (-mean * scale).astype(x.dtype), matrices(out)[0])
    return scale


def standardize_adjoint(error: Array, output: Array, scale: Array, out: Array) -> None:
    """Write ∂L/∂x = scale·(∂L/∂y − mean(∂L/∂y) − y·mean(∂L/∂y·y)), with y = ``output``."""
    (data, layout), y, loops = matrices(error), matrices(output)[0], current()
    sums = np.stack([loops.sums(data), loops.products(data, y)])
    mean, slope = layout.mean(sums / data.shape[1])[:, :, None].astype(error.dtype)
    loops.affine2(data, scale, y, -scale * slope, -scale * mean, matrices(out)[0])


def rescale(x: Array, out: Array, k: float = 1.0, epsilon: float = 1e-12) -> Array:
    """Give each group the Euclidean length k: y = k·x/√(‖x‖² + ε) (equation 1)."""
    (data, layout), loops = matrices(x), current()
    scale = (k / np.sqrt(layout.total(loops.products(data, data))[:, None] + epsilon)).astype(x.dtype)
    loops.scale(data, scale, matrices(out)[0])
    return scale


def rescale_adjoint(error: Array, output: Array, scale: Array, out: Array, k: float = 1.0) -> None:
    """Write ∂L/∂x = scale·(∂L/∂y − y·Σ(∂L/∂y·y)/k²), with y = ``output``."""
    (data, layout), y, loops = matrices(error), matrices(output)[0], current()
    radial = (layout.total(loops.products(data, y)) / k**2)[:, None].astype(error.dtype)
    loops.affine2(data, scale, y, -scale * radial, np.zeros_like(radial), matrices(out)[0])
