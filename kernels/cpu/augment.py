"""Augmentation: a batch is cropped from images that stay as bytes, with black around them, and scaled.

The images of a batch are the next ones of an epoch, see kernels/augment.py.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.augment import Crops
from minidl.kernels.cpu.chunks import overlap
from minidl.kernels.cpu.threads import share

Array = NDArray[np.floating]


def store(images: Any) -> Any:
    """Return images or masks, an array or a list of arrays of any sizes, in the form that the functions below need."""
    return images


def crop(
    images: NDArray[np.uint8],
    classes: NDArray[np.integer],
    crops: Crops,
    mean: Array,
    divisor: float,
    out: Array,
    labels: NDArray[np.integer],
) -> None:
    """Write (crop − mean)/divisor of the next images into ``out``, their classes into ``labels``.

    images: (n, y, x, 3); classes: (n,); mean: (3,), in 0 … 255; out: (samples, out_y, out_x, 3); labels: (samples,).
    Outside of an image pixels are black.
    """
    indices, corners = _next(crops, len(out))
    labels[...] = classes[indices]
    height, width = images.shape[1:3]
    out_y, out_x = out.shape[1:3]
    row_mean = np.tile(mean.astype(out.dtype), out_x)

    def work(worker: int, start: int, stop: int) -> None:
        for i in range(start, stop):
            top, left = map(int, corners[i])
            ys, xs = overlap(top, out_y, height), overlap(left, out_x, width)
            target = out[i]
            target[...] = 0
            target[_slice(ys, top), _slice(xs, left)] = images[indices[i], _slice(ys), _slice(xs)]
            target = target.reshape(out_y, -1)
            target -= row_mean
            target *= out.dtype.type(1 / divisor)

    share(work, out.shape[0], 8)


def crop_with_masks(
    images: Sequence[NDArray[np.uint8]],
    masks: Sequence[NDArray[np.uint8]],
    crops: Crops,
    mean: Array,
    divisor: float,
    out: Array,
    labels: NDArray[np.int8],
) -> None:
    """Write (crop + colour − mean)/divisor of the next images into ``out``, their masks' crops into ``labels``.

    images: (y, x, 3), of any sizes, masks: (y, x); mean: (3,), in 0 … 255; out: (samples, out_y, out_x, 3); labels:
    (samples, out_y, out_x). Outside of an image pixels are black and labels −1, which 255 becomes, too.
    """
    indices, corners, colours, mirrored = _next(crops, len(out))
    out_y, out_x = labels.shape[1:]
    row_mean = np.tile(mean.astype(out.dtype), out_x)
    offsets = colours.astype(out.dtype)

    def work(worker: int, start: int, stop: int) -> None:
        for i in range(start, stop):
            image, mask = images[indices[i]], masks[indices[i]]
            (top, left), (height, width) = corners[i], mask.shape
            over = overlap(int(top), out_y, height), overlap(int(left), out_x, width)
            ys, xs = map(_slice, over)
            inside = _slice(over[0], int(top)), _slice(over[1], int(left))
            columns = slice(None, None, -1 if mirrored[i] else 1)
            labels[i] = -1
            labels[i][:, columns][inside] = mask[ys, xs].view(np.int8)
            out[i] = 0
            pixels = out[i][:, columns][inside]
            pixels[...] = image[ys, xs]
            pixels += offsets[i]
            np.clip(pixels, 0, 255, out=pixels)
            rows = out[i].reshape(out_y, -1)
            rows -= row_mean
            rows *= out.dtype.type(1 / divisor)

    share(work, len(labels))


def _slice(ends: tuple[int, int], start: int = 0) -> slice:
    """Return the slice between two ends, counted from ``start``."""
    return slice(ends[0] - start, ends[1] - start)


def _next(crops: Crops, samples: int) -> list[NDArray[Any]]:
    """Return order, corners, … of the next samples, and advance the position."""
    position, *arrays = crops
    start = int(position[0])
    position += samples
    return [array[start : start + samples] for array in arrays if array is not None]
