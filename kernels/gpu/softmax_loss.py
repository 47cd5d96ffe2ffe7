"""Softmax and cross-entropy in one on a GPU: see kernels/softmax_loss.py and softmax_loss.cu."""

from typing import Any

import cupy
import numpy as np

from minidl.kernels.gpu.source import THREADS, ints, launch

Array = Any
COUNTERS, BLOCKS = 512, 2048  # most blocks that count and that score; each of the latter reads all counts
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

    The number of threads is the largest power of two that divides the number of classes. Then the threads of a warp
    read different banks of the shared memory. It is larger if a tile has so few rows that some threads of a block would
    have nothing to do.
    """
    if classes > tile:
        return 32, THREADS // 32
    abreast = max(1, min(tile // classes, THREADS, rows))
    lanes = min(32, classes & -classes)
    while lanes < 32 and 2 * lanes * abreast <= THREADS:
        lanes *= 2
    return lanes, abreast
