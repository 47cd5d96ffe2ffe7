"""Groups of a view as matrices, whose columns the loops (loops/) sum and change.

A view of four axes (outer, rows, inner, lanes), see areas.py, has one group for each (outer, inner). As matrices
(n, rows, columns) it is

    (outer·inner, rows·lanes, 1)         if rows or inner is 1, so that each group is contiguous in memory
    (outer, rows/t, t·inner·lanes)       otherwise: a group has ``lanes`` neighbouring columns, t times in a row

All sums run down the columns. If there is a single matrix, t of its rows are viewed as one, because NumPy is slow with
short rows; otherwise t is 1.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Sums = NDArray[np.float64]
_WIDE = 1024  # columns up to which rows are viewed as one


class Layout(NamedTuple):
    """How the columns form groups: ``groups`` groups of ``width`` columns, repeated ``tiles`` times side by side."""

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
    """View (outer, rows, inner, lanes) as matrices (n, rows, columns)."""
    outer, rows, inner, lanes = x.shape
    if rows > 1 and inner > 1:
        return wide(x)
    return x.reshape(outer * inner, rows * lanes, 1), Layout(1, 1, 1)


def wide(x: Array) -> tuple[Array, Layout]:
    """View (outer, rows, inner, lanes) as matrices (outer, rows, columns).

    Each of the inner·lanes channels has its own columns.
    """
    outer, rows, inner, lanes = x.shape
    tiles = _tiles(rows, inner * lanes) if outer == 1 else 1
    return x.reshape(outer, rows // tiles, tiles * inner * lanes), Layout(tiles, inner, lanes)


@cache
def _tiles(rows: int, columns: int) -> int:
    """Return how many rows to view as one, so that no row is left over."""
    return max(t for t in range(1, max(1, _WIDE // columns) + 1) if rows % t == 0)
