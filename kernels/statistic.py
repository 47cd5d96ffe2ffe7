"""Center, standardize and rescale: the transforms behind every normalization of Table 1, and their adjoints.

All take a view x of four axes (a, r, b, s) (see areas.py) and write into ``out`` of the same shape, which may be
x itself. One statistic is taken over (r, s) for each (a, b):

    center        y = x − μ                              WC GC EB EL        equations 2, 4, 10, 11
    standardize   y = (x − μ) / √(σ² + ε)                WS EBN ELN BN …    equations 3, 5 to 9; σ² is biased (1/n)
    rescale       y = k·x / √(‖x‖² + ε)                  WN                 equation 1

A transform returns its ``scale``, the factor of each group by which it multiplied (None for center), of shape
(a, 1, b, 1). The adjoint carries an error through the transform: given ∂L/∂y, y and scale it writes ∂L/∂x.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.threads import share

Array = NDArray[np.floating]
GRAIN = 1 << 15  # elements below which waking a thread costs more than it brings


def _share(work: Callable[[int, tuple[slice, ...]], None], x: Array) -> int:
    """Share x among the workers along its first axis that is longer than one; return that axis (0 or 1)."""
    axis = 0 if x.shape[0] > 1 else 1
    least = max(1, GRAIN * x.shape[axis] // max(x.size, 1))

    def part(worker: int, start: int, stop: int) -> None:
        work(worker, (slice(None),) * axis + (slice(start, stop),))

    share(part, x.shape[axis], least)
    return axis


def _sums(x: Array, y: Array | None = None) -> Array:
    """Return Σ x, or Σ x·y, over (r, s) for each (a, b)."""
    parts: dict[int, Array] = {}

    def work(worker: int, part: tuple[slice, ...]) -> None:
        if y is None:
            parts[worker] = x[part].sum(axis=(1, 3), keepdims=True)
        else:
            parts[worker] = np.einsum("arbs,arbs->ab", x[part], y[part])[:, None, :, None]

    axis = _share(work, x)
    pieces = [parts[worker] for worker in sorted(parts)]
    return np.concatenate(pieces) if axis == 0 else np.add.reduce(pieces)


def _combine(operation: np.ufunc, x: Array, statistic: Array, out: Array) -> None:
    """Write ``operation(x, statistic)`` into ``out``, the statistic of each (a, b) spread over (r, s)."""

    def work(worker: int, part: tuple[slice, ...]) -> None:
        rows = part if statistic.shape[0] > 1 else ()
        operation(x[part], statistic[rows], out=out[part])

    _share(work, x)


def _count(x: Array) -> int:
    return x.shape[1] * x.shape[3]


def center(x: Array, out: Array) -> None:
    """Subtract the mean of each group: y = x − μ (equations 2, 4, 10 and 11)."""
    _combine(np.subtract, x, _sums(x) / _count(x), out)


def center_adjoint(error: Array, output: Array, scale: Array | None, out: Array) -> None:
    """Write ∂L/∂x = ∂L/∂y − mean(∂L/∂y): centering is a symmetric projection, its own adjoint."""
    center(error, out)


def standardize(x: Array, out: Array, epsilon: float = 1e-5) -> Array:
    """Subtract the mean and divide by the deviation: y = (x − μ)/√(σ² + ε) (equations 3 and 5 to 9)."""
    center(x, out)
    scale = 1 / np.sqrt(_sums(out, out) / _count(x) + epsilon)
    _combine(np.multiply, out, scale, out)
    return scale


def standardize_adjoint(error: Array, output: Array, scale: Array, out: Array) -> None:
    """Write ∂L/∂x = scale·(∂L/∂y − mean(∂L/∂y) − y·mean(∂L/∂y·y)), with y = ``output``."""
    mean, slope = _sums(error) / _count(error), _sums(error, output) / _count(error)

    def work(worker: int, part: tuple[slice, ...]) -> None:
        rows = part if scale.shape[0] > 1 else ()
        along = output[part] * slope[rows]
        along += mean[rows]
        np.subtract(error[part], along, out=out[part])
        out[part] *= scale[rows]

    _share(work, error)


def rescale(x: Array, out: Array, k: float = 1.0, epsilon: float = 1e-12) -> Array:
    """Give each group the Euclidean length k: y = k·x/√(‖x‖² + ε) (equation 1)."""
    scale = k / np.sqrt(_sums(x, x) + epsilon)
    _combine(np.multiply, x, scale, out)
    return scale


def rescale_adjoint(error: Array, output: Array, scale: Array, out: Array, k: float = 1.0) -> None:
    """Write ∂L/∂x = scale·(∂L/∂y − y·Σ(∂L/∂y·y)/k²), with y = ``output``."""
    radial = _sums(error, output) / k**2

    def work(worker: int, part: tuple[slice, ...]) -> None:
        rows = part if scale.shape[0] > 1 else ()
        along = output[part] * radial[rows]
        np.subtract(error[part], along, out=out[part])
        out[part] *= scale[rows]

    _share(work, error)
