"""Outlines that the built-in set draws, as bitmaps.

All arithmetic is in whole numbers, so that every machine gets the same bitmaps to the last pixel.
"""

from collections.abc import Sequence
from math import cos, pi, sin

import numpy as np
from numpy.typing import NDArray

SIZE = 128
"""Pixels along one side of a bitmap."""

RADIUS = 120
"""No outline reaches farther than this from the middle, in units of half a pixel: the border stays empty."""

CLASSES = ("circle", "square", "triangle", "star", "cross", "ring", "crescent", "heart", "arrow", "hourglass")
DISTRACTORS = ("line", "dot")

Bitmap = NDArray[np.bool_]
Corners = Sequence[tuple[int, int]]

# Pixel middles in units of half a pixel: odd numbers, so that a corner on even numbers is never hit.
_X = np.arange(1 - SIZE, SIZE, 2, dtype=np.int64)[None, :]
_Y = _X.T


def bitmaps() -> NDArray[np.uint8]:
    """Return the outlines of ``CLASSES``, then of ``DISTRACTORS``: uint8 ``(12, SIZE, SIZE)``, 0 or 1."""
    outlines = (
        _disc(100),
        _polygon([(-82, -82), (82, -82), (82, 82), (-82, 82)]),
        _polygon(_regular(3, 118)),
        _polygon(_star(5, 118, 46)),
        _polygon(_box(112, 32)) | _polygon(_box(32, 112)),
        _disc(106) & ~_disc(62),
        _disc(112) & ~_disc(92, 56, 0),
        _disc(58, -50, -36) | _disc(58, 50, -36) | _polygon([(-94, 2), (0, -36), (94, 2), (0, 112)]),
        _polygon([(0, -116), (88, -10), (32, -10), (32, 110), (-32, 110), (-32, -10), (-88, -10)]),
        _polygon([(-84, -84), (84, -84), (0, 0)]) | _polygon([(-84, 84), (84, 84), (0, 0)]),
        _polygon(_box(116, 14)),
        _disc(40),
    )
    return np.stack(outlines).astype(np.uint8)


def _disc(radius: int, x: int = 0, y: int = 0) -> Bitmap:
    return (_X - x) ** 2 + (_Y - y) ** 2 <= radius**2


def _box(half_width: int, half_height: int) -> Corners:
    return [
        (-half_width, -half_height),
        (half_width, -half_height),
        (half_width, half_height),
        (-half_width, half_height),
    ]


def _regular(corners: int, radius: int) -> Corners:
    """Corners of a regular polygon, one at the top, on even numbers."""
    angles = [2 * pi * corner / corners for corner in range(corners)]
    return [(2 * round(radius / 2 * sin(angle)), -2 * round(radius / 2 * cos(angle))) for angle in angles]


def _star(points: int, outer: int, inner: int) -> Corners:
    """Corners of a star: every other corner of a regular polygon moves in to the inner radius."""
    return [
        corner if index % 2 == 0 else near
        for index, (corner, near) in enumerate(
            zip(_regular(2 * points, outer), _regular(2 * points, inner), strict=True)
        )
    ]


def _polygon(corners: Corners) -> Bitmap:
    """Return the pixels from which a ray to the right crosses the polygon's edges an odd number of times."""
    inside = np.zeros((SIZE, SIZE), dtype=np.bool_)
    for (x1, y1), (x2, y2) in zip(corners, [*corners[1:], corners[0]], strict=True):
        straddles = (y1 > _Y) != (y2 > _Y)
        # The pixel is left of the edge: the edge's equation multiplied out, with the sign of its direction.
        side = (_X - x1) * (y2 - y1) - (x2 - x1) * (_Y - y1)
        inside ^= straddles & (side * (1 if y2 > y1 else -1) < 0)
    return inside
