"""Convolution as one matrix product: im2col, in chunks that stay in the cache.

Each output pixel sees a window of the data. Written out as the rows of a matrix, the *columns*, the windows turn the
convolution into products of plain matrices (Chellapilla, Puri and Simard 2006):

    forward      out     = columns · weightsᵀ + biases
    backward     columns = error · weights,   each window added back to its place
    comp_grads   grads   = errorᵀ · columns

The columns are ky·kx times as large as the data, so they are made for a few images, or a few rows of one image, at a
time. Where an image is so small that a part of the mask meets nothing but padding, this part is left out: on one
pixel, a 3×3 convolution is a 1×1 convolution.
"""

from math import prod
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from minidl.kernels.chunks import Band, Chunks
from minidl.kernels.loops import current
from minidl.kernels.plain_convolution import Convolution, Geometry
from minidl.kernels.scratch import cut
from minidl.kernels.threads import share

Array = NDArray[Any]

_CHUNK_BYTES = 1 << 20  # of columns, measured; with the operands of the product they fit an L2 cache of 1 MiB
_FEWEST_PIXELS = 128  # in a chunk: below, reading the weights again for each chunk takes long


class Im2col(Convolution):
    """Convolution through chunks of im2col and matrix products; arguments and methods are those of Convolution."""

    path = "im2col"

    def __init__(self, geometry: Geometry) -> None:
        super().__init__(geometry)
        y, x = (self._useful(axis) for axis in (0, 1))
        self._taps = (slice(None), y, x)
        self._reach = (y.stop - y.start, x.stop - x.start)
        self._offset = (self.padding[0] - y.start, self.padding[1] - x.start)
        # Side by side, without a gap and without padding: each pixel belongs to one window.
        covered = tuple(reach * count for reach, count in zip(self._reach, self.output_shape, strict=False))
        self._side_by_side = self._reach == self.stride and self._offset == (0, 0) and covered == self.data_shape[:2]

    def forward(self, data: Array, weights: Array, biases: Array, out: Array, rectify: bool = False) -> None:
        """Write data * weights + biases into ``out`` (samples, y, x, out); rectify: the maximum of that and 0."""
        matrix, loops = self._matrix(weights).T, current()
        width = self.output_shape[1]

        def work(worker: int, start: int, stop: int) -> None:
            chunks = self._chunks(stop - start)
            padded, columns, biases_row = cut(worker, self.dtype, *self._shapes(chunks), (width, self.filters))
            biases_row[...] = biases
            for part, rows in chunks.all(start, stop):
                target = out[part, slice(*rows)]
                windows = self._gather(data[part], rows, padded, columns)
                np.matmul(windows, matrix, out=target.reshape(-1, self.filters))
                # A whole row at once: NumPy's inner loop is long and soon done.
                long_rows = target.reshape(-1, biases_row.size)
                long_rows += biases_row.reshape(-1)
                if rectify:
                    loops.relu(target.reshape(-1), target.reshape(-1))

        share(work, len(data))

    def backward(self, error: Array, weights: Array, out: Array) -> None:
        """Write the error with respect to the data into ``out`` (samples, y, x, in)."""
        matrix = self._matrix(weights)

        def work(worker: int, start: int, stop: int) -> None:
            chunks = self._chunks(stop - start)
            padded, columns = cut(worker, self.dtype, *self._shapes(chunks))
            if not self._side_by_side:
                out[start:stop] = 0
            for part, rows in chunks.all(start, stop):
                source = error[part, slice(*rows)].reshape(-1, self.filters)
                windows = columns[: len(source)]
                np.matmul(source, matrix, out=windows)
                self._scatter(windows, rows, padded, out[part])

        share(work, len(error))

    def comp_grads(self, error: Array, data: Array, weights_grads: Array, biases_grads: Array) -> None:
        """Write the gradients of the weights (out, y, x, in) and of the biases (out,)."""
        size = (self.filters, prod(self._reach) * self.data_shape[2])
        sums: dict[int, tuple[Array, Array]] = {}

        def work(worker: int, start: int, stop: int) -> None:
            chunks = self._chunks(stop - start)
            padded, columns, product, total, biases_total, ones = cut(
                worker, self.dtype, *self._shapes(chunks), size, size, (1, self.filters), (1, chunks.most_tiles)
            )
            total[...] = 0
            biases_total[...] = 0
            ones[...] = 1
            for part, rows in chunks.all(start, stop):
                source = error[part, slice(*rows)].reshape(-1, self.filters)
                np.matmul(source.T, self._gather(data[part], rows, padded, columns), out=product)
                total += product
                biases_total += ones[:, : len(source)] @ source
            sums[worker] = total, biases_total

        share(work, len(data))
        weights_grads[...] = 0
        biases_grads[...] = 0
        useful = weights_grads[self._taps]
        for worker in sorted(sums):  # not in the order of arrival: the same data give the same bits
            total, biases_total = sums[worker]
            useful += total.reshape(useful.shape)
            biases_grads += biases_total[0]

    def _useful(self, axis: int) -> slice:
        """Return the part of the mask that meets the image anywhere, or one position where there is none."""
        size, outputs = self.data_shape[axis], self.output_shape[axis]
        step, pad = self.stride[axis], self.padding[axis]
        taps = range(self.mask[axis])
        hits = [tap for tap in taps if any(0 <= at * step + tap - pad < size for at in range(outputs))] or [0]
        return slice(hits[0], hits[-1] + 1)

    def _matrix(self, weights: Array) -> Array:
        """Return the useful part of the weights as a matrix (out, ky·kx·in)."""
        useful = weights[self._taps]
        if useful.shape == weights.shape:
            return weights.reshape(self.filters, -1)
        (matrix,) = cut("weights", self.dtype, useful.shape)
        matrix[...] = useful
        return matrix.reshape(self.filters, -1)

    def _chunks(self, images: int) -> Chunks:
        """Return the chunks of some images; a tile is an output pixel here."""
        y, x, _ = self.output_shape
        window_bytes = prod(self._reach) * self.data_shape[2] * self.dtype.itemsize
        return Chunks(images, y, x, max(_CHUNK_BYTES // window_bytes, _FEWEST_PIXELS))

    def _shapes(self, chunks: Chunks) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the shapes of the largest chunk's padded images and columns."""
        height, width = (
            (count - 1) * step + reach
            for count, step, reach in zip((chunks.height, chunks.across), self.stride, self._reach, strict=True)
        )
        channels = self.data_shape[2]
        return (chunks.samples, height, width, channels), (chunks.most_tiles, prod(self._reach) * channels)

    def _gather(self, data: Array, rows: Band, padded: Array, columns: Array) -> Array:
        """Return the windows that some output rows see as a matrix (pixels, ky·kx·in), written into ``columns``."""
        padded, inside, source = self._region(data, rows, padded)
        if padded[inside].shape == padded.shape:
            padded = data[source]
        else:
            padded[...] = 0
            padded[inside] = data[source]
        windows = self._windows(padded, rows)
        if windows.flags.c_contiguous:
            return windows.reshape(-1, columns.shape[1])
        columns = columns[: prod(windows.shape[:3])]
        columns.reshape(windows.shape)[...] = windows
        return columns

    def _scatter(self, columns: Array, rows: Band, padded: Array, out: Array) -> None:
        """Add the windows of some output rows to their places in ``out``: the adjoint of gather."""
        padded, inside, target = self._region(out, rows, padded)
        if self._side_by_side:
            places = self._windows(out[target], rows)
            places[...] = columns.reshape(places.shape)
            return
        padded[...] = 0
        height, width = rows[1] - rows[0], self.output_shape[1]
        windows = columns.reshape(len(out), height, width, *self._reach, -1)
        step_y, step_x = self.stride
        for i, j in np.ndindex(self._reach):
            place = np.s_[:, i : i + step_y * height : step_y, j : j + step_x * width : step_x]
            padded[place] += windows[:, :, :, i, j]
        out[target] += padded[inside]

    def _windows(self, images: Array, rows: Band) -> Array:
        """View some images as the windows of some output rows, (samples, rows, x, ky, kx, in)."""
        shape = (len(images), rows[1] - rows[0], self.output_shape[1], *self._reach, images.shape[3])
        s, y, x, c = images.strides
        return as_strided(images, shape, (s, y * self.stride[0], x * self.stride[1], y, x, c))

    def _region(self, images: Array, rows: Band, padded: Array) -> tuple[Array, tuple[slice, ...], tuple[slice, ...]]:
        """Return the part of ``padded`` that the output rows need, and where it and the images overlap in each."""
        (y, x, _), (offset_y, offset_x) = self.data_shape, self._offset
        height, width = (rows[1] - rows[0] - 1) * self.stride[0] + self._reach[0], padded.shape[2]
        top, left = rows[0] * self.stride[0] - offset_y, -offset_x
        first_y, last_y = max(top, 0), max(min(top + height, y), 0)
        first_x, last_x = max(left, 0), max(min(left + width, x), 0)
        inside = np.s_[:, first_y - top : last_y - top, first_x - left : last_x - left]
        return padded[: len(images), :height], inside, np.s_[:, first_y:last_y, first_x:last_x]
