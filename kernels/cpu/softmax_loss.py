"""Softmax and cross-entropy in one: p = exp(z)/Σ exp(z), L = −mean log p[label], ∂L/∂z = (p − onehot)/count.

A row is a sample, or a pixel of one. Rows with a negative label have no true class (VOC's void): their gradient is
zero, and they do not count.
"""

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.cpu.threads import share
from minidl.kernels.softmax_loss import out_of_range

Array = NDArray[np.floating]
PIECE = 1 << 9  # rows that stay in a core's cache
MIN_PER_THREAD = 256  # rows


def forward(logits: Array, labels: NDArray[np.integer], error: Array, totals: NDArray[np.float64]) -> None:
    """Write ∂L/∂logits into ``error`` and add to ``totals``.

    logits, error: (…, classes); labels: (…), each in 0 … classes − 1, or negative. totals: (4,): the sum of the losses,
    the number of correct predictions and the number of rows, each over the labelled rows; then the number of labels out
    of range. This last number stays the same here, because a label out of range raises MinidlError, before anything is
    written. A prediction is correct if the label's logit is the row's largest.
    """
    z, e, label = logits.reshape(-1, logits.shape[-1]), error.reshape(-1, logits.shape[-1]), labels.reshape(-1)
    if wrong := int(np.count_nonzero(label >= logits.shape[-1])):
        raise out_of_range(wrong, logits.shape[-1])
    count = int(np.count_nonzero(label >= 0))
    share_of_row = error.dtype.type(1 / max(count, 1))
    losses: dict[int, float] = {}
    correct: dict[int, int] = {}

    def work(worker: int, start: int, stop: int) -> None:
        losses[worker], correct[worker] = 0.0, 0
        for i in range(start, stop, PIECE):
            j = min(i + PIECE, stop)
            loss, hits = _piece(z[i:j], label[i:j], e[i:j])
            losses[worker] += loss
            correct[worker] += hits
            e[i:j] *= share_of_row

    share(work, len(z), MIN_PER_THREAD)
    totals += sum(losses[worker] for worker in sorted(losses)), sum(correct.values()), count, 0


def _piece(logits: Array, labels: NDArray[np.integer], p: Array) -> tuple[float, int]:
    """Write p − onehot, or zero for rows without a label, into ``p``; return the loss and how many rows are correct."""
    rows, best = np.arange(len(logits)), logits.argmax(axis=1)
    np.subtract(logits, logits[rows, best][:, None], out=p)
    labelled = labels >= 0
    known = rows[labelled]
    label = labels[labelled]
    own = p[known, label]
    np.exp(p, out=p)
    total = p.sum(axis=1)
    p /= total[:, None]
    p[known, label] -= 1
    p[~labelled] = 0
    loss = float(np.sum(np.log(total[labelled]) - own, dtype=np.float64))
    return loss, int(np.count_nonzero(best[labelled] == label))
