"""Augmentation: a batch is cropped from images that are stored as bytes, and scaled; kernels/augment.py defines it."""

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
    images: Sequence[NDArray[np.uint8]] | NDArray[np.uint8],
    classes: NDArray[np.integer],
    crops: Crops,
    mean: Array,
    divisor: float,
    out: Array,
    labels: NDArray[np.integer],
) -> None:
    """Write (crop − mean)/divisor of the next images into ``out``, their classes into ``labels``.

    images: (y, x, 3), of any sizes; classes: (n,); mean: (3,), in 0 … 255; out: (samples, out_y, out_x, 3); labels:
    (samples,). Outside an image pixels are black.
    """
    indices, corners = _next(crops, len(out))
    labels[...] = classes[indices]
    row_mean = np.tile(mean.astype(out.dtype), out.shape[2])

    def work(worker: int, start: int, stop: int) -> None:
        for i in range(start, stop):
            image = images[indices[i]]
            inside, seen = _overlap(corners[i], out.shape[1:3], image.shape[:2])
            out[i] = 0
            out[i][inside] = image[seen]
            _scale(out[i], row_mean, divisor)

    share(work, len(out), 8)


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
    (samples, out_y, out_x). Outside an image pixels are black and labels −1; masks of 255 become −1, too.
    """
    indices, corners, colours, mirrored = _next(crops, len(out))
    row_mean = np.tile(mean.astype(out.dtype), out.shape[2])
    offsets = colours.astype(out.dtype)

    def work(worker: int, start: int, stop: int) -> None:
        for i in range(start, stop):
            image, mask = images[indices[i]], masks[indices[i]]
            inside, seen = _overlap(corners[i], out.shape[1:3], mask.shape)
            columns = slice(None, None, -1 if mirrored[i] else 1)
            labels[i] = -1
            labels[i][:, columns][inside] = mask[seen].view(np.int8)
            out[i] = 0
            pixels = out[i][:, columns][inside]
            pixels[...] = image[seen]
            pixels += offsets[i]
            np.clip(pixels, 0, 255, out=pixels)
            _scale(out[i], row_mean, divisor)

    share(work, len(labels))


def _overlap(corner: Any, shape: tuple[int, ...], extents: tuple[int, ...]) -> tuple[tuple[slice, ...], ...]:
    """Return which part of a crop of ``shape`` lies on its image of ``extents``, and which part of the image that is.

    >>> _overlap(corner=(-3, 2), shape=(5, 5), extents=(9, 4))
    ((slice(3, 5, None), slice(0, 2, None)), (slice(0, 2, None), slice(2, 4, None)))
    """
    starts = [int(start) for start in corner]
    ends = list(map(overlap, starts, shape, extents))
    inside = (slice(first - start, last - start) for (first, last), start in zip(ends, starts, strict=True))
    return tuple(inside), tuple(slice(first, last) for first, last in ends)


def _scale(image: Array, row_mean: Array, divisor: float) -> None:
    """Write (image − mean)/divisor into the image; row_mean: the mean of each number of a row of pixels."""
    rows = image.reshape(len(image), -1)
    rows -= row_mean
    rows *= image.dtype.type(1 / divisor)


def _next(crops: Crops, samples: int) -> list[NDArray[Any]]:
    """Return order, corners, … of the next samples, and advance the position."""
    position, *arrays = crops
    start = int(position[0])
    position += samples
    return [array[start : start + samples] for array in arrays if array is not None]
