"""Augmentation: a batch is cropped from images that stay on the GPU as bytes; see kernels/augment.py and augment.cu."""

from typing import Any, NamedTuple

import cupy
import numpy as np

from minidl.kernels.gpu.source import ints, lanes, launch, over_pixels

Array = Any
ROWS = 4  # of a sample, for each thread: it reads four numbers, one after another, to locate its first pixel


class Pictures(NamedTuple):
    """Images or masks of any sizes: all their bytes, the start of each (n,), and rows and columns of each (n, 2)."""

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

    images: of ``store``, each with ``border`` imaginary black pixels on each side; classes: (n,); order: (n,),
    indices; offsets: (n, 2), where in the bordered image each crop of the order begins, (border, border) being the
    image itself; mean: (3,), in 0 … 255, on the host; out: (samples, out_y, out_x, 3); labels: (samples,).
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

    images, masks: of ``store``; order: (n,), indices; corners: (n, 2), where each crop of the order begins, outside of
    its image if negative; colours: (n, 3), added inside of the image and clipped to 0 … 255; mirrored: (n,), whether
    left is right; out: (samples, out_y, out_x, 3); labels: (samples, out_y, out_x). Outside of an image pixels are
    black and labels −1, which 255 becomes, too.
    """
    stored = (images.bytes, images.starts, masks.bytes, masks.starts, images.extents)
    orders = (order, corners, colours, mirrored, position)
    _launch("crop_with_masks", *stored, *orders, *_scaling(mean, divisor, out.dtype), out, labels)
    _advance(position, out)


def _launch(kernel: str, *args: Any) -> None:
    """Run a kernel whose last arguments are ``out`` and ``labels``, by some blocks for each sample."""
    out = args[-2]
    samples, y, x, colours = out.shape
    unit = lanes(x * colours, out)
    (_, down, across), block = over_pixels(samples, y, x * colours // unit)
    launch("augment", kernel, out.dtype, (samples, -(-down // ROWS), across), block, (*args, *ints(y, x, unit)))


def _advance(position: Array, out: Array) -> None:
    """Advance the position by the samples of ``out``."""
    launch("augment", "advance", out.dtype, 1, 1, (position, np.int64(len(out))))


def _scaling(mean: Any, divisor: float, dtype: Any) -> tuple[np.generic, ...]:
    """Return the colours' means, and the reciprocal of the divisor."""
    return tuple(dtype.type(number) for number in (*mean, 1 / divisor))
