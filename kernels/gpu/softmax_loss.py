"""Softmax and cross-entropy in one on a GPU: see kernels/softmax_loss.py and softmax_loss.cu."""

from typing import Any

import cupy
import numpy as np

from minidl.kernels.gpu.source import THREADS, ints, launch

Array = Any
COUNTERS, BLOCKS = 512, 2048  # at most; more blocks read the counts more often
TILE = 24576  # bytes of the rows that a block has in its shared memory, as in softmax_loss.cu


def forward(logits: Array, labels: Array, error: Array, totals: Array) -> None:
    """Write ∂L/∂logits into ``error`` and add to ``totals``.

    logits, error: (…, classes); labels: (…), each in 0 … classes − 1, or negative. totals: (4,), over the labelled rows
    the sum of their losses, how many are predicted correctly and their number, then the number of labels out of range,
    whose rows count as if they had none: raising would have to wait for the device. A prediction is correct where a
    row's largest logit is its label's.
    """
    kept = np.int8 if labels.dtype == np.int8 else np.int64
    labels = cupy.ascontiguousarray(labels, kept)
    dtype, rows, classes = logits.dtype, np.int64(labels.size), logits.shape[-1]
    lanes, abreast = _shape(labels.size, classes, TILE // dtype.itemsize)
    blocks = min(BLOCKS, -(-labels.size // abreast))
    counters = min(COUNTERS, -(-labels.size // (4 * THREADS)))
    counts, parts = cupy.empty((2, counters), np.int64), cupy.empty((blocks, 2))
    launch("softmax_loss", f"count_{labels.dtype}", dtype, counters, THREADS, (labels, counts, rows, *ints(classes)))
    args = (logits, labels, counts, *ints(counters), error, parts, rows, *ints(classes, lanes, abreast))
    launch("softmax_loss", f"score_{labels.dtype}", dtype, blocks, THREADS, args)
    args = (parts, *ints(blocks), counts, *ints(counters), totals)
    launch("softmax_loss", "add", dtype, 1, THREADS, args)


def _shape(rows: int, classes: int, tile: int) -> tuple[int, int]:
    """Return how many neighbouring threads work on a row, and how many rows a block takes at a time.

    With as many threads as the largest power of two in the classes, a warp finds its numbers in different banks of the
    shared memory. They are more only where a tile has so few rows that threads of a block would have none.
    """
    if classes > tile:
        return 32, THREADS // 32
    abreast = max(1, min(tile // classes, THREADS, rows))
    lanes = min(32, classes & -classes)
    while lanes < 32 and 2 * lanes * abreast <= THREADS:
        lanes *= 2
    return lanes, abreast
