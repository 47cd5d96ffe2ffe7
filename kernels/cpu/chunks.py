"""Chunks: parts of a batch of tiled images. A chunk is several images, or some rows of tiles of one image."""

from collections.abc import Iterator

from minidl.kernels.cpu.program import Program

Band = tuple[int, int]


def overlap(start: int, length: int, size: int) -> tuple[int, int]:
    """Return the beginning and end of the part of the range start … start + length that lies in 0 … size.

    It may be empty.

    >>> overlap(-2, 5, 9), overlap(11, 5, 9)
    ((0, 3), (9, 9))
    """
    first = min(max(start, 0), size)
    return first, max(first, min(start + length, size))


class Chunks:
    """Chunks of about ``target`` tiles of ``images`` images, each with ``down`` rows of ``across`` tiles.

    samples: the images of a chunk; height: its rows of tiles, fewer than ``down`` only if a single image has more tiles
    than a chunk; most_tiles: the number of tiles of the largest chunk.
    """

    def __init__(self, images: int, down: int, across: int, target: int) -> None:
        self.down, self.across = down, across
        self.height = max(1, min(down, target // across))
        most = max(1, target // (down * across))
        # Chunks of nearly equal size, because a last one with few tiles would be slow.
        self.samples = -(-images // -(-images // most))
        self.most_tiles = self.samples * self.height * across

    def bands(self) -> list[Band]:
        """Return for each band, the rows of tiles of a chunk, its first row and the one after its last."""
        return [(top, min(top + self.height, self.down)) for top in range(0, self.down, self.height)]

    def count(self, images: int) -> int:
        """Return the number of chunks of ``images`` images."""
        return -(-images // self.samples) * -(-self.down // self.height)

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
