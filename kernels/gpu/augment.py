"""Augmentation: a batch is cropped from images stored on the GPU as bytes; see kernels/augment.py and augment.cu."""

from typing import Any, NamedTuple

import cupy
import numpy as np

from minidl.kernels.gpu.source import ints, lanes, launch, over_pixels

Array = Any
ROWS = 4  # rows of a sample per thread: before its first pixel, a thread waits for four reads, one after another


class Pictures(NamedTuple):
    """Images or masks of any sizes: all bytes, the start of each image (n,), and its rows and columns (n, 2)."""

    bytes: Array
    starts: Array
    extents: Array


def store(images: Any) -> Pictures:
    """Copy images or masks, an array or a list of arrays of any sizes, to the GPU."""
    ends = np.cumsum([image.size for image in images], dtype=np.int64)
    extents = np.array([image.shape[:2] for image in images], np.int32)
    everything = np.concatenate([image.reshape(-1) for image in images])
    return Pictures(cupy.asarray(everything), cupy.asarray(np.append(0, ends[:-1])), cupy.asarray(extents))


def crop(
    images: Pictures,
    classes: Array,
    order: Array,
    offsets: Array,
    position: Array,
    border: int,
    mean: Any,
    divisor: float,
    out: Array,
    labels: Array,
) -> None:
    """Write (crop − mean)/divisor of the next images of the order into ``out``, their classes into ``labels``.

    images: from ``store``, used as if they had ``border`` black pixels on each side; classes: (n,); order: (n,),
    indices; offsets: (n, 2), where in the bordered image each crop of the order begins; (border, border) is the image
    itself; mean: (3,), in 0 … 255, on the host; out: (samples, out_y, out_x, 3); labels: (samples,).
    """
    scaling = _scaling(mean, divisor, out.dtype)
    _launch("crop", *images, classes, order, offsets, position, *ints(border), *scaling, out, labels)
    _advance(position, out)


def crop_with_masks(
    images: Pictures,
    masks: Pictures,
    order: Array,
    corners: Array,
    colours: Array,
    mirrored: Array,
    position: Array,
    mean: Any,
    divisor: float,
    out: Array,
    labels: Array,
) -> None:
    """Write (crop + colour − mean)/divisor of the next images into ``out``, their masks' crops into ``labels``.

    images, masks: from ``store``; order: (n,), indices; corners: (n, 2), where each crop of the order begins, outside
    of its image if negative; colours: (n, 3), added inside the image and clipped to 0 … 255; mirrored: (n,), whether to
    mirror it; mean: (3,), in 0 … 255, on the host; out: (samples, out_y, out_x, 3); labels: (samples, out_y, out_x).
    Outside an image pixels are black and labels −1; masks of 255 become −1, too.
    """
    stored = (images.bytes, images.starts, masks.bytes, masks.starts, images.extents)
    orders = (order, corners, colours, mirrored, position)
    _launch("crop_with_masks", *stored, *orders, *_scaling(mean, divisor, out.dtype), out, labels)
    _advance(position, out)


def _launch(kernel: str, *args: Any) -> None:
    """Run a kernel whose last arguments are ``out`` and ``labels``, with some blocks for each sample."""
    out = args[-2]
    samples, y, x, colours = out.shape
    unit = lanes(x * colours, out)
    (_, down, across), block = over_pixels(samples, y, x * colours // unit)
    launch("augment", kernel, out.dtype, (samples, -(-down // ROWS), across), block, (*args, *ints(y, x, unit)))


def _advance(position: Array, out: Array) -> None:
    """Advance the position by the samples of ``out``."""
    launch("augment", "advance", out.dtype, 1, 1, (position, np.int64(len(out))))


def _scaling(mean: Any, divisor: float, dtype: Any) -> tuple[np.generic, ...]:
    """Return the means of red, green and blue, and 1/divisor, as NumPy scalars."""
    return tuple(dtype.type(number) for number in (*mean, 1 / divisor))
