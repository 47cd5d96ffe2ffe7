"""The innermost loops in NumPy; see loops.py.

Matrices are (n, rows, columns), and what is said of columns is (n, columns) or, to be applied to them, (n, 1, columns).
``worker`` is who calls: its scratch memory holds what a loop needs in between.
"""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.scratch import cut

Array = NDArray[np.floating]
Winners = NDArray[np.uint8]
KEEPS_TABLES = False  # of products


# -- sums down the columns of matrices, and lines, x·factor + offset ----------------------------------------------


def sums(x: Array) -> Array:
    """Return Σ x."""
    ones = _ones(x.shape[1], x.dtype)
    return (x[:, :, 0] @ ones)[:, None] if x.shape[2] == 1 else ones @ x


def products(worker: int, x: Array, y: Array) -> Array:
    """Return Σ x·y."""
    (product,) = cut(worker, x.dtype, x.shape)
    np.multiply(x, y, out=product)
    return sums(product)


def moments(worker: int, x: Array, guess: Array) -> tuple[Array, Array]:
    """Return Σ (x − guess) and Σ (x − guess)²; guess: (n, 1, columns)."""
    (centered,) = cut(worker, x.dtype, x.shape)
    np.subtract(x, guess, out=centered)
    first = sums(centered)
    centered *= centered
    return first, sums(centered)


def covariance(worker: int, error: Array, x: Array, mean: Array) -> tuple[Array, Array]:
    """Return Σ error and Σ error·(x − mean); mean: (n, 1, columns)."""
    (product,) = cut(worker, x.dtype, x.shape)
    np.subtract(x, mean, out=product)
    product *= error
    return sums(error), sums(product)


def shift(x: Array, offset: Array, out: Array) -> None:
    """Write x + offset."""
    np.add(x, offset, out=out)


def scale(x: Array, factor: Array, out: Array) -> None:
    """Write x·factor."""
    np.multiply(x, factor, out=out)


def line(x: Array, factor: Array, offset: Array, out: Array, rectify: bool = False) -> None:
    """Write x·factor + offset or, to rectify, the maximum of that and 0."""
    np.multiply(x, factor, out=out)
    out += offset
    if rectify:
        relu(out, out)


def plane(worker: int, x: Array, of_x: Array, y: Array, of_y: Array, offset: Array, out: Array) -> None:
    """Write x·of_x + y·of_y + offset; ``out`` may be x or y."""
    (along,) = cut(worker, x.dtype, x.shape)
    np.multiply(y, of_y, out=along)
    along += offset
    np.multiply(x, of_x, out=out)
    out += along


@cache
def _ones(length: int, dtype: Any) -> Array:
    return np.ones(length, dtype)


# -- matrix products, see products.py ---------------------------------------------------------------------------------


def multiply(worker: int, products: Any) -> None:
    """Compute a list of products for all its chunks."""
    for start in products.starts:
        chunk = slice(start, start + products.samples)
        for *operands, moving, accumulate in products.steps:
            left, right, out = (array[chunk] if moves else array for array, moves in zip(operands, moving, strict=True))
            if accumulate:
                (product,) = cut(f"products {worker}", out.dtype, out.shape)
                np.matmul(left, right, out=product)
                out += product
            else:
                np.matmul(left, right, out=out)


# -- rectified linear unit, on flat arrays ----------------------------------------------------------------------------


def relu(x: Array, out: Array) -> None:
    """Write max(x, 0)."""
    np.maximum(x, x.dtype.type(0), out=out)


def relu_adjoint(worker: int, error: Array, output: Array, out: Array) -> None:
    """Write the error where the output is positive, else zero."""
    (positive,) = cut(worker, np.bool_, output.shape)
    np.greater(output, 0, out=positive)
    np.multiply(error, positive, out=out)


# -- max pooling of whole images, see max_pool.py ---------------------------------------------------------------------


def max_pool(worker: int, x: Array, size: int, stride: int, out: Array, down: Winners, across: Winners) -> None:
    """Write the maxima, and who won: the row in each column of a window, and the column.

    The maximum over a square is the maximum over its columns of the maxima over their rows, so this runs first down,
    then across, on long contiguous rows.
    """
    (rows,) = cut(worker, x.dtype, down.shape)
    _maxima(worker, x, 1, size, stride, rows, down)
    _maxima(worker, rows, 2, size, stride, out, across)


def max_pool_adjoint(
    worker: int, error: Array, size: int, stride: int, down: Winners, across: Winners, out: Array
) -> None:
    """Write each element of the error to the place that won, zero elsewhere."""
    (rows,) = cut(worker, error.dtype, down.shape)
    _spread(worker, error, 2, size, stride, across, rows)
    _spread(worker, rows, 1, size, stride, down, out)


def _windows(array: Array, axis: int, offset: int, count: int, stride: int) -> Array:
    """View the elements at ``offset`` of each of ``count`` windows along ``axis``."""
    part = slice(offset, offset + stride * (count - 1) + 1, stride)
    return array[(slice(None),) * axis + (part,)]


def _maxima(worker: int, x: Array, axis: int, size: int, stride: int, out: Array, winners: Winners) -> None:
    count = out.shape[axis]
    first = _windows(x, axis, 0, count, stride)
    second = _windows(x, axis, 1, count, stride) if size > 1 else first
    np.greater(second, first, out=winners.view(np.bool_))
    np.maximum(first, second, out=out)
    (larger,) = cut(f"winners {worker}", np.bool_, out.shape)
    for offset in range(2, size):
        rival = _windows(x, axis, offset, count, stride)
        np.greater(rival, out, out=larger)
        np.copyto(winners, offset, where=larger)
        np.maximum(out, rival, out=out)


def _spread(worker: int, error: Array, axis: int, size: int, stride: int, winners: Winners, out: Array) -> None:
    """Write each element of the error to the place in its window that won, adding up where windows overlap."""
    count = error.shape[axis]
    if size < stride:
        out[...] = 0  # between the windows
    else:
        out[(slice(None),) * axis + (slice(stride * count, None),)] = 0  # behind the last window's first stride
    (won,) = cut(f"winners {worker}", np.bool_, winners.shape)
    for offset in range(size):
        place = _windows(out, axis, offset, count, stride)
        np.equal(winners, offset, out=won)
        if offset < stride:
            np.multiply(error, won, out=place)
        else:
            np.add(place, error, out=place, where=won)


# -- updates of some whole filters (n, length), see update.py, sgd.py and adam.py -------------------------------------


def sgd(worker: int, rule: Any, weights: Array, grads: Array, moment: Array) -> None:
    """Update by Algorithm 2; rule: a Rule of sgd.py."""
    gradient, spare = cut(worker, weights.dtype, weights.shape, weights.shape)
    _gradient(rule, weights, grads, gradient)
    moment *= rule.momentum
    gradient *= rule.of_gradient
    moment += gradient
    _flush(moment)
    np.multiply(moment, rule.of_moment, out=spare)
    weights += spare
    _flush(weights, _means(weights) if rule.wc else 0.0)


def adam(worker: int, rule: Any, weights: Array, grads: Array, moment: Array, square: Array) -> None:
    """Update by Algorithm 3; rule: a Rule of adam.py."""
    gradient, spare = cut(worker, weights.dtype, weights.shape, weights.shape)
    _gradient(rule, weights, grads, gradient)
    moment *= rule.first
    np.multiply(gradient, 1 - rule.first, out=spare)
    moment += spare
    _flush(moment)
    square *= rule.second
    gradient *= gradient
    gradient *= 1 - rule.second
    square += gradient
    _flush(square)
    if rule.inside:
        np.add(square, rule.epsilon, out=spare)
        np.sqrt(spare, out=spare)
    else:
        np.sqrt(square, out=spare)
        spare += rule.epsilon
    np.divide(moment, spare, out=spare)
    spare *= rule.size
    weights -= spare
    _flush(weights, _means(weights) if rule.wc else 0.0)


def _gradient(rule: Any, weights: Array, grads: Array, gradient: Array) -> None:
    """Write grads, centralized if so, plus weight decay."""
    np.multiply(weights, rule.decay, out=gradient)
    gradient += grads
    _flush(gradient, _means(grads) if rule.gc else 0.0)


def _flush(x: Array, mean: Array | float = 0.0) -> None:
    """Subtract the mean of each row, and round |x| below about 1e-27 to zero; what is above 1e-12 is not rounded.

    Adding 1e-20 and taking it off again rounds to a multiple of 1e-27, two cheap passes through the cache, the first
    of which subtracts a mean at no cost.
    """
    x += 1e-20 - mean
    x -= 1e-20


def _means(rows: Array) -> Array:
    return (rows @ _ones(rows.shape[1], rows.dtype))[:, None] / rows.shape[1]
