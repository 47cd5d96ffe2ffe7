"""Convolution as one matrix product: im2col, in chunks that stay in the cache.

Each output pixel sees a window of the data. Written out as the rows of a matrix, the *columns*, the windows
turn the convolution into products of plain matrices (Chellapilla, Puri and Simard 2006):

    forward      out     = columns · weightsᵀ + biases
    backward     columns = error · weights,   each window added back to its place
    comp_grads   grads   = errorᵀ · columns

The columns are ky·kx times as large as the data, so they are made for a few images, or a few rows of one image, at
a time.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from minidl.kernels.convolution import Convolution
from minidl.kernels.scratch import cut
from minidl.kernels.threads import share

Array = NDArray[Any]

_CHUNK_BYTES = 1 << 19  # of columns; with the operands of the product this stays within an L2 cache of 1 MiB


class Im2col(Convolution):
    """Convolution through chunks of im2col and matrix products; arguments and methods are those of Convolution."""

    path = "im2col"

    def forward(self, data: Array, weights: Array, biases: Array, out: Array) -> None:
        """Write data * weights + biases into ``out`` (samples, y, x, out)."""
        matrix = weights.reshape(self.filters, -1).T

        def work(worker: int, start: int, stop: int) -> None:
            padded, columns = cut(worker, self.dtype, *self._chunk_shapes(stop - start))
            for images, rows in self._chunks(start, stop):
                part = out[images, rows].reshape(-1, self.filters)
                windows = self._gather(data[images], rows, padded, columns[: len(part)])
                np.matmul(windows, matrix, out=part)
                part += biases

        share(work, len(data))

    def backward(self, error: Array, weights: Array, out: Array) -> None:
        """Write the error with respect to the data into ``out`` (samples, y, x, in)."""
        matrix = weights.reshape(self.filters, -1)

        def work(worker: int, start: int, stop: int) -> None:
            padded, columns = cut(worker, self.dtype, *self._chunk_shapes(stop - start))
            out[start:stop] = 0
            for images, rows in self._chunks(start, stop):
                part = error[images, rows].reshape(-1, self.filters)
                windows = columns[: len(part)]
                np.matmul(part, matrix, out=windows)
                self._scatter(windows, padded, out[images], rows)

        share(work, len(error))

    def comp_grads(self, error: Array, data: Array, weights_grads: Array, biases_grads: Array) -> None:
        """Write the gradients of the weights (out, y, x, in) and of the biases (out,)."""
        size = (self.filters, weights_grads[0].size)
        sums: dict[int, tuple[Array, Array]] = {}

        def work(worker: int, start: int, stop: int) -> None:
            shapes = self._chunk_shapes(stop - start)
            padded, columns, total, product, biases_total = cut(worker, self.dtype, *shapes, size, size, size[:1])
            total[...] = 0
            biases_total[...] = 0
            for images, rows in self._chunks(start, stop):
                part = error[images, rows].reshape(-1, self.filters)
                windows = self._gather(data[images], rows, padded, columns[: len(part)])
                np.matmul(part.T, windows, out=product)
                total += product
                biases_total += part.sum(axis=0)
            sums[worker] = total, biases_total

        share(work, len(data))
        weights_grads[...] = 0
        biases_grads[...] = 0
        for worker in sorted(sums):  # not in the order of arrival: the same data give the same bits
            total, biases_total = sums[worker]
            weights_grads += total.reshape(weights_grads.shape)
            biases_grads += biases_total

    def _chunk_size(self) -> tuple[int, int]:
        """Return how many images and output rows make a chunk: several images, or some rows of one."""
        y, x, _ = self.output_shape
        row_bytes = x * self.mask[0] * self.mask[1] * self.data_shape[2] * self.dtype.itemsize
        return max(1, _CHUNK_BYTES // (row_bytes * y)), max(1, min(y, _CHUNK_BYTES // row_bytes))

    def _chunks(self, start: int, stop: int) -> Iterator[tuple[slice, slice]]:
        """Yield the images and the output rows of each chunk of the images start to stop."""
        images, rows = self._chunk_size()
        y = self.output_shape[0]
        for first in range(start, stop, images):
            for top in range(0, y, rows):
                yield slice(first, min(first + images, stop)), slice(top, min(top + rows, y))

    def _chunk_shapes(self, count: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the shapes of the largest chunk's padded images and columns, of ``count`` images at most."""
        (ky, kx), (step_y, step_x) = self.mask, self.stride
        width, channels = self.output_shape[1], self.data_shape[2]
        images, rows = self._chunk_size()
        images = min(images, count)
        padded = (images, (rows - 1) * step_y + ky, (width - 1) * step_x + kx, channels)
        return padded, (images * rows * width, ky * kx * channels)

    def _gather(self, data: Array, rows: slice, padded: Array, columns: Array) -> Array:
        """Write the windows that the output rows see into ``columns``, which is returned."""
        padded, inside, source = self._region(data, rows, padded)
        padded[...] = 0
        padded[inside] = data[source]
        windows = sliding_window_view(padded, self.mask, axis=(1, 2))[:, :: self.stride[0], :: self.stride[1]]
        windows = windows.transpose(0, 1, 2, 4, 5, 3)
        columns.reshape(windows.shape)[...] = windows
        return columns

    def _scatter(self, columns: Array, padded: Array, out: Array, rows: slice) -> None:
        """Add the windows of the output rows to their places in ``out``: the adjoint of gather."""
        padded, inside, target = self._region(out, rows, padded)
        padded[...] = 0
        height, (width, _) = rows.stop - rows.start, self.output_shape[1:]
        windows = columns.reshape(len(out), height, width, *self.mask, -1)
        step_y, step_x = self.stride
        for i, j in np.ndindex(self.mask):
            padded[:, i : i + step_y * height : step_y, j : j + step_x * width : step_x] += windows[:, :, :, i, j]
        out[target] += padded[inside]

    def _region(self, images: Array, rows: slice, padded: Array) -> tuple[Array, tuple[slice, ...], tuple[slice, ...]]:
        """Return the part of ``padded`` that the output rows need, and where it and the images overlap in each."""
        (y, x, _), (pad_y, pad_x) = self.data_shape, self.padding
        height = (rows.stop - rows.start - 1) * self.stride[0] + self.mask[0]
        top = rows.start * self.stride[0] - pad_y
        first, last = max(top, 0), max(min(top + height, y), 0)
        right = min(x, padded.shape[2] - pad_x)
        inside = np.s_[:, first - top : last - top, pad_x : pad_x + right]
        return padded[: len(images), :height], inside, np.s_[:, first:last, :right]
