"""Augmentation: crop a batch from images that are stored as bytes, and scale it.

    out = (clip(crop + colour, 0, 255) − mean)/divisor

Outside of its image a crop is black. The images of a batch are the next ones of an epoch, see ``Crops``.
"""

from typing import Any, NamedTuple

import numpy as np

Array = Any  # numpy.ndarray or cupy.ndarray
VOID = 255  # the label of a pixel of a mask that has none; −1 as int8


class Crops(NamedTuple):
    """The n images of an epoch in their order, and what is cropped of each.

    position: (1,), how many of them the batches have used; each batch moves it on. order: (n,), the images' indices.
    corners: (n, 2), where each crop begins, (y, x) in its image, outside if negative. Only for images with masks:
    colours: (n, 3), added to the pixels of an image, which stay in 0 … 255; mirrored: (n,), whether a crop is mirrored.
    """

    position: Array
    order: Array
    corners: Array
    colours: Array = None
    mirrored: Array = None


def store(images: Any) -> Any:
    """Return images or masks, an array or a list of arrays of any sizes, as the functions below need them."""
    return images


def crop(images: Any, classes: Array, crops: Crops, mean: Any, divisor: float, out: Array, labels: Array) -> None:
    """Write (crop − mean)/divisor of the next images into ``out``, their classes into ``labels``.

    images: (y, x, 3), of any sizes; classes: (n,); mean: (3,), in 0 … 255, on the host; out: (samples, out_y, out_x,
    3); labels: (samples,). Outside an image pixels are black.
    """
    order, corners = _next(crops, len(out))
    labels[...] = classes[order]
    for target, i, corner in zip(out, order.tolist(), corners.tolist(), strict=True):
        target[...] = _window(np.asarray(images[i], like=out), corner, target.shape[:2], outside=0)
    out[...] = (out - np.asarray(mean, like=out)) / divisor


def crop_with_masks(
    images: Any, masks: Any, crops: Crops, mean: Any, divisor: float, out: Array, labels: Array
) -> None:
    """Write (crop + colour − mean)/divisor of the next images into ``out``, their masks' crops into ``labels``.

    images: (y, x, 3), of any sizes, masks: (y, x); mean: (3,), in 0 … 255, on the host; out: (samples, out_y, out_x,
    3); labels: (samples, out_y, out_x). Outside an image pixels are black and labels −1; masks of 255 become −1, too.
    """
    order, corners, colours, mirrored = _next(crops, len(out))
    each = order.tolist(), corners.tolist(), colours, mirrored.tolist()
    for target, label, i, corner, colour, mirror in zip(out, labels, *each, strict=True):
        image, mask = np.asarray(images[i], like=out), np.asarray(masks[i], like=out)
        columns = slice(None, None, -1 if mirror else 1)
        target[:, columns] = _window((image + colour).clip(0, 255), corner, label.shape, outside=0)
        label[:, columns] = _window(mask, corner, label.shape, outside=VOID).astype(np.int8)
    out[...] = (out - np.asarray(mean, like=out)) / divisor


def _next(crops: Crops, samples: int) -> list[Array]:
    """Return order, corners, … of the next samples, and move the position on."""
    position, *arrays = crops
    start = int(position[0])
    position += samples
    return [array[start : start + samples] for array in arrays if array is not None]


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
