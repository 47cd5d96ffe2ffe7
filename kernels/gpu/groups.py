"""Groups of a view as the matrices that groups.cuh sums and changes; compare kernels/cpu/groups.py."""

from math import gcd
from typing import Any, NamedTuple

import cupy
import numpy as np

from minidl.kernels.gpu.source import ints, launch

Array = Any
LANES, ROWS, BATCH = 32, 8, 4  # as in groups.cuh
BLOCK = LANES * ROWS  # threads
WARP, FEW = 32, 8  # threads; terms that one thread adds up, at most
BLOCKS = 512  # enough for the memory of any card; a constant, so that sums do not depend on the card
FINE_BLOCKS = 8192  # of kernels without partial sums: with small blocks, fewer multiprocessors are idle at the end


class Layout(NamedTuple):
    """A view as ``matrices`` of ``length`` elements, whose rows hold ``channels``, each group ``width`` of them."""

    matrices: int
    length: int
    channels: int
    width: int
    dtype: Any
    blocks: int = BLOCKS  # about so many

    @property
    def fine(self) -> "Layout":
        """The same in smaller pieces, for changes."""
        return self._replace(blocks=FINE_BLOCKS)

    @property
    def vector(self) -> int:
        """How many elements a thread loads at once."""
        return 16 // self.dtype.itemsize

    @property
    def columns(self) -> int:
        """The length of a row: as many times the channels as fill a block, and whole vectors."""
        whole = self.vector // gcd(self.channels, self.vector)
        times = -(-LANES * self.vector // self.channels)
        return self.channels * -(-times // whole) * whole

    @property
    def rows(self) -> int:
        """How many rows one block takes, a multiple of those that it takes at a time."""
        rows = -(-self.length // self.columns)
        pieces = max(1, min(self.blocks // (self.matrices * self._across), rows // (ROWS * BATCH)))
        return -(-rows // (pieces * ROWS)) * ROWS

    @property
    def grid(self) -> tuple[int, int, int]:
        """The blocks: matrices, pieces of a row, pieces of the rows."""
        return self.matrices, self._across, -(-self.length // (self.columns * self.rows))

    @property
    def groups(self) -> int:
        """How many groups all matrices have."""
        return self.matrices * self.channels // self.width

    @property
    def _across(self) -> int:
        return -(-self.columns // (LANES * self.vector))


def matrices(x: Array) -> Layout:
    """View (outer, rows, inner, lanes) as matrices; a contiguous group is a matrix with a single channel."""
    outer, rows, inner, lanes = x.shape
    return Layout(outer * inner, rows * lanes, 1, 1, x.dtype) if rows == 1 or inner == 1 else wide(x)


def wide(x: Array) -> Layout:
    """View (outer, rows, inner, lanes) as matrices that have all inner·lanes channels."""
    outer, rows, inner, lanes = x.shape
    return Layout(outer, rows * inner * lanes, inner * lanes, lanes, x.dtype)


def sizes(layout: Layout) -> tuple[np.generic, ...]:
    """Return a layout as the last arguments of the kernels that go through all elements."""
    return np.int64(layout.length), *ints(layout.columns, layout.channels, layout.rows)


def sums(name: str, x: Array, y: Array, layout: Layout) -> Array:
    """Return the sums Σx and Σx·y of the columns, (matrices, pieces, 2, columns); NAME.cu includes groups.cuh."""
    parts = cupy.empty((layout.matrices, layout.grid[2], 2, 1 if layout.channels == 1 else layout.columns))
    launch(name, "sums", x.dtype, layout.grid, BLOCK, (x, y, parts, *sizes(layout)))
    return parts


def finish(name: str, kernel: str, parts: Array, layout: Layout, width: int, *args: Any) -> None:
    """Run ``kernel`` on the sums of each group of ``width`` channels, by a block, a warp or a thread for each."""
    pieces, columns = parts.shape[1], parts.shape[3]
    terms = pieces * columns * width // layout.channels
    threads = 1 if terms <= FEW else WARP * max(1, min(8, terms // 64))
    groups = layout.matrices * layout.channels // width
    abreast = gcd(groups, BLOCK // threads) if threads <= WARP else 1
    args = (parts, *ints(pieces, columns, layout.channels, width), *args)
    launch(name, kernel, layout.dtype, groups // abreast, (threads, abreast), args)


def change(name: str, x: Array, y: Array, out: Array, affines: Array, layout: Layout, width: int) -> None:
    """Change x and y into ``out`` by the affine maps (groups, 4) of groups of ``width`` channels."""
    args = (x, y, out, affines, *ints(width), *sizes(layout.fine))
    launch(name, "change", x.dtype, layout.fine.grid, BLOCK, args)
