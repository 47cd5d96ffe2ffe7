"""Max pooling without padding: the largest element of each window.

    y[s, y, x, c]        = max of data[s, t·y + i, t·x + j, c] over i, j < size, with the stride t
    ∂L/∂data[s, Y, X, c] = Σ ∂L/∂y[s, y, x, c] over the windows (y, x) whose maximum is the pixel (Y, X)

data (samples, y, x, c), output (samples, (y − size)//stride + 1, (x − size)//stride + 1, c). If several
elements of a window are equally large, its maximum is the first of them, counted column by column.
"""

from typing import Any

import numpy as np

from minidl.kernels.windows import windows

Array = Any  # numpy.ndarray or cupy.ndarray


def output_shape(shape: tuple[int, int, int], size: int, stride: int) -> tuple[int, int, int]:
    """Return (y, x, c) of the output for data of (y, x, c)."""
    y, x, c = shape
    return (y - size) // stride + 1, (x - size) // stride + 1, c


def argmax_shapes(shape: tuple[int, ...], size: int, stride: int) -> tuple[tuple[int, ...]]:
    """Return the shape of the array that remembers where the maxima are, for data of (samples, y, x, c).

    It is (size², samples, y, x, c) with the output's y and x: for each pixel of a window, 1 where this pixel is the
    maximum, else 0.
    """
    samples, y, x, c = shape
    return ((size**2, samples, *output_shape((y, x, c), size, stride)),)


def argmax_type(size: int) -> Any:
    """Return the type of that array."""
    return np.dtype(np.uint8)


def forward(data: Array, size: int, stride: int, out: Array, argmax: tuple[Array]) -> None:
    """Write the maxima into ``out`` and the pixels that they come from into ``argmax`` (see ``argmax_shapes``)."""
    pixels = np.stack([pixel for _, _, pixel in windows(data, (size, size), (stride, stride))])
    out[...] = pixels.max(axis=0)
    best = pixels.argmax(axis=0)
    for place, is_best in enumerate(argmax[0]):
        is_best[...] = best == place


def inference(data: Array, size: int, stride: int, out: Array) -> None:
    """Write the maxima into ``out``, without the pixels that they come from."""
    out[...] = np.stack([pixel for _, _, pixel in windows(data, (size, size), (stride, stride))]).max(axis=0)


def backward(error: Array, size: int, stride: int, argmax: tuple[Array], out: Array) -> None:
    """Write each element of the error to the place of the maximum, zero elsewhere, into ``out`` (the data's shape)."""
    out[...] = 0
    for is_best, (_, _, pixels) in zip(argmax[0], windows(out, (size, size), (stride, stride)), strict=True):
        pixels += np.where(is_best, error, 0)
