"""Max pooling without padding: the largest element of each window.

data (samples, y, x, c), output (samples, (y − size)//stride + 1, (x − size)//stride + 1, c). The maximum over a
square is the maximum over its columns of the maxima over their rows, so each pass runs first down, then across,
on long contiguous rows. Which element won is remembered, one byte for each maximum; of equals the first wins.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.scratch import cut
from minidl.kernels.threads import share

Array = NDArray[np.floating]
PIECE = 1 << 21  # elements; with smaller ones, two threads mostly wait for the lock of the interpreter
Winners = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def output_shape(shape: tuple[int, int, int], size: int, stride: int) -> tuple[int, int, int]:
    """Return (y, x, c) of the output for data of (y, x, c)."""
    y, x, c = shape
    return (y - size) // stride + 1, (x - size) // stride + 1, c


def winners_shapes(shape: tuple[int, ...], size: int, stride: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shapes of the two uint8 arrays that remember the winners for data of (samples, y, x, c)."""
    n, _, x, c = shape
    out_y, out_x, _ = output_shape((shape[1], x, c), size, stride)
    return (n, out_y, x, c), (n, out_y, out_x, c)


def _windows(array: Array, axis: int, offset: int, count: int, stride: int) -> Array:
    """View the elements at ``offset`` of each of ``count`` windows along ``axis``."""
    part = slice(offset, offset + stride * (count - 1) + 1, stride)
    return array[(slice(None),) * axis + (part,)]


def _maxima(worker: int, x: Array, axis: int, size: int, stride: int, out: Array, winners: NDArray[np.uint8]) -> None:
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


def _spread(
    worker: int, error: Array, axis: int, size: int, stride: int, winners: NDArray[np.uint8], out: Array
) -> None:
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


def _chunks(start: int, stop: int, image_size: int) -> Iterator[slice]:
    """Cut the samples from ``start`` to ``stop`` into chunks that stay in a core's cache."""
    step = max(1, PIECE // image_size)
    for i in range(start, stop, step):
        yield slice(i, min(i + step, stop))


def forward(data: Array, size: int, stride: int, out: Array, winners: Winners) -> None:
    """Write the maxima into ``out`` and their places into ``winners`` (see ``winners_shapes``)."""
    down, across = winners

    def work(worker: int, start: int, stop: int) -> None:
        for part in _chunks(start, stop, data[0].size):
            (rows,) = cut(worker, data.dtype, down[part].shape)
            _maxima(worker, data[part], 1, size, stride, rows, down[part])
            _maxima(worker, rows, 2, size, stride, out[part], across[part])

    share(work, data.shape[0])


def backward(error: Array, size: int, stride: int, winners: Winners, out: Array) -> None:
    """Write each element of the error to the place that won, zero elsewhere, into ``out`` (the data's shape)."""
    down, across = winners

    def work(worker: int, start: int, stop: int) -> None:
        for part in _chunks(start, stop, out[0].size):
            (rows,) = cut(worker, error.dtype, down[part].shape)
            _spread(worker, error[part], 2, size, stride, across[part], rows)
            _spread(worker, rows, 1, size, stride, down[part], out[part])

    share(work, error.shape[0])
