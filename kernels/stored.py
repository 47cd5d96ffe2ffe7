"""Stored images: whether something can be stored for augmentation, and what is known of it without its pixels."""

from typing import Any, NamedTuple

import numpy as np


class Layout(NamedTuple):
    """The extents (n, 2) of n images, (y, x) of each, on the host, and the shape of a pixel: (3,), or () of masks."""

    extents: Any
    pixel: tuple[int, ...]


def layout(images: Any) -> Layout | None:
    """Return the layout of a NumPy array, or a list of them, of bytes; None if it cannot be stored."""
    if isinstance(images, np.ndarray) and images.ndim:
        found = layout([images[0]]) if len(images) else None  # all are like the first one
        return found and found._replace(extents=found.extents.repeat(len(images), axis=0))
    each = images if isinstance(images, list | tuple) else ()
    if not all(isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.size for image in each):
        return None
    if {image.shape[2:] for image in each} not in ({(3,)}, {()}) or any(image.ndim < 2 for image in each):
        return None
    return Layout(np.array([image.shape[:2] for image in each]), each[0].shape[2:])
