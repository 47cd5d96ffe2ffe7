"""Parts and chunks of a batch of tiled images: what a worker computes, and what it computes at a time.

The workers share the images of a batch, the rows of tiles of a single image, or the filters. A chunk is several of a
worker's images, or some rows of tiles of one image.
"""

from collections.abc import Iterator
from typing import NamedTuple

from minidl.kernels.cpu.program import MIN_PRODUCTS, Program

Band = tuple[int, int]
IMAGES, ROWS, FILTERS = range(3)


def shared_by(images: int, rows: int, fewest_rows: int, few: bool) -> int:
    """Return what the workers share of some images: the filters, if these are few pixels, or else the images.

    Of a single image they share the rows or, if it has less than ``fewest_rows``, the filters.
    """
    if few or (images == 1 and rows < fewest_rows):
        return FILTERS
    return IMAGES if images > 1 else ROWS


class Part(NamedTuple):
    """A worker's part: the first image and the one after its last, the same for rows of tiles, its filters.

    lines: the groups that the filters form.
    """

    images: Band
    rows: Band
    filters: slice
    lines: slice


class Work(NamedTuple):
    """Images, rows of tiles and filters of an operation; ``shared`` says what the workers share: IMAGES, ROWS, FILTERS.

    They share filters in groups of ``width``, which fill a cache line.
    """

    images: int
    rows: int
    filters: int
    width: int
    shared: int

    @property
    def units(self) -> int:
        """How many images, rows or groups of filters the workers share."""
        return (self.images, self.rows, -(-self.filters // self.width))[self.shared]

    def fewest(self, products: int) -> int:
        """Return how many of them a worker has at least, if all make so many multiplications."""
        return MIN_PRODUCTS // max(1, products // self.units) + 1

    def part(self, start: int, stop: int) -> Part:
        """Return the part of the worker who has ``start`` to ``stop`` of them."""
        shares = [(0, self.images), (0, self.rows), (0, -(-self.filters // self.width))]
        shares[self.shared] = start, stop
        images, rows, (begin, end) = shares
        filters = slice(begin * self.width, min(end * self.width, self.filters))
        return Part(images, rows, filters, slice(begin, end))


def overlap(start: int, length: int, size: int) -> tuple[int, int]:
    """Return the beginning and end of the part of the range start … start + length that lies in 0 … size.

    It may be empty.

    >>> overlap(-2, 5, 9), overlap(11, 5, 9)
    ((0, 3), (9, 9))
    """
    first = min(max(start, 0), size)
    return first, max(first, min(start + length, size))


class Chunks:
    """Chunks of about ``target`` tiles of ``images`` images, with the ``rows`` first to last − 1 of ``across`` tiles.

    samples: the images of a chunk; height: its rows of tiles, fewer than all only if those of a single image have more
    tiles than a chunk; most_tiles: the number of tiles of the largest chunk.
    """

    def __init__(self, images: int, rows: Band, across: int, target: int) -> None:
        self.rows, self.across, down = rows, across, rows[1] - rows[0]
        self.height = max(1, min(down, target // across))
        most = max(1, target // (down * across))
        # Chunks of nearly equal size, because a last one with few tiles would be slow.
        self.samples = -(-images // -(-images // most))
        self.most_tiles = self.samples * self.height * across

    def bands(self) -> list[Band]:
        """Return for each band, the rows of tiles of a chunk, its first row and the one after its last."""
        first, last = self.rows
        return [(top, min(top + self.height, last)) for top in range(first, last, self.height)]

    def count(self, images: int) -> int:
        """Return the number of chunks of ``images`` images."""
        return -(-images // self.samples) * len(self.bands())

    def parts(self, start: int, stop: int) -> Iterator[tuple[int, range]]:
        """Divide the images start to stop; yield a number of images per chunk, and where the chunks with it begin."""
        rest = (stop - start) % self.samples
        if stop - start > rest:
            yield self.samples, range(start, stop - rest, self.samples)
        if rest:
            yield rest, range(stop - rest, stop, rest)

    def programs(self, start: int, stop: int) -> Iterator[tuple[Program, Band]]:
        """Yield empty programs for the images start to stop, and the band of tiles of each."""
        for band in self.bands():
            for samples, starts in self.parts(start, stop):
                yield Program(samples, starts), band

    def tiles(self, samples: int, band: Band) -> int:
        """Return the number of tiles in a band of ``samples`` images."""
        return samples * (band[1] - band[0]) * self.across
