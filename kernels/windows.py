"""Windows of images, over which convolutions and poolings sum or compare."""

from collections.abc import Iterator
from typing import Any

import numpy as np

Array = Any  # numpy.ndarray or cupy.ndarray
Pair = tuple[int, int]


def windows(images: Array, size: Pair, stride: Pair) -> Iterator[tuple[int, int, Array]]:
    """Yield i, j and the pixel (i, j) of every window of images (samples, y, x, c), column by column.

    The pixels are a view (samples, windows along y, windows along x, c): every stride-th pixel of the images from
    (i, j) on, as long as whole windows fit in.

    >>> images = np.arange(5).reshape(1, 1, 5, 1)
    >>> [pixels.ravel().tolist() for i, j, pixels in windows(images, size=(1, 2), stride=(1, 3))]
    [[0, 3], [1, 4]]
    """
    height, width = images.shape[1:3]
    for j, i in np.ndindex(size[1], size[0]):
        rows = slice(i, height - size[0] + i + 1, stride[0])
        columns = slice(j, width - size[1] + j + 1, stride[1])
        yield i, j, images[:, rows, columns]


def index_type(size: int) -> Any:
    """Return the smallest type that can number the pixels of a window: uint8 up to 16 × 16, uint16 up to 256 × 256."""
    return np.min_scalar_type(size**2 - 1)
