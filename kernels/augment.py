"""Makes a batch from images that stay as bytes: gather, crop from a black border, subtract the mean, divide."""

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.threads import share

Array = NDArray[np.floating]


def crop(
    images: NDArray[np.uint8],
    indices: NDArray[np.integer],
    offsets: NDArray[np.integer],
    border: int,
    mean: Array,
    divisor: float,
    out: Array,
) -> None:
    """Write (crop − mean)/divisor of the images at ``indices`` into ``out``.

    images: (n, y, x, 3), thought of with ``border`` black pixels on each side; indices: (samples,);
    offsets: (samples, 2), where in the bordered image each crop begins, (border, border) being the image itself;
    mean: (3,), in 0 … 255; out: (samples, out_y, out_x, 3).
    """
    height, width = images.shape[1:3]
    out_y, out_x = out.shape[1:3]
    row_mean = np.tile(mean.astype(out.dtype), out_x)

    def work(worker: int, start: int, stop: int) -> None:
        for i in range(start, stop):
            top, left = int(offsets[i, 0]) - border, int(offsets[i, 1]) - border
            ys, xs = slice(max(0, -top), height - top), slice(max(0, -left), width - left)
            target = out[i]
            target[...] = 0
            inside = target[ys, xs]
            y, x = max(0, top), max(0, left)
            inside[...] = images[indices[i], y : y + inside.shape[0], x : x + inside.shape[1]]
            target = target.reshape(out_y, -1)
            target -= row_mean
            target *= out.dtype.type(1 / divisor)

    share(work, out.shape[0], 8)
