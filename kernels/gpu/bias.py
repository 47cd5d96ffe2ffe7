"""Biases of the products: added to each row of an array (…, columns), and their gradients, the sums over the rows."""

from math import gcd
from typing import Any

import cupy
import numpy as np

from minidl.kernels.gpu import source

Array = Any
BLOCKS = 1 << 12  # enough to fill a large card
COLUMNS, ROWS = 32, 8  # of a block that sums
MIN_ROWS = 16  # of the matrix for each row of a block that sums
PARTS = 512  # of the rows, at most: as many partial sums for each column


def add(biases: Array, out: Array, relu: bool = False) -> None:
    """Add biases (columns,) to every row of ``out``; relu: then set negative elements to zero."""
    blocks, vectors = _whole_rows(out, len(biases), source.aligned(biases, out))
    sizes = np.int64(out.size), *source.ints(len(biases), vectors, relu)
    source.launch("bias", "add", out.dtype, blocks, source.THREADS, (biases, out, *sizes))


def widen(halves: Array, biases: Array | None, out: Array, relu: bool = False) -> None:
    """Write an array (…, columns) of bfloat16, plus biases, if there are any, into ``out``; relu: as above."""
    columns = out.shape[-1]
    with_biases = biases is not None
    biases = biases if with_biases else out
    blocks, vectors = _whole_rows(out, columns, source.aligned(biases, halves, out))
    sizes = np.int64(out.size), *source.ints(columns, vectors, with_biases, relu)
    source.launch("bias", "widen", out.dtype, blocks, source.THREADS, (biases, halves, out, *sizes))


def _whole_rows(out: Array, columns: int, aligned: bool) -> tuple[int, bool]:
    """Return the blocks that have a whole number of rows in each step, and whether a thread reads vectors."""
    width = 16 // out.itemsize
    vectors = columns % width == 0 and aligned
    elements = source.THREADS * (width if vectors else 1)  # of a block
    unit = columns // gcd(columns, elements)  # a multiple of this number of blocks has whole rows
    return unit * max(1, min(-(-out.size // (unit * elements)), BLOCKS // unit)), vectors


def sums(error: Array, out: Array) -> None:
    """Write the sums of ``error`` over all rows into ``out`` (columns,); in the same order at every call."""
    columns = len(out)
    rows = error.size // columns
    parts = max(1, min(rows // (ROWS * MIN_ROWS), PARTS))
    partial = out if parts == 1 else cupy.empty((parts, columns), out.dtype)
    _sum(error, partial, rows, columns, parts)
    if parts > 1:
        _sum(partial, out, parts, columns, 1)


def _sum(matrix: Array, out: Array, rows: int, columns: int, parts: int) -> None:
    grid = (-(-columns // COLUMNS), parts)
    source.launch("bias", "sum", out.dtype, grid, (COLUMNS, ROWS), (matrix, out, np.int64(rows), np.int32(columns)))
