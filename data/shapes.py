"""Built-in data set: ten shapes on busy backgrounds, drawn when the set is loaded.

Whole-number arithmetic decides every pixel: equal counts and seeds give equal bytes on every machine.
"""

import numpy as np
from numpy.typing import NDArray

from minidl.data import outlines
from minidl.data.backgrounds import backgrounds
from minidl.data.bits import ONE, Bits, Integers
from minidl.data.dataset import Dataset
from minidl.kernels.cpu.threads import share

SIZE = 32
"""Pixels along one side of an image."""

_CHUNK = 64
"""Images drawn at once: few enough that the arrays stay in the processor's cache."""


def load(train_count: int = 10_000, test_count: int = 2_000, seed: int = 0) -> tuple[Dataset, Dataset]:
    """Return the training and the test part, with masks: 0 on the background, 1 + label on the shape.

    The classes take turns, so that both parts are balanced.
    """
    return _part(train_count, seed, 0), _part(test_count, seed, 1)


def _part(count: int, seed: int, part: int) -> Dataset:
    bitmaps = outlines.bitmaps()
    labels = np.arange(count, dtype=np.int64) % len(outlines.CLASSES)
    images = np.empty((count, SIZE, SIZE, 3), dtype=np.uint8)
    masks = np.empty((count, SIZE, SIZE), dtype=np.uint8)

    def work(worker: int, start: int, stop: int) -> None:
        for i in range(start, stop):
            chunk = slice(i * _CHUNK, (i + 1) * _CHUNK)
            images[chunk], masks[chunk] = _draw(Bits(seed, part, i), bitmaps, labels[chunk].astype(np.int32))

    share(work, -(-count // _CHUNK))
    return Dataset("shapes", images, labels, outlines.CLASSES, masks, ("background", *outlines.CLASSES))


def _draw(bits: Bits, bitmaps: NDArray[np.uint8], labels: Integers) -> tuple[Integers, Integers]:
    """Return one picture and one mask for each label: background, two distractors, the shape, then noise.

    The shape is brighter than the background's first colour in each of red, green and blue; a distractor may
    be darker.
    """
    count = len(labels)
    ground = bits.integers(16, 144, count, 3)
    pictures = backgrounds(bits, ground, SIZE)

    for _ in range(2):
        kind = len(outlines.CLASSES) + bits.integers(0, len(outlines.DISTRACTORS), count)
        cover = _cover(bits, bitmaps, kind, radius=bits.integers(16, 40, count))
        _paint(pictures, cover, ground + bits.integers(-96, 97, count, 3))

    cover = _cover(bits, bitmaps, labels, radius=bits.integers(32, 60, count))
    _paint(pictures, cover, ground + bits.integers(32, 112, count, 3))
    masks = (cover >= 2) * (labels + 1)[:, None, None]

    strength = bits.integers(0, 48, count)[:, None, None, None]
    noise = bits.noise(count, SIZE, SIZE, 3)
    noise *= strength
    noise >>= 7
    noise += np.moveaxis(pictures, 1, 3)
    return noise.clip(0, 255, out=noise), masks


def _cover(bits: Bits, bitmaps: NDArray[np.uint8], kind: Integers, radius: Integers) -> Integers:
    """Return how many of each pixel's four sample points lie in an outline at a random place and angle.

    ``kind`` and ``radius`` have one entry for each image, the result is ``(n, SIZE, SIZE)``. ``radius`` is in
    quarters of a pixel. The whole outline is inside the image.
    """
    count = len(radius)
    place = radius + (bits.integers(0, 1 << 16, 2, count) * (4 * SIZE + 1 - 2 * radius) >> 16)
    points = np.arange(1, 4 * SIZE, 2, dtype=np.int32)
    dx, dy = points - place[0][:, None], points - place[1][:, None]
    # Turned back and enlarged, quarters of an image's pixel are halves of a bitmap's; the shift makes them
    # whole ones.
    cosine, sine = (part[:, None] * outlines.RADIUS // radius[:, None] for part in bits.rotations(count))
    middle = outlines.SIZE * ONE
    column = (cosine * dx + middle)[:, None, :] + (sine * dy)[:, :, None]
    row = (cosine * dy + middle)[:, :, None] - (sine * dx)[:, None, :]
    for part in (column, row):  # in place, as new arrays of this size take longer than what is computed
        part >>= 15
        part.clip(0, outlines.SIZE - 1, out=part)
    row *= outlines.SIZE
    row += column
    row += (kind * outlines.SIZE**2)[:, None, None]
    inside = bitmaps.reshape(-1).take(row)
    halves = inside[:, 0::2] + inside[:, 1::2]
    return (halves[:, :, 0::2] + halves[:, :, 1::2]).astype(np.int32)


def _paint(pictures: Integers, cover: Integers, colour: Integers) -> None:
    """Mix a colour (n, 3) into each picture (n, 3, SIZE, SIZE) in place, by quarters."""
    change = colour[:, :, None, None] - pictures
    change *= cover[:, None]
    change >>= 2
    pictures += change
