"""Tiles: images split into tiles, and a matrix applied to every tile along y and along x.

A tiling covers an axis with windows of equal width, one every ``step`` pixels, the first at −padding. Windows may
extend beyond the ends of the image, where it counts as zero. For such windows, the columns of the matrix that would
meet zeros are left out, so that no image has to be copied for padding. Likewise, the rows for outputs beyond the ends
are left out.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from minidl.kernels.cpu.program import PerImage, Program

Array = NDArray[Any]


class Run(NamedTuple):
    """Neighbouring windows of which the same part lies on the image.

    tiles: their indices; taps: the part of each window that lies on the image; start: the pixel at the first tap of
    this part, for the first window.
    """

    tiles: slice
    taps: slice
    start: int


class Tiling(NamedTuple):
    """The windows of one axis of ``size`` pixels, ``width`` pixels each, one every ``step``, the first at −padding."""

    size: int
    width: int
    step: int
    padding: int = 0

    def runs(self, first: int, last: int) -> list[Run]:
        """Return the windows ``first`` to ``last`` − 1 as runs; their tiles are counted from ``first``."""
        found: list[Run] = []
        for tile in range(first, last):
            begin = tile * self.step - self.padding
            low = min(max(0, -begin), self.width)
            taps = slice(low, max(low, min(self.width, self.size - begin)))
            if found and found[-1].taps == taps:
                found[-1] = found[-1]._replace(tiles=slice(found[-1].tiles.start, tile - first + 1))
            else:
                found.append(Run(slice(tile - first, tile - first + 1), taps, begin + low))
        return found


class Plane(NamedTuple):
    """Images (samples, y, x, channels), all of them or one phase of all, and how they are tiled along y and x."""

    images: Array
    y: Tiling
    x: Tiling


def transform_tiles(
    program: Program, matrix: Array, planes: list[Plane], band: tuple[int, int], transformed: Array
) -> None:
    """Append the instructions that transform the tiles of some images, in the rows of tiles ``band``.

        transformed[i, s, t, u, j, :] = Σ_{k, l} matrix[i, k] · matrix[j, l] · tile[s, t, u][k, l, :]

    matrix: (n, width of a tile); planes: their channels become c channels side by side; transformed: (n, samples of a
    chunk, rows of tiles, tiles of a row, n, c).
    """
    for images, part, down, across in _runs(program, planes, band, transformed):
        program.tiles(matrix[:, down.taps], matrix[:, across.taps], images, part)


def write_tiles(
    program: Program, matrix: Array, transformed: Array, planes: list[Plane], band: tuple[int, int], relu: bool = False
) -> None:
    """Append the instructions that write tiles of outputs, which do not overlap, from transformed tiles.

        tile[s, t, u][k, l, :] = Σ_{i, j} matrix[k, i] · matrix[l, j] · transformed[i, s, t, u, j, :]

    matrix: (width of a tile, n); transformed, planes: as in transform_tiles. relu: write the maximum of that and 0.
    """
    for images, part, down, across in _runs(program, planes, band, transformed):
        program.tiles(matrix[down.taps], matrix[across.taps], part, images, relu)


def _runs(
    program: Program, planes: list[Plane], band: tuple[int, int], transformed: Array
) -> Iterator[tuple[PerImage, Array, Run, Run]]:
    """Yield tiles of which the same part lies on the image, the same tiles transformed, and their runs along y and x.

    Both arrays are (samples, rows of tiles, tiles of a row, …, c), with the pixels or the points of a tile in between.
    """
    by_tile = transformed[:, : program.samples].transpose(1, 2, 3, 0, 4, 5)
    for (images, y, x), part in zip(planes, _channels(by_tile, planes), strict=True):
        for down in y.runs(*band):
            for across in x.runs(0, part.shape[2]):
                on_image = windows(windows(images, 1, down, y.step), 3, across, x.step).transpose(0, 1, 3, 2, 4, 5)
                yield PerImage(on_image), part[:, down.tiles, across.tiles], down, across


def _channels(array: Array, planes: list[Plane]) -> list[Array]:
    """Return the channels of each plane in an array that has all of them side by side."""
    return np.split(array, len(planes), axis=-1)


def windows(array: Array, axis: int, run: Run, step: int) -> Array:
    """Return a view of the run's windows: ``axis`` becomes two axes, (tiles, taps)."""
    tiles, taps = run.tiles.stop - run.tiles.start, run.taps.stop - run.taps.start
    stride = array.strides[axis]
    shape = (*array.shape[:axis], tiles, taps, *array.shape[axis + 1 :])
    strides = (*array.strides[:axis], step * stride, stride, *array.strides[axis + 1 :])
    return as_strided(array[(slice(None),) * axis + (slice(run.start, None),)], shape, strides)
