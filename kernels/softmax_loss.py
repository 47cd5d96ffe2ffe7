"""Softmax and cross-entropy in one.

    p = exp(z)/Σ exp(z)        L = −mean log p[label]        ∂L/∂z = (p − onehot)/count

A row is a sample, or a pixel of one. Rows with a negative label have no true class (VOC's void): their gradient is
zero, and they do not count.
"""

from typing import Any

import numpy as np

from minidl.kernels.errors import MinidlError

Array = Any  # numpy.ndarray or cupy.ndarray


def forward(logits: Array, labels: Array, error: Array, totals: Array) -> None:
    """Write ∂L/∂logits into ``error`` and add to ``totals``.

    logits, error: (…, classes); labels: (…), each in 0 … classes − 1, or negative. totals: (4,): the sum of the losses,
    the number of correct predictions and the number of rows, each over the labelled rows; then the number of labels out
    of range, whose rows count as if they had no label. A prediction is correct if the label's logit is the row's
    largest.
    """
    z = logits - logits.max(axis=-1, keepdims=True)  # the same p, and exp(z) does not overflow
    log_p = z - np.log(np.exp(z).sum(axis=-1, keepdims=True))
    onehot = labels[..., None] == np.arange(logits.shape[-1], like=logits)
    labelled = (labels >= 0) & (labels < logits.shape[-1])
    count = labelled.sum()
    error[...] = np.where(labelled[..., None], np.exp(log_p) - onehot, 0) / np.maximum(count, 1)
    totals[0] += -log_p[onehot].sum(dtype=np.float64)
    totals[1] += (logits.argmax(axis=-1) == labels).sum()
    totals[2] += count
    totals[3] += (labels >= logits.shape[-1]).sum()


def out_of_range(wrong: int, classes: int) -> MinidlError:
    """Return the error for labels that are out of range; wrong: how many."""
    return MinidlError(
        f"labels for an output of {classes} classes must be 0 to {classes - 1}, or negative where there is none, but "
        f"{wrong:,} of them are {classes} or more; give the net as many classes as there are, or mend the labels"
    )
