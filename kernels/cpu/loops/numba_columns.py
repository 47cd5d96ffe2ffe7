"""Column sums and affine maps, x·factor + offset, of matrices, compiled by Numba: one pass for each; see __init__.py.

Matrices with a single column are summed along memory, like one long row. With several columns, the terms of ROWS rows
are added up before they are added to the sums, so that the sums are loaded and stored less often. ``height`` is ROWS
or, for the rows that are left over, 1; it is a constant in each call, so that the compiler can unroll the loop. Sums
are float64. A part of the work is some of the matrices, or some rows of a single one; then each part has separate sums.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.cpu.loops import numba_compiler
from minidl.kernels.cpu.loops.numba_compiler import bounds, compiled, inlined, parallel
from minidl.kernels.cpu.loops.numba_parts import in_parts

Array = NDArray[np.floating]
ROWS = 8
_MIN_PER_THREAD = 1 << 17  # elements


def _parts(x: Array) -> int:
    """Return into how many parts to divide matrices."""
    n, rows, columns = x.shape
    count, size = (n, rows * columns) if n > 1 else (rows, columns)
    return numba_compiler.parts(count, _MIN_PER_THREAD // size + 1)


def _zeros(count: int, x: Array, parts: int) -> Array:
    """Return zeros for ``count`` sums, (count, 1, n, columns), or (count, parts, 1, columns) of a single matrix."""
    n, _, columns = x.shape
    return np.zeros((count, parts if n == 1 else 1, n, columns))


def sums(x: Array) -> Array:
    """Return Σ x of each column, (n, columns)."""
    parts = _parts(x)
    (totals,) = _zeros(1, x, parts)
    _sums(x, totals, parts)
    return totals.sum(axis=0)


@parallel
def _sums(x: Any, totals: Any, parts: Any) -> None:
    in_parts(_sums_of_part, (x, totals), parts)


@compiled
def _sums_of_part(x: Any, totals: Any, part: Any, parts: Any) -> None:
    n, rows, columns = x.shape
    total = totals[part % len(totals)]
    first, last, top, bottom = bounds(n, rows, part, parts)
    for i in range(first, last):
        if columns == 1:
            one, row = 0.0, x[i].reshape(-1)
            for k in range(top, bottom):
                one += row[k]
            total[i, 0] = one
        else:
            whole = bottom - (bottom - top) % ROWS
            for r in range(top, whole, ROWS):
                _sums_of(x[i, r : r + ROWS], ROWS, total[i])
            for r in range(whole, bottom):
                _sums_of(x[i, r : r + 1], 1, total[i])


@inlined
def _sums_of(x: Any, height: Any, total: Any) -> None:
    for c in range(x.shape[1]):
        one = x[0, c]
        for r in range(1, height):
            one += x[r, c]
        total[c] += one


def products(x: Array, y: Array) -> Array:
    """Return Σ x·y of each column, (n, columns)."""
    return covariance(x, y, np.zeros((len(x), 1, x.shape[2]), x.dtype))[1]


def moments(x: Array, guess: Array) -> tuple[Array, Array]:
    """Return Σ (x − guess) and Σ (x − guess)² of each column, (n, columns); guess: (n, 1, columns)."""
    parts = _parts(x)
    first, second = _zeros(2, x, parts)
    _moments(x, guess, first, second, parts)
    return first.sum(axis=0), second.sum(axis=0)


@parallel
def _moments(x: Any, guess: Any, first: Any, second: Any, parts: Any) -> None:
    in_parts(_moments_of_part, (x, guess, first, second), parts)


@compiled
def _moments_of_part(x: Any, guess: Any, firsts: Any, seconds: Any, part: Any, parts: Any) -> None:
    n, rows, columns = x.shape
    first, second = firsts[part % len(firsts)], seconds[part % len(seconds)]
    begin, end, top, bottom = bounds(n, rows, part, parts)
    for i in range(begin, end):
        if columns == 1:
            one, two, near, row = 0.0, 0.0, guess[i, 0, 0], x[i].reshape(-1)
            for k in range(top, bottom):
                off = row[k] - near
                one += off
                two += off * off
            first[i, 0], second[i, 0] = one, two
        else:
            whole = bottom - (bottom - top) % ROWS
            for r in range(top, whole, ROWS):
                _moments_of(x[i, r : r + ROWS], guess[i, 0], ROWS, first[i], second[i])
            for r in range(whole, bottom):
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


def covariance(error: Array, x: Array, mean: Array) -> tuple[Array, Array]:
    """Return Σ error and Σ error·(x − mean) of each column, (n, columns); mean: (n, 1, columns)."""
    parts = _parts(x)
    of_error, of_both = _zeros(2, x, parts)
    _covariance(error, x, mean, of_error, of_both, parts)
    return of_error.sum(axis=0), of_both.sum(axis=0)


@parallel
def _covariance(error: Any, x: Any, mean: Any, of_error: Any, of_both: Any, parts: Any) -> None:
    in_parts(_covariance_of_part, (error, x, mean, of_error, of_both), parts)


@compiled
def _covariance_of_part(error: Any, x: Any, mean: Any, of_errors: Any, of_boths: Any, part: Any, parts: Any) -> None:
    n, rows, columns = x.shape
    of_error, of_both = of_errors[part % len(of_errors)], of_boths[part % len(of_boths)]
    first, last, top, bottom = bounds(n, rows, part, parts)
    for i in range(first, last):
        if columns == 1:
            one, two, near, row_e, row_x = 0.0, 0.0, mean[i, 0, 0], error[i].reshape(-1), x[i].reshape(-1)
            for k in range(top, bottom):
                one += row_e[k]
                two += row_e[k] * (row_x[k] - near)
            of_error[i, 0], of_both[i, 0] = one, two
        else:
            whole = bottom - (bottom - top) % ROWS
            for r in range(top, whole, ROWS):
                block = slice(r, r + ROWS)
                _covariance_of(error[i, block], x[i, block], mean[i, 0], ROWS, of_error[i], of_both[i])
            for r in range(whole, bottom):
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
    """Write x + offset; offset: (n, 1, columns); ``out`` may be x."""
    affine(x, np.ones_like(offset), offset, out)


def scale(x: Array, factor: Array, out: Array) -> None:
    """Write x·factor; factor: (n, 1, columns); ``out`` may be x."""
    affine(x, factor, np.zeros_like(factor), out)


def affine(x: Array, factor: Array, offset: Array, out: Array, relu: bool = False) -> None:
    """Write x·factor + offset or, with ReLU, the maximum of that and 0; ``out`` may be x."""
    in_place = x.__array_interface__["data"] == out.__array_interface__["data"]
    _affine(x, factor, offset, out, relu, in_place, _parts(x))


@parallel
def _affine(x: Any, factor: Any, offset: Any, out: Any, relu: Any, in_place: Any, parts: Any) -> None:
    in_parts(_affine_of_part, (x, factor, offset, out, relu, in_place), parts)


@compiled
def _affine_of_part(
    x: Any, factor: Any, offset: Any, out: Any, relu: Any, in_place: Any, part: Any, parts: Any
) -> None:
    n, rows, columns = x.shape
    lower = x.dtype.type(0.0 if relu else -np.inf)  # nothing is below −∞: one loop for both
    first, last, top, bottom = bounds(n, rows, part, parts)
    for i in range(first, last):
        if columns == 1:
            times, plus = factor[i, 0, 0], offset[i, 0, 0]
            row, target = x[i].reshape(-1)[top:bottom], out[i].reshape(-1)[top:bottom]
            if in_place:  # a separate loop: with two arrays, the compiler must assume that they overlap
                for k in range(len(row)):
                    row[k] = _at_least(lower, row[k] * times + plus)
            else:
                for k in range(len(row)):
                    target[k] = _at_least(lower, row[k] * times + plus)
        else:
            many, pluses = factor[i, 0], offset[i, 0]
            for r in range(top, bottom):
                row, target = x[i, r], out[i, r]
                if in_place:
                    for c in range(columns):
                        row[c] = _at_least(lower, row[c] * many[c] + pluses[c])
                else:
                    for c in range(columns):
                        target[c] = _at_least(lower, row[c] * many[c] + pluses[c])


@inlined
def _at_least(lower: Any, x: Any) -> Any:
    return lower if x < lower else x  # nan stays nan


def affine2(x: Array, of_x: Array, y: Array, of_y: Array, offset: Array, out: Array) -> None:
    """Write x·of_x + y·of_y + offset; ``out`` may be x or y."""
    _affine2(x, of_x, y, of_y, offset, out, _parts(x))


@parallel
def _affine2(x: Any, of_x: Any, y: Any, of_y: Any, offset: Any, out: Any, parts: Any) -> None:
    in_parts(_affine2_of_part, (x, of_x, y, of_y, offset, out), parts)


@compiled
def _affine2_of_part(x: Any, of_x: Any, y: Any, of_y: Any, offset: Any, out: Any, part: Any, parts: Any) -> None:
    n, rows, columns = x.shape
    first, last, top, bottom = bounds(n, rows, part, parts)
    for i in range(first, last):
        if columns == 1:
            a, b, plus = of_x[i, 0, 0], of_y[i, 0, 0], offset[i, 0, 0]
            row_x, row_y, target = x[i].reshape(-1), y[i].reshape(-1), out[i].reshape(-1)
            for k in range(top, bottom):
                target[k] = row_x[k] * a + row_y[k] * b + plus
        else:
            many_a, many_b, pluses = of_x[i, 0], of_y[i, 0], offset[i, 0]
            for r in range(top, bottom):
                row_x, row_y, target = x[i, r], y[i, r], out[i, r]
                for c in range(columns):
                    target[c] = row_x[c] * many_a[c] + row_y[c] * many_b[c] + pluses[c]
