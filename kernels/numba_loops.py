"""The innermost loops compiled by Numba: the functions of numpy_loops.py, each in a single pass. Sums are float64."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.numba_compiler import compiled, inlined
from minidl.kernels.numba_products import run_table, table
from minidl.kernels.numba_update import adam, sgd

__all__ = [
    "adam",
    "covariance",
    "line",
    "max_pool",
    "max_pool_adjoint",
    "moments",
    "plane",
    "products",
    "relu",
    "relu_adjoint",
    "run_table",
    "scale",
    "sgd",
    "shift",
    "sums",
    "table",
]

Array = NDArray[np.floating]
Winners = NDArray[np.uint8]
KEEPS_TABLES = True  # of products


# -- sums down the columns of matrices, and lines, x·factor + offset ----------------------------------------------
#
# A single column is a row to the compiler. Down several columns, the terms of ROWS rows are added up before they join
# the sums, which saves most of the trips to the sums; ``height`` is ROWS or, for the rows that are left, 1, and a
# constant for the compiler each time.

ROWS = 8


def sums(x: Array) -> Array:
    """Return Σ x."""
    total = np.zeros((len(x), x.shape[2]))
    _sums(x, total)
    return total


@compiled
def _sums(x: Any, total: Any) -> None:
    n, rows, columns = x.shape
    for i in range(n):
        if columns == 1:
            one, row = 0.0, x[i].reshape(-1)
            for k in range(rows):
                one += row[k]
            total[i, 0] = one
        else:
            whole = rows - rows % ROWS
            for r in range(0, whole, ROWS):
                _sums_of(x[i, r : r + ROWS], ROWS, total[i])
            for r in range(whole, rows):
                _sums_of(x[i, r : r + 1], 1, total[i])


@inlined
def _sums_of(x: Any, height: Any, total: Any) -> None:
    for c in range(x.shape[1]):
        one = x[0, c]
        for r in range(1, height):
            one += x[r, c]
        total[c] += one


def products(worker: int, x: Array, y: Array) -> Array:
    """Return Σ x·y."""
    return covariance(worker, x, y, np.zeros((len(x), 1, x.shape[2]), x.dtype))[1]


def moments(worker: int, x: Array, guess: Array) -> tuple[Array, Array]:
    """Return Σ (x − guess) and Σ (x − guess)²; guess: (n, 1, columns)."""
    total = np.zeros((2, len(x), x.shape[2]))
    _moments(x, guess, total[0], total[1])
    return total[0], total[1]


@compiled
def _moments(x: Any, guess: Any, first: Any, second: Any) -> None:
    n, rows, columns = x.shape
    for i in range(n):
        if columns == 1:
            one, two, near, row = 0.0, 0.0, guess[i, 0, 0], x[i].reshape(-1)
            for k in range(rows):
                off = row[k] - near
                one += off
                two += off * off
            first[i, 0], second[i, 0] = one, two
        else:
            whole = rows - rows % ROWS
            for r in range(0, whole, ROWS):
                _moments_of(x[i, r : r + ROWS], guess[i, 0], ROWS, first[i], second[i])
            for r in range(whole, rows):
                _moments_of(x[i, r : r + 1], guess[i, 0], 1, first[i], second[i])


@inlined
def _moments_of(x: Any, guess: Any, height: Any, first: Any, second: Any) -> None:
    for c in range(x.shape[1]):
        off = x[0, c] - guess[c]
        one, two = off, off * off
        for r in range(1, height):
            off = x[r, c] - guess[c]
            one += off
            two += off * off
        first[c] += one
        second[c] += two


def covariance(worker: int, error: Array, x: Array, mean: Array) -> tuple[Array, Array]:
    """Return Σ error and Σ error·(x − mean); mean: (n, 1, columns)."""
    total = np.zeros((2, len(x), x.shape[2]))
    _covariance(error, x, mean, total[0], total[1])
    return total[0], total[1]


@compiled
def _covariance(error: Any, x: Any, mean: Any, of_error: Any, of_both: Any) -> None:
    n, rows, columns = x.shape
    for i in range(n):
        if columns == 1:
            one, two, near, row_e, row_x = 0.0, 0.0, mean[i, 0, 0], error[i].reshape(-1), x[i].reshape(-1)
            for k in range(rows):
                one += row_e[k]
                two += row_e[k] * (row_x[k] - near)
            of_error[i, 0], of_both[i, 0] = one, two
        else:
            whole = rows - rows % ROWS
            for r in range(0, whole, ROWS):
                block = slice(r, r + ROWS)
                _covariance_of(error[i, block], x[i, block], mean[i, 0], ROWS, of_error[i], of_both[i])
            for r in range(whole, rows):
                block = slice(r, r + 1)
                _covariance_of(error[i, block], x[i, block], mean[i, 0], 1, of_error[i], of_both[i])


@inlined
def _covariance_of(error: Any, x: Any, mean: Any, height: Any, of_error: Any, of_both: Any) -> None:
    for c in range(x.shape[1]):
        one, two = error[0, c], error[0, c] * (x[0, c] - mean[c])
        for r in range(1, height):
            one += error[r, c]
            two += error[r, c] * (x[r, c] - mean[c])
        of_error[c] += one
        of_both[c] += two


def shift(x: Array, offset: Array, out: Array) -> None:
    """Write x + offset."""
    line(x, np.ones_like(offset), offset, out)


def scale(x: Array, factor: Array, out: Array) -> None:
    """Write x·factor."""
    line(x, factor, np.zeros_like(factor), out)


def line(x: Array, factor: Array, offset: Array, out: Array, rectify: bool = False) -> None:
    """Write x·factor + offset or, to rectify, the maximum of that and 0."""
    _line(x, factor, offset, out, rectify)


@compiled
def _line(x: Any, factor: Any, offset: Any, out: Any, rectify: Any) -> None:
    n, rows, columns = x.shape
    least = x.dtype.type(0.0 if rectify else -np.inf)  # nothing is below −∞: one loop for both
    for i in range(n):
        if columns == 1:
            times, plus, row, target = factor[i, 0, 0], offset[i, 0, 0], x[i].reshape(-1), out[i].reshape(-1)
            for k in range(rows):
                target[k] = _at_least(least, row[k] * times + plus)
        else:
            many, pluses = factor[i, 0], offset[i, 0]
            for r in range(rows):
                row, target = x[i, r], out[i, r]
                for c in range(columns):
                    target[c] = _at_least(least, row[c] * many[c] + pluses[c])


@inlined
def _at_least(least: Any, x: Any) -> Any:
    return least if x < least else x  # not a number stays what it is


def plane(worker: int, x: Array, of_x: Array, y: Array, of_y: Array, offset: Array, out: Array) -> None:
    """Write x·of_x + y·of_y + offset; ``out`` may be x or y."""
    _plane(x, of_x, y, of_y, offset, out)


@compiled
def _plane(x: Any, of_x: Any, y: Any, of_y: Any, offset: Any, out: Any) -> None:
    n, rows, columns = x.shape
    for i in range(n):
        if columns == 1:
            a, b, plus = of_x[i, 0, 0], of_y[i, 0, 0], offset[i, 0, 0]
            row_x, row_y, target = x[i].reshape(-1), y[i].reshape(-1), out[i].reshape(-1)
            for k in range(rows):
                target[k] = row_x[k] * a + row_y[k] * b + plus
        else:
            many_a, many_b, pluses = of_x[i, 0], of_y[i, 0], offset[i, 0]
            for r in range(rows):
                row_x, row_y, target = x[i, r], y[i, r], out[i, r]
                for c in range(columns):
                    target[c] = row_x[c] * many_a[c] + row_y[c] * many_b[c] + pluses[c]


# -- rectified linear unit, on flat arrays ----------------------------------------------------------------------------


def relu(x: Array, out: Array) -> None:
    """Write max(x, 0)."""
    if x.__array_interface__["data"] == out.__array_interface__["data"]:
        _relu_in_place(out)  # with two arrays, the compiler would fear that they overlap
    else:
        _relu(x, out)


@compiled
def _relu(x: Any, out: Any) -> None:
    for k in range(x.size):
        out[k] = 0 if x[k] < 0 else x[k]  # not a number stays what it is


@compiled
def _relu_in_place(x: Any) -> None:
    for k in range(x.size):
        x[k] = 0 if x[k] < 0 else x[k]


def relu_adjoint(worker: int, error: Array, output: Array, out: Array) -> None:
    """Write the error where the output is positive, else zero."""
    _relu_adjoint(error, output, out)


@compiled
def _relu_adjoint(error: Any, output: Any, out: Any) -> None:
    for k in range(error.size):
        out[k] = error[k] if output[k] > 0 else 0


# -- max pooling of whole images, see max_pool.py ---------------------------------------------------------------------


def max_pool(worker: int, x: Array, size: int, stride: int, out: Array, down: Winners, across: Winners) -> None:
    """Write the maxima, and in ``across`` who won, counted column by column; ``down`` is not needed."""
    _max_pool(x, size, stride, out, across)


@compiled
def _max_pool(x: Any, size: Any, stride: Any, out: Any, winners: Any) -> None:
    n, height, width, channels = out.shape
    for s in range(n):
        for i in range(height):
            for j in range(width):
                best, winner = out[s, i, j], winners[s, i, j]
                first = x[s, i * stride, j * stride]
                for c in range(channels):
                    best[c] = first[c]
                    winner[c] = 0
                for place in range(1, size * size):
                    rival = x[s, i * stride + place % size, j * stride + place // size]
                    for c in range(channels):
                        # Not a number wins, and stays.
                        wins = rival[c] > best[c] or rival[c] != rival[c]
                        best[c] = rival[c] if wins else best[c]
                        winner[c] = place if wins else winner[c]


def max_pool_adjoint(
    worker: int, error: Array, size: int, stride: int, down: Winners, across: Winners, out: Array
) -> None:
    """Write each element of the error to the place that won, zero elsewhere."""
    _max_pool_adjoint(error, size, stride, across, out)


@compiled
def _max_pool_adjoint(error: Any, size: Any, stride: Any, winners: Any, out: Any) -> None:
    n, height, width, channels = error.shape
    for s in range(n):
        out[s] = 0
        for i in range(height):
            for j in range(width):
                source, winner = error[s, i, j], winners[s, i, j]
                for place in range(size * size):
                    target = out[s, i * stride + place % size, j * stride + place // size]
                    for c in range(channels):
                        target[c] += source[c] if winner[c] == place else 0
