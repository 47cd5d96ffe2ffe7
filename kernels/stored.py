"""Stored images: whether something can be stored for augmentation, and what is known of it without its pixels."""

from typing import Any, NamedTuple

import numpy as np


class Layout(NamedTuple):
    """The extents (n, 2) of n images, (y, x) of each, on the host, and the shape of a pixel: (3,), or () of masks."""

    extents: Any
    pixel: tuple[int, ...]


def storable(images: Any) -> bool:
    """Return whether this is a NumPy array or a list of them, of bytes: all of them images, or all of them masks."""
    if isinstance(images, np.ndarray):
        return images.dtype == np.uint8 and images.ndim > 2 and len(images) > 0 and storable([images[0]])
    each = images if isinstance(images, list | tuple) else ()
    if not all(isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.size for image in each):
        return False
    return {(image.ndim, *image.shape[2:]) for image in each} in ({(3, 3)}, {(2,)})


def layout(images: Any) -> Layout:
    """Return the layout of images that can be stored."""
    return Layout(np.array([image.shape[:2] for image in images]), images[0].shape[2:])
