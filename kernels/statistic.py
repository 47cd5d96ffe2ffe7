"""Center, standardize and rescale: the transforms behind every normalization of Table 1, and their adjoints.

All take a view x of four axes (a, r, b, s) (see areas.py) and write into ``out`` of the same shape, which may be
x itself. One statistic is taken over (r, s) for each (a, b):

    center        y = x − μ                              WC GC EB EL        equations 2, 4, 10, 11
    standardize   y = (x − μ) / √(σ² + ε)                WS EBN ELN BN …    equations 3, 5 to 9; σ² is biased (1/n)
    rescale       y = k·x / √(‖x‖² + ε)                  WN                 equation 1

A transform returns its ``scale``, the factors by which it multiplied (None for center). The adjoint carries an error
through the transform: given ∂L/∂y, y and scale it writes ∂L/∂x. How sums are taken is in groups.py.
"""

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.groups import Index, Layout, Sums, matrices, transform
from minidl.kernels.loops import current

Array = NDArray[np.floating]
FIRST = 64  # rows whose mean is a guess of the whole mean


def center(x: Array, out: Array) -> None:
    """Subtract the mean of each group: y = x − μ (equations 2, 4, 10 and 11)."""
    (data, layout), loops = matrices(x), current()

    def measure(worker: int, index: Index, x: Array, out: Array) -> tuple[Array]:
        return (loops.sums(x),)

    def finish(sums: Sums, groups: slice) -> Array:
        return -layout.mean(sums[0] / data.shape[1])[:, None].astype(x.dtype)

    def change(worker: int, index: Index, offset: Array, x: Array, out: Array) -> None:
        loops.shift(x, offset, out)

    transform(1, measure, finish, change, data, matrices(out)[0])


def center_adjoint(error: Array, output: Array, scale: Array | None, out: Array) -> None:
    """Write ∂L/∂x = ∂L/∂y − mean(∂L/∂y): centering is a symmetric projection, its own adjoint."""
    center(error, out)


class Moments:
    """Mean and variance of each group in one pass, as sums of x − guess and (x − guess)² down the columns.

    The guess, the mean of a column's first rows, is near the mean, so that nothing is lost in the difference of
    the squares.
    """

    def __init__(self, data: Array, layout: Layout) -> None:
        first = np.ascontiguousarray(data[:, :FIRST])
        self.guess = (current().sums(first) / first.shape[1]).astype(data.dtype)[:, None]
        self.rows, self.layout = data.shape[1], layout

    def measure(self, worker: int, index: Index, x: Array, *others: Array) -> tuple[Array, Array]:
        """Return the sums of a piece."""
        return current().moments(worker, x, self.guess[index[0]])

    def finish(self, sums: Sums, groups: slice) -> tuple[Sums, Sums]:
        """Return mean and variance (n, 1, columns) of the group that each column belongs to."""
        off, square = sums / self.rows
        columns = self.guess[groups, 0] + off
        mean = self.layout.mean(columns)
        variance = self.layout.mean(square - off**2 + (columns - mean) ** 2)
        return mean[:, None], variance[:, None]


def standardize(x: Array, out: Array, epsilon: float = 1e-5) -> Array:
    """Subtract the mean and divide by the deviation: y = (x − μ)/√(σ² + ε) (equations 3 and 5 to 9)."""
    (data, layout), loops = matrices(x), current()
    moments = Moments(data, layout)
    scale = np.empty((len(data), 1, data.shape[2]), x.dtype)

    def finish(sums: Sums, groups: slice) -> tuple[Array, Array]:
        mean, variance = moments.finish(sums, groups)
        scale[groups] = 1 / np.sqrt(variance + epsilon)
        return scale[groups], (-mean * scale[groups]).astype(x.dtype)

    def change(worker: int, index: Index, finished: tuple[Array, Array], x: Array, out: Array) -> None:
        loops.line(x, *finished, out)

    transform(2, moments.measure, finish, change, data, matrices(out)[0])
    return scale


def standardize_adjoint(error: Array, output: Array, scale: Array, out: Array) -> None:
    """Write ∂L/∂x = scale·(∂L/∂y − mean(∂L/∂y) − y·mean(∂L/∂y·y)), with y = ``output``."""
    (data, layout), loops = matrices(error), current()

    def measure(worker: int, index: Index, error: Array, y: Array, out: Array) -> tuple[Array, Array]:
        return loops.sums(error), loops.products(worker, error, y)

    def finish(sums: Sums, groups: slice) -> tuple[Array, ...]:
        mean, slope = layout.mean(sums / data.shape[1])[:, :, None].astype(error.dtype)
        return scale[groups], -scale[groups] * slope, -scale[groups] * mean

    def change(worker: int, index: Index, finished: tuple[Array, ...], error: Array, y: Array, out: Array) -> None:
        of_error, of_output, offset = finished
        loops.plane(worker, error, of_error, y, of_output, offset, out)

    transform(2, measure, finish, change, data, matrices(output)[0], matrices(out)[0])


def rescale(x: Array, out: Array, k: float = 1.0, epsilon: float = 1e-12) -> Array:
    """Give each group the Euclidean length k: y = k·x/√(‖x‖² + ε) (equation 1)."""
    (data, layout), loops = matrices(x), current()
    scale = np.empty((len(data), 1, data.shape[2]), x.dtype)

    def measure(worker: int, index: Index, x: Array, out: Array) -> tuple[Array]:
        return (loops.products(worker, x, x),)

    def finish(sums: Sums, groups: slice) -> Array:
        scale[groups] = k / np.sqrt(layout.total(sums[0])[:, None] + epsilon)
        return scale[groups]

    def change(worker: int, index: Index, scale: Array, x: Array, out: Array) -> None:
        loops.scale(x, scale, out)

    transform(1, measure, finish, change, data, matrices(out)[0])
    return scale


def rescale_adjoint(error: Array, output: Array, scale: Array, out: Array, k: float = 1.0) -> None:
    """Write ∂L/∂x = scale·(∂L/∂y − y·Σ(∂L/∂y·y)/k²), with y = ``output``."""
    (data, layout), loops = matrices(error), current()

    def measure(worker: int, index: Index, error: Array, y: Array, out: Array) -> tuple[Array]:
        return (loops.products(worker, error, y),)

    def finish(sums: Sums, groups: slice) -> tuple[Array, ...]:
        radial = (layout.total(sums[0]) / k**2)[:, None].astype(error.dtype)
        return scale[groups], -scale[groups] * radial, np.zeros_like(radial)

    def change(worker: int, index: Index, finished: tuple[Array, ...], error: Array, y: Array, out: Array) -> None:
        of_error, of_output, offset = finished
        loops.plane(worker, error, of_error, y, of_output, offset, out)

    transform(1, measure, finish, change, data, matrices(output)[0], matrices(out)[0])
