"""Images cut into overlapping tiles, and linear maps of the tiles along y and x.

A tiling covers an axis with windows of equal width, one every ``step`` pixels, the first at −padding. Windows may
hang over the ends, where the image counts as zero: there a matrix that is applied to the window leaves out the
columns that would meet these zeros, so that no image is ever copied to be padded.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Run(NamedTuple):
    """Consecutive windows of one axis that lie on the image in the same way.

    tiles: their indices; taps: the part of each window that lies on the image; start: the pixel of the first
    tile's first such tap.
    """

    tiles: slice
    taps: slice
    start: int


class Tiling(NamedTuple):
    """The windows of one axis: ``width`` pixels each, one every ``step`` pixels, the first at −padding."""

    size: int
    width: int
    step: int
    padding: int

    def runs(self, first: int, last: int) -> list[Run]:
        """Return the windows first to last as runs; tiles are counted from ``first``."""
        found: list[Run] = []
        for tile in range(first, last):
            start = tile * self.step - self.padding
            low = min(max(0, -start), self.width)
            taps = slice(low, max(low, min(self.width, self.size - start)))
            if found and found[-1].taps == taps:
                found[-1] = found[-1]._replace(tiles=slice(found[-1].tiles.start, tile - first + 1))
            else:
                found.append(Run(slice(tile - first, tile - first + 1), taps, start + low))
        return found

    def pixels(self, first: int, last: int) -> tuple[int, int]:
        """Return which pixels of the image the windows first to last cover: the first and the one past the last."""
        low = first * self.step - self.padding
        high = (last - 1) * self.step - self.padding + self.width
        return min(max(low, 0), self.size), min(max(high, 0), self.size)


def windows(array: Array, axis: int, run: Run, step: int) -> Array:
    """Return a view of the run's windows: ``axis`` becomes two, (tiles, taps)."""
    tiles, taps = run.tiles.stop - run.tiles.start, run.taps.stop - run.taps.start
    stride = array.strides[axis]
    shape = (*array.shape[:axis], tiles, taps, *array.shape[axis + 1 :])
    strides = (*array.strides[:axis], step * stride, stride, *array.strides[axis + 1 :])
    return np.lib.stride_tricks.as_strided(array[(slice(None),) * axis + (slice(run.start, None),)], shape, strides)
