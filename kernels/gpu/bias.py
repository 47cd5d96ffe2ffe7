"""Biases of the products: added to each row of an array (…, columns), and their gradients, the sums over the rows."""

from math import gcd
from typing import Any

import cupy
import numpy as np

from minidl.kernels.gpu import source

Array = Any
BLOCKS = 1 << 12  # about as many as fill a large GPU
COLUMNS, ROWS = 32, 8  # threads of a block of ``sums``: along the columns and along the rows
MIN_ROWS = 16  # fewest rows that a thread of ``sums`` adds up
PARTS = 512  # into which ``sums`` divides the rows, at most; each has a partial sum for each column


def add(biases: Array, out: Array, relu: bool = False) -> None:
    """Add biases (columns,) to every row of ``out`` (…, columns); relu: then take the maximum of that and 0."""
    blocks, vectors = _whole_rows(out, len(biases), source.aligned(biases, out))
    sizes = np.int64(out.size), *source.ints(len(biases), vectors, relu)
    source.launch("bias", "add", out.dtype, blocks, source.THREADS, (biases, out, *sizes))


def widen(halves: Array, biases: Array | None, out: Array, relu: bool = False) -> None:
    """Write ``halves``, an array (…, columns) of bfloat16, plus biases, if any, into ``out``; relu: as in ``add``."""
    columns = out.shape[-1]
    with_biases = biases is not None
    biases = biases if with_biases else out
    blocks, vectors = _whole_rows(out, columns, source.aligned(biases, halves, out))
    sizes = np.int64(out.size), *source.ints(columns, vectors, with_biases, relu)
    source.launch("bias", "widen", out.dtype, blocks, source.THREADS, (biases, halves, out, *sizes))


def _whole_rows(out: Array, columns: int, aligned: bool) -> tuple[int, bool]:
    """Return a number of blocks whose threads together cover whole rows, and whether a thread reads vectors."""
    width = 16 // out.itemsize
    vectors = columns % width == 0 and aligned
    elements = source.THREADS * (width if vectors else 1)  # of a block
    unit = columns // gcd(columns, elements)  # a multiple of this number of blocks has whole rows
    return unit * max(1, min(-(-out.size // (unit * elements)), BLOCKS // unit)), vectors


def sums(error: Array, out: Array) -> None:
    """Write the sums of ``error`` (…, columns) over all rows into ``out`` (columns,), always in the same order."""
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
