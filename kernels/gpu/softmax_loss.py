"""Softmax and cross-entropy in one on a GPU: see kernels/softmax_loss.py and softmax_loss.cu."""

from typing import Any

import cupy
import numpy as np

from minidl.kernels.gpu.source import THREADS, ints, launch

Array = Any
COUNTERS = 128  # most blocks that count; each warp that scores reads all their counts
BLOCKS = 1056  # most blocks that score: 8 for each multiprocessor of an H200
TILE = 24576  # bytes of a block's shared memory for rows; as in softmax_loss.cu


def forward(logits: Array, labels: Array, error: Array, totals: Array) -> None:
    """Write ∂L/∂logits into ``error`` and add to ``totals``.

    logits, error: (…, classes); labels: (…), each in 0 … classes − 1, or negative. totals: (4,): the sum of the losses,
    the number of correct predictions and the number of rows, each over the labelled rows; then the number of labels out
    of range, whose rows count as if they had no label. To raise an error for them here, the host would have to wait for
    the device. A prediction is correct if the label's logit is the row's largest.
    """
    kept = np.int8 if labels.dtype == np.int8 else np.int64
    labels = cupy.ascontiguousarray(labels, kept)
    dtype, rows, classes = logits.dtype, np.int64(labels.size), logits.shape[-1]
    lanes, most, warps = _shape(labels.size, classes, dtype.itemsize)
    blocks = min(BLOCKS, -(-labels.size * lanes // (32 * warps)))
    counters = min(COUNTERS, -(-labels.size // (4 * THREADS)))
    counts, parts = cupy.empty((2, counters), np.int64), cupy.empty((blocks, 2))
    launch("softmax_loss", f"count_{labels.dtype}", dtype, counters, THREADS, (labels, counts, rows, *ints(classes)))
    args = (logits, labels, counts, *ints(counters), error, parts, rows, *ints(classes, lanes, most))
    size = "" if classes * dtype.itemsize <= TILE else "large_"
    launch("softmax_loss", f"score_{size}{labels.dtype}", dtype, blocks, 32 * warps, args)
    args = (parts, *ints(blocks), counts, *ints(counters), totals)
    launch("softmax_loss", "add", dtype, 1, THREADS, args)


def _shape(rows: int, classes: int, itemsize: int) -> tuple[int, int, int]:
    """Return how many threads work on a row, how many classes each of them has at most, and the warps of a block.

    The number of threads is the largest power of two that divides the number of classes, at most 32. Each has an odd
    number of classes, so that the threads of a warp read different banks of the shared memory; of multiples of 64 some
    threads have none. There are more threads if otherwise few warps' rows fit into a tile, or a single block has
    threads for all rows.
    """
    tile, vector = TILE // itemsize, 16 // itemsize
    lanes = min(32, classes & -classes)
    while lanes < 32 and (2 * lanes * rows <= THREADS or 32 // lanes * classes > tile // 4):
        lanes *= 2
    size = -(-32 // lanes * classes // vector) * vector  # of a warp's part of the tile
    return lanes, -(-classes // lanes) | 1, min(THREADS // 32, tile // size or THREADS // 32)
