"""Groups of a view as the matrices that groups.cuh sums and changes; compare kernels/cpu/groups.py."""

from math import gcd
from typing import Any, NamedTuple

import cupy
import numpy as np

from minidl.kernels.gpu.source import ints, launch

Array = Any
LANES, ROWS, BATCH = 32, 8, 4  # as in groups.cuh
BLOCK = LANES * ROWS  # threads
WARP, FEW = 32, 8  # threads of a warp; the most partial sums that a single thread adds up
BLOCKS = 512  # enough to use the memory bandwidth of any GPU; a constant, so that sums do not depend on the GPU
FINE_BLOCKS = 8192  # for kernels without partial sums: with less work per block, fewer multiprocessors idle at the end


class Layout(NamedTuple):
    """A view as ``matrices`` of ``length`` elements. Their rows have ``channels``, of which ``width`` make a group."""

    matrices: int
    length: int
    channels: int
    width: int
    dtype: Any
    blocks: int = BLOCKS  # about the number of blocks of a kernel

    @property
    def fine(self) -> "Layout":
        """The same in smaller pieces, for kernels that change the elements."""
        return self._replace(blocks=FINE_BLOCKS)

    @property
    def vector(self) -> int:
        """How many elements a thread loads at once."""
        return 16 // self.dtype.itemsize

    @property
    def columns(self) -> int:
        """The length of a row: the least multiple of the channels and of a vector that fills the width of a block."""
        whole = self.vector // gcd(self.channels, self.vector)
        times = -(-LANES * self.vector // self.channels)
        return self.channels * -(-times // whole) * whole

    @property
    def rows(self) -> int:
        """How many rows one block takes, a multiple of ROWS, the rows that it takes at a time."""
        rows = -(-self.length // self.columns)
        pieces = max(1, min(self.blocks // (self.matrices * self._across), rows // (ROWS * BATCH)))
        return -(-rows // (pieces * ROWS)) * ROWS

    @property
    def grid(self) -> tuple[int, int, int]:
        """The numbers of blocks: matrices, pieces of a row, pieces of the rows."""
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
    """View (outer, rows, inner, lanes) as ``outer`` matrices with inner·lanes channels."""
    outer, rows, inner, lanes = x.shape
    return Layout(outer, rows * inner * lanes, inner * lanes, lanes, x.dtype)


def sizes(layout: Layout) -> tuple[np.generic, ...]:
    """Return the last arguments of the kernels that go through all elements: length, columns, channels and rows."""
    return np.int64(layout.length), *ints(layout.columns, layout.channels, layout.rows)


def sums(name: str, x: Array, y: Array, layout: Layout) -> Array:
    """Return the sums Σx and Σx·y of the columns, (matrices, pieces, 2, columns); NAME.cu must include groups.cuh."""
    parts = cupy.empty((layout.matrices, layout.grid[2], 2, 1 if layout.channels == 1 else layout.columns))
    launch(name, "sums", x.dtype, layout.grid, BLOCK, (x, y, parts, *sizes(layout)))
    return parts


def finish(name: str, kernel: str, parts: Array, layout: Layout, width: int, *args: Any) -> None:
    """Run ``kernel`` on the sums of each group of ``width`` channels: a block, a warp or a thread for each group."""
    pieces, columns = parts.shape[1], parts.shape[3]
    terms = pieces * columns * width // layout.channels
    threads = 1 if terms <= FEW else WARP * max(1, min(8, terms // 64))
    groups = layout.matrices * layout.channels // width
    abreast = gcd(groups, BLOCK // threads) if threads <= WARP else 1
    args = (parts, *ints(pieces, columns, layout.channels, width), *args)
    launch(name, kernel, layout.dtype, groups // abreast, (threads, abreast), args)


def change(name: str, x: Array, y: Array, out: Array, affines: Array, layout: Layout, width: int) -> None:
    """Write the affine map of x and y into ``out``; affines: (groups, 4), one map for each ``width`` channels."""
    args = (x, y, out, affines, *ints(width), *sizes(layout.fine))
    launch(name, "change", x.dtype, layout.fine.grid, BLOCK, args)
