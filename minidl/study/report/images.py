"""Pictures as the page has them: PNG inside an address, so that no file lies beside the page."""

from base64 import b64encode
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = Any
GAP = 1  # pixels between the filters


def address(pixels: NDArray[np.uint8], longest: int = 0) -> str:
    """Return bytes (y, x, 3) as an address of a PNG, made smaller where a side is longer than ``longest``."""
    picture = Image.fromarray(pixels)
    if longest:
        picture.thumbnail((longest, longest))
    file = BytesIO()
    picture.save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{b64encode(file.getvalue()).decode()}"


def filters(weights: Array, across: int) -> NDArray[np.uint8]:
    """Return filters (n, y, x, 3) as a picture, ``across`` in a row; 0 is grey, the largest weight white or black.

    So a filter's mean is its brightness, and the three weights at a place are its red, green and blue.
    """
    n, y, x, _ = weights.shape
    largest = float(np.abs(weights).max()) or 1.0
    pixels = np.rint(127.5 + 127.5 * weights / largest).astype(np.uint8)
    down = -(-n // across)
    canvas = np.full((down * (y + GAP) - GAP, across * (x + GAP) - GAP, 3), 255, np.uint8)
    for i, one in enumerate(pixels):
        top, left = i // across * (y + GAP), i % across * (x + GAP)
        canvas[top : top + y, left : left + x] = one
    return canvas
