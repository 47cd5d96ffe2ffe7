"""Augmentation: crop a batch from images that are stored as bytes, and scale it.

    out = (clip(crop + colour, 0, 255) − mean)/divisor

Outside of its image a crop is black. The images of a batch are the next ones in ``order``. ``position``, an array of
one element, counts the images that have been used; each call increases it by the samples of the batch.
"""

from typing import Any

import numpy as np

Array = Any  # numpy.ndarray or cupy.ndarray
VOID = 255  # of a mask: no label, −1 as int8


def store(images: Any) -> Any:
    """Return images or masks, an array or a list of arrays of any sizes, as the functions below need them."""
    return images


def crop(
    images: Any,
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

    images: (n, y, x, 3), used as if they had ``border`` black pixels on each side; classes: (n,); order: (n,), indices;
    offsets: (n, 2), where in the bordered image each crop of the order begins; (border, border) is the image itself;
    mean: (3,), in 0 … 255, on the host; out: (samples, out_y, out_x, 3); labels: (samples,).
    """
    chosen = _advance(position, len(out))
    labels[...] = classes[order[chosen]]
    for target, i, (y, x) in zip(out, order[chosen].tolist(), offsets[chosen].tolist(), strict=True):
        image = np.asarray(images[i], like=out)
        target[...] = _window(image, (y - border, x - border), target.shape[:2], outside=0)
    out[...] = (out - np.asarray(mean, like=out)) / divisor


def crop_with_masks(
    images: Any,
    masks: Any,
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

    images: (y, x, 3), of any sizes, masks: (y, x); order: (n,), indices; corners: (n, 2), where each crop of the order
    begins, outside of its image if negative; colours: (n, 3), added inside the image and clipped to 0 … 255;
    mirrored: (n,), whether to mirror it; mean: (3,), in 0 … 255, on the host; out: (samples, out_y, out_x, 3); labels:
    (samples, out_y, out_x). Outside an image pixels are black and labels −1; masks of 255 become −1, too.
    """
    chosen = _advance(position, len(out))
    orders = (order[chosen].tolist(), corners[chosen].tolist(), colours[chosen], mirrored[chosen].tolist())
    for target, label, i, corner, colour, mirror in zip(out, labels, *orders, strict=True):
        image, mask = np.asarray(images[i], like=out), np.asarray(masks[i], like=out)
        columns = slice(None, None, -1 if mirror else 1)
        target[:, columns] = _window((image + colour).clip(0, 255), corner, label.shape, outside=0)
        label[:, columns] = _window(mask, corner, label.shape, outside=VOID).astype(np.int8)
    out[...] = (out - np.asarray(mean, like=out)) / divisor


def _advance(position: Array, samples: int) -> slice:
    """Return the places of the next samples in the order, and move the position on."""
    start = int(position[0])
    position += samples
    return slice(start, start + samples)


def _window(image: Array, corner: Any, shape: tuple[int, int], outside: int) -> Array:
    """Return the part of an image (y, x, …) that begins at ``corner``; ``outside``: what lies around the image.

    >>> _window(np.array([[1, 2], [3, 4]]), corner=(1, -1), shape=(2, 3), outside=9)
    array([[9, 3, 4],
           [9, 9, 9]])
    """
    (top, left), (y, x), (height, width) = corner, shape, image.shape[:2]
    inside = np.s_[max(0, -top) : max(0, height - top), max(0, -left) : max(0, width - left)]
    part = np.full_like(image, outside, shape=(y, x, *image.shape[2:]))
    part[inside] = image[max(0, top) : max(0, top + y), max(0, left) : max(0, left + x)]
    return part
