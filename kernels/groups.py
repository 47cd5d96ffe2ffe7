"""The groups of a view as matrices, whose columns are summed and changed in pieces that stay in a core's cache.

A view of four axes (a, r, b, s) (see areas.py) has one group for each (a, b). As matrices (n, rows, columns) it is

    (a·b, r·s, 1)           where r or b is 1, so that each group lies in one stretch of memory
    (a, r/t, t·b·s)         otherwise: a group is s columns side by side, t times

and all sums run down the columns, as products with a vector of ones. A single matrix has t rows seen side by side as
one, because NumPy is slow where a row is short; otherwise t is 1. Where there are several matrices, each worker takes
some of them, and what it has summed is still in its cache when it is changed; the rows of a single matrix are shared
among the workers. Sums of pieces are float64.
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.threads import share, workers

Array = NDArray[np.floating]
Sums = NDArray[np.float64]
Index = tuple[slice, slice]  # which matrices, and which of their rows, make a piece
PIECE = 1 << 18  # elements; with smaller ones, two threads mostly wait for the lock of the interpreter
_WIDE = 1024  # columns that make a row long enough
_GRAIN = 1 << 18  # elements below which a second thread costs more than it brings


class Layout(NamedTuple):
    """How columns make groups: ``tiles`` times ``groups`` groups of ``width`` columns, the same groups each time."""

    tiles: int
    groups: int
    width: int

    def total(self, columns: Sums) -> Sums:
        """Return for each column (…, columns) the sum over all columns of its group."""
        if self.tiles == self.width == 1:
            return columns
        parts = columns.reshape(*columns.shape[:-1], *self)
        return np.broadcast_to(parts.sum(axis=(-3, -1), keepdims=True), parts.shape).reshape(columns.shape)

    def mean(self, columns: Sums) -> Sums:
        """Return for each column (…, columns) the mean over all columns of its group."""
        return self.total(columns) / (self.tiles * self.width)


def matrices(x: Array) -> tuple[Array, Layout]:
    """See a view (a, r, b, s) as matrices (n, rows, columns)."""
    a, r, b, s = x.shape
    return (x.reshape(a * b, r * s, 1), Layout(1, 1, 1)) if r == 1 or b == 1 else wide(x)


def wide(x: Array) -> tuple[Array, Layout]:
    """See a view (a, r, b, s) as matrices (a, rows, columns) in which each of the b·s channels has its columns."""
    a, r, b, s = x.shape
    tiles = _tiles(r, b * s) if a == 1 else 1
    return x.reshape(a, r // tiles, tiles * b * s), Layout(tiles, b, s)


@cache
def _tiles(rows: int, columns: int) -> int:
    """Return how many rows to see as one, so that none is left over."""
    return max(t for t in range(1, max(1, _WIDE // columns) + 1) if rows % t == 0)


def sums(count: int, measure: Callable[..., tuple[Array, ...]], *arrays: Array) -> Sums:
    """Return ``count`` sums for each column, (count, n, columns), of arrays (n, rows, columns) of one shape.

    measure(worker, index, *pieces) returns the sums (n, columns) of one piece of each array.
    """
    n, _, columns = arrays[0].shape
    parts = np.zeros((1 if n > 1 else workers(), count, n, columns))

    def work(worker: int, index: Index) -> None:
        total = parts[0 if n > 1 else worker]
        for i, part in enumerate(measure(worker, index, *(array[index] for array in arrays))):
            total[i, index[0]] += part

    each(work, arrays[0].shape)
    return parts.sum(axis=0)


def each(work: Callable[[int, Index], None], shape: tuple[int, ...]) -> None:
    """Call ``work(worker, index)`` for all pieces of arrays of ``shape`` (n, rows, columns), by all workers."""

    def part(worker: int, groups: slice, rows: slice) -> None:
        for index in _pieces(groups, rows, shape):
            work(worker, index)

    _share(part, shape)


def transform(
    count: int,
    measure: Callable[..., tuple[Array, ...]],
    finish: Callable[[Sums, slice], Any],
    change: Callable[..., None],
    *arrays: Array,
) -> None:
    """Change arrays (n, rows, columns) of one shape by what their sums say.

    measure: as in ``sums``; finish(sums, matrices) turns the sums (count, k, columns) of some matrices into whatever
    change(worker, index, finished, *pieces) needs.
    """
    shape = arrays[0].shape

    def change_piece(worker: int, index: Index, finished: Any) -> None:
        change(worker, index, finished, *(array[index] for array in arrays))

    if shape[0] == 1:
        finished = finish(sums(count, measure, *arrays), slice(0, 1))
        each(lambda worker, index: change_piece(worker, index, finished), shape)
        return

    def work(worker: int, groups: slice, rows: slice) -> None:
        total = np.zeros((count, groups.stop - groups.start, shape[2]))
        for index in _pieces(groups, rows, shape):
            for i, part in enumerate(measure(worker, index, *(array[index] for array in arrays))):
                total[i] += part
        finished = finish(total, groups)
        for index in _pieces(groups, rows, shape):
            change_piece(worker, index, finished)

    _share(work, shape)


def _share(work: Callable[[int, slice, slice], None], shape: tuple[int, ...]) -> None:
    """Call ``work(worker, matrices, rows)`` for some rows of a single matrix, or several times for whole matrices."""
    n, rows, columns = shape
    several = max(1, PIECE // (rows * columns))

    def of_one(worker: int, start: int, stop: int) -> None:
        work(worker, slice(0, 1), slice(start, stop))

    def of_many(worker: int, start: int, stop: int) -> None:
        for i in range(start, stop, several):
            work(worker, slice(i, min(i + several, stop)), slice(0, rows))

    if n == 1:
        share(of_one, rows, _GRAIN // columns + 1)
    else:
        share(of_many, n, _GRAIN // (rows * columns) + 1)


def _pieces(groups: slice, rows: slice, shape: tuple[int, ...]) -> Iterator[Index]:
    """Yield the pieces of some matrices that ``_share`` hands out: all of them, or some rows of a large one."""
    height = max(1, PIECE // shape[2])
    for start in range(rows.start, rows.stop, height):
        yield groups, slice(start, min(start + height, rows.stop))
