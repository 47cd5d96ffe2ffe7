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


def forward(data: Array, size: int, stride: int, out: Array, buffer: Any) -> Array:
    """Write the maxima into ``out``, and return the number of each one's pixel in its window, which backward needs.

    buffer: buffer(name, shape, dtype) gives a fast version memory for these numbers, the same in each call.
    """
    pixels = np.stack([pixel for _, _, pixel in windows(data, (size, size), (stride, stride))])
    out[...] = pixels.max(axis=0)
    return pixels.argmax(axis=0)


def inference(data: Array, size: int, stride: int, out: Array) -> None:
    """Write the maxima into ``out``, without the pixels that they come from."""
    out[...] = np.stack([pixel for _, _, pixel in windows(data, (size, size), (stride, stride))]).max(axis=0)


def backward(error: Array, size: int, stride: int, argmax: Array, out: Array) -> None:
    """Write each element of the error to the place of the maximum, zero elsewhere, into ``out`` (the data's shape).

    argmax: of ``forward``.
    """
    out[...] = 0
    for place, (_, _, pixels) in enumerate(windows(out, (size, size), (stride, stride))):
        pixels += np.where(argmax == place, error, 0)
