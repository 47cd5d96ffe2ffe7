"""Softmax and cross-entropy in one on a GPU: see kernels/softmax_loss.py and softmax_loss.cu."""

from typing import Any

import cupy
import numpy as np

from minidl.kernels.gpu.source import THREADS, ints, launch

Array = Any
COUNTERS, BLOCKS = 64, 1024  # at most


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
    lanes = min(32, 1 << (classes - 1).bit_length())
    blocks = min(BLOCKS, -(-labels.size * lanes // THREADS))
    counters = min(COUNTERS, -(-labels.size // (4 * THREADS)))
    counts, parts = cupy.empty((2, counters), np.int64), cupy.empty((blocks, 2))
    launch("softmax_loss", f"count_{labels.dtype}", dtype, counters, THREADS, (labels, counts, rows, *ints(classes)))
    args = (logits, labels, counts, *ints(counters), error, parts, rows, *ints(classes, lanes))
    launch("softmax_loss", f"score_{labels.dtype}", dtype, blocks, THREADS, args)
    args = (parts, *ints(blocks), counts, *ints(counters), totals)
    launch("softmax_loss", "add", dtype, 1, THREADS, args)
