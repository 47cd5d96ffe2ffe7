"""Column sums and affine maps, x·factor + offset, of matrices, in NumPy: piece by piece; see __init__.py.

Each worker takes some of the matrices, or some rows of a single one, in pieces that stay in its core's cache from one
pass of NumPy to the next. The sums of the columns of a piece are its product with a vector of ones; they are added up
in float64.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.cpu.ones import ones
from minidl.kernels.cpu.scratch import carve
from minidl.kernels.cpu.threads import share, workers

Array = NDArray[np.floating]
Index = tuple[slice, slice]  # which matrices, and which of their rows, make a piece
PIECE = 1 << 18  # elements; with smaller ones, two threads mostly wait for the interpreter's lock (GIL)
_MIN_PER_THREAD = 1 << 18  # elements; with fewer, a second thread costs more than it gains


def _each(work: Callable[[int, Index], Any], shape: tuple[int, ...]) -> None:
    """Call ``work(worker, index)`` for all pieces of arrays of ``shape``, shared among all workers."""
    n, rows, columns = shape
    several, height = max(1, PIECE // (rows * columns)), max(1, PIECE // columns)

    def of_one(worker: int, start: int, stop: int) -> None:
        for row in range(start, stop, height):
            work(worker, (slice(0, 1), slice(row, min(row + height, stop))))

    def of_many(worker: int, start: int, stop: int) -> None:
        for i in range(start, stop, several):
            for row in range(0, rows, height):
                work(worker, (slice(i, min(i + several, stop)), slice(row, min(row + height, rows))))

    if n == 1:
        share(of_one, rows, _MIN_PER_THREAD // columns + 1)
    else:
        share(of_many, n, _MIN_PER_THREAD // (rows * columns) + 1)


def _total(count: int, measure: Callable[..., tuple[Array, ...]], *arrays: Array) -> Array:
    """Return ``count`` sums for each column, (count, n, columns).

    ``measure(worker, matrices, *pieces)`` returns the sums of one piece.
    """
    n, _, columns = arrays[0].shape
    totals = np.zeros((workers() if n == 1 else 1, count, n, columns))

    def work(worker: int, index: Index) -> None:
        total = totals[worker % len(totals)]
        for i, part in enumerate(measure(worker, index[0], *(array[index] for array in arrays))):
            total[i, index[0]] += part

    _each(work, arrays[0].shape)
    return totals.sum(axis=0)


def sums(x: Array) -> Array:
    """Return Σ x of each column, (n, columns)."""
    return _total(1, lambda worker, matrices, x: (_sums(x),), x)[0]


def products(x: Array, y: Array) -> Array:
    """Return Σ x·y of each column, (n, columns)."""

    def measure(worker: int, matrices: slice, x: Array, y: Array) -> tuple[Array]:
        (product,) = carve(worker, x.dtype, x.shape)
        np.multiply(x, y, out=product)
        return (_sums(product),)

    return _total(1, measure, x, y)[0]


def moments(x: Array, guess: Array) -> tuple[Array, Array]:
    """Return Σ (x − guess) and Σ (x − guess)² of each column, (n, columns); guess: (n, 1, columns)."""

    def measure(worker: int, matrices: slice, x: Array) -> tuple[Array, Array]:
        (centered,) = carve(worker, x.dtype, x.shape)
        np.subtract(x, guess[matrices], out=centered)
        first = _sums(centered)
        centered *= centered
        return first, _sums(centered)

    first, second = _total(2, measure, x)
    return first, second


def covariance(error: Array, x: Array, mean: Array) -> tuple[Array, Array]:
    """Return Σ error and Σ error·(x − mean) of each column, (n, columns); mean: (n, 1, columns)."""

    def measure(worker: int, matrices: slice, error: Array, x: Array) -> tuple[Array, Array]:
        (product,) = carve(worker, x.dtype, x.shape)
        np.subtract(x, mean[matrices], out=product)
        product *= error
        return _sums(error), _sums(product)

    of_error, of_both = _total(2, measure, error, x)
    return of_error, of_both


def shift(x: Array, offset: Array, out: Array) -> None:
    """Write x + offset; offset: (n, 1, columns); ``out`` may be x."""
    _each(lambda worker, index: np.add(x[index], offset[index[0]], out=out[index]), x.shape)


def scale(x: Array, factor: Array, out: Array) -> None:
    """Write x·factor; factor: (n, 1, columns); ``out`` may be x."""
    _each(lambda worker, index: np.multiply(x[index], factor[index[0]], out=out[index]), x.shape)


def affine(x: Array, factor: Array, offset: Array, out: Array, relu: bool = False) -> None:
    """Write x·factor + offset or, with ReLU, the maximum of that and 0; ``out`` may be x."""

    def work(worker: int, index: Index) -> None:
        result = out[index]
        np.multiply(x[index], factor[index[0]], out=result)
        result += offset[index[0]]
        if relu:
            np.maximum(result, x.dtype.type(0), out=result)

    _each(work, x.shape)


def affine2(x: Array, of_x: Array, y: Array, of_y: Array, offset: Array, out: Array) -> None:
    """Write x·of_x + y·of_y + offset; ``out`` may be x or y."""

    def work(worker: int, index: Index) -> None:
        matrices, result = index[0], out[index]
        (along,) = carve(worker, x.dtype, result.shape)
        np.multiply(y[index], of_y[matrices], out=along)
        along += offset[matrices]
        np.multiply(x[index], of_x[matrices], out=result)
        result += along

    _each(work, x.shape)


def _sums(x: Array) -> Array:
    """Return Σ x of each column of a piece."""
    down = ones(x.shape[1], x.dtype)
    return (x[:, :, 0] @ down)[:, None] if x.shape[2] == 1 else down @ x
