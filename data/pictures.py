"""Pictures of a net's predictions for each pixel, in VOC's colours."""

from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = Any
MIN_SIDE = 128  # pixels of a picture's longer side; smaller pictures are enlarged
GAP = 4


def palette() -> NDArray[np.uint8]:
    """Return VOC's colours (256, 3): the bits of a label, three at a time, are bits of red, green and blue."""
    labels = np.arange(256)
    colours = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= ((labels >> (3 * bit + channel) & 1) << (7 - bit)).astype(np.uint8)
    return colours


def predictions(examples: Iterable[tuple[Array, Array, Array]], forward: Callable[[Array], Array]) -> bytes:
    """Return a PNG with a row for each example: the image, the true mask, and the classes that ``forward`` finds.

    examples: data for ``forward``, image (y, x, 3) and mask (y, x).
    """
    colours = palette()
    rows = []
    for data, image, mask in examples:
        found = forward(data)[0].argmax(axis=-1)
        row = np.stack([image, colours[mask], colours[found]])
        scale = max(1, MIN_SIDE // max(mask.shape))
        rows.append(row.repeat(scale, axis=1).repeat(scale, axis=2))
    height = sum(row.shape[1] + GAP for row in rows) - GAP
    widest = max(row.shape[2] for row in rows)
    canvas = np.full((height, 3 * (widest + GAP) - GAP, 3), 255, np.uint8)
    top = 0
    for row in rows:
        _, y, x, _ = row.shape
        for i, picture in enumerate(row):
            left = i * (widest + GAP)
            canvas[top : top + y, left : left + x] = picture
        top += y + GAP
    return png(canvas)


def png(pixels: NDArray[np.uint8], colours: NDArray[np.uint8] | None = None) -> bytes:
    """Return pixels as a PNG; labels as colour indices, like the masks of VOC."""
    image, file = Image.fromarray(pixels), BytesIO()
    if colours is not None:
        image.putpalette(colours.tobytes())
    image.save(file, "PNG")
    return file.getvalue()
