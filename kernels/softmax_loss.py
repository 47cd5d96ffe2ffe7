"""Softmax and cross-entropy in one: p = exp(z)/Σ exp(z), L = −mean log p[label], ∂L/∂z = (p − onehot)/count."""

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.threads import share

Array = NDArray[np.floating]
LEAST = 256  # rows that are worth a thread


def forward(logits: Array, labels: NDArray[np.int64], error: Array) -> tuple[float, int]:
    """Write ∂L/∂logits into ``error`` and return the mean loss and the number of right answers.

    logits, error: (rows, classes); labels: (rows,), each in 0 … classes − 1. A right answer is a row whose
    largest logit is its label's.
    """
    count = logits.shape[0]
    losses: dict[int, float] = {}
    right: dict[int, int] = {}

    def work(worker: int, start: int, stop: int) -> None:
        rows, z, label = np.arange(stop - start), error[start:stop], labels[start:stop]
        right[worker] = int(np.count_nonzero(logits[start:stop].argmax(axis=1) == label))
        np.subtract(logits[start:stop], logits[start:stop].max(axis=1, keepdims=True), out=z)
        own = z[rows, label]
        np.exp(z, out=z)
        total = z.sum(axis=1, keepdims=True)
        losses[worker] = float(np.sum(np.log(total[:, 0]) - own, dtype=np.float64))
        z /= total
        z[rows, label] -= 1
        z /= count

    share(work, count, LEAST)
    return sum(losses[worker] for worker in sorted(losses)) / count, sum(right.values())
