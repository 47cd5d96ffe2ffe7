"""Backgrounds of the built-in set: two colours blended by a gradient, stripes, checks or clouds."""

import numpy as np

from minidl.data.bits import ONE, Bits, Integers


def backgrounds(bits: Bits, ground: Integers, size: int) -> Integers:
    """Return a picture for each colour in ``ground`` (n, 3), int32 ``(n, 3, size, size)``.

    The second colour differs from the first by at most 64 of 255 in each of red, green and blue; it can leave
    the range of a byte.
    """
    step = bits.integers(-64, 65, *ground.shape)
    return ground[:, :, None, None] + (step[:, :, None, None] * _patterns(bits, len(ground), size)[:, None] >> 8)


def _patterns(bits: Bits, count: int, size: int) -> Integers:
    """Return a pattern of a random kind for each image, 0 to 255, ``(n, size, size)``."""
    kind = bits.integers(0, 4, count)[:, None, None]
    cosine, sine = (part[:, None, None] for part in bits.rotations(count))
    width = bits.integers(8, 32, count)[:, None, None]  # of a stripe, in quarters of a pixel
    points = np.arange(size, dtype=np.int32) - size // 2
    x, y = points[None, None, :], points[None, :, None]
    u = cosine * x + sine * y + bits.integers(0, size * ONE, count)[:, None, None]
    v = cosine * y - sine * x + bits.integers(0, size * ONE, count)[:, None, None]
    gradient = (256 * u // (size * ONE)).clip(0, 255)
    stripes = u // (width * ONE // 4) & 1
    crossing = v // (width * ONE // 4) & 1
    return np.select(
        [kind == 0, kind == 1, kind == 2],
        [gradient, 255 * stripes, 255 * (stripes ^ crossing)],
        _clouds(bits, count, size),
    )


def _clouds(bits: Bits, count: int, size: int) -> Integers:
    """Return random greys on a grid of 5 by 5 points, blended linearly between them."""
    cell = size // 4
    position = np.arange(size)
    weights = np.zeros((size, 5), dtype=np.int32)
    weights[position, position // cell] = cell - position % cell
    weights[position, position // cell + 1] = position % cell
    return weights @ bits.integers(0, 256, count, 5, 5) @ weights.T // cell**2
