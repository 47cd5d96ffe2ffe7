"""Loss of a net's output, softmax cross-entropy, and its score: mean loss and accuracy."""

from typing import Any, NamedTuple

import numpy as np

from minidl.kernels import Kernels, load
from minidl.kernels.arrays import check_unmasked, numbers
from minidl.kernels.errors import MinidlError
from minidl.kernels.softmax_loss import out_of_range

Array = Any


class Score(NamedTuple):
    """The mean loss and the accuracy (0 … 1) of everything that has a label: samples, or pixels of samples."""

    loss: float
    accuracy: float


def checked_labels(labels: Array, output: Array, xp: Any) -> Array:
    """Return labels as a contiguous array of ``xp``, one whole number for each row of the output.

    Raises MinidlError for another shape, for numbers of another type than integers, and for an output of no classes.
    """
    if not output.ndim or not output.shape[-1]:
        raise MinidlError(f"an output of shape {tuple(output.shape)} has no classes; give one of (samples, classes)")
    check_unmasked(labels)
    labels, shape = xp.asarray(numbers(labels) if isinstance(labels, list) else labels), tuple(output.shape[:-1])
    if labels.shape != shape:
        one_hot = "; of labels that are one-hot, give labels.argmax(axis=-1)" if labels.shape == output.shape else ""
        raise MinidlError(
            f"labels for an output of shape {tuple(output.shape)} must have the shape {shape}, a class's number for "
            f"each row of its last axis, and not {tuple(labels.shape)}{one_hot}"
        )
    if labels.dtype.kind not in "iu":
        raise MinidlError(f"labels must be integers, and not {labels.dtype}; give labels.astype(int)")
    return xp.ascontiguousarray(labels).reshape(shape)  # which NumPy makes (1,) of ()


class SoftmaxCrossEntropy:
    """Mean softmax cross-entropy: L = −mean log p[label] with p = softmax(output); its ``error`` is ∂L/∂output.

    The sums for the score stay on the device until the score is read.
    """

    __slots__ = ("buffer", "classes", "error", "kernels", "read_totals", "totals")

    def __init__(self, kernels: Kernels | str) -> None:
        self.kernels = kernels = load(kernels)
        self.buffer: Array = None
        self.error: Array = None
        self.totals = kernels.xp.zeros(4, np.float64)
        self.read_totals = kernels.read_later(self.totals)
        self.classes = 0

    @np.errstate(under="ignore")
    def __call__(self, output: Array, labels: Array) -> None:
        """Compute the error of a batch and add the batch to the score.

        output: (samples, classes), or (samples, y, x, classes) for a label of each pixel; labels: (samples,) or
        (samples, y, x), whole numbers in 0 … classes − 1, or negative for no label: such a row gives no error and does
        not count. The error is valid until the next call. Raises MinidlError for labels of another shape or type. For a
        label out of range it raises here on the CPU, but in ``score`` on a GPU, which would have to wait here.
        """
        real = np.float64 if getattr(output, "dtype", None) == np.float64 else np.float32
        output = self.kernels.array(output, real)
        labels = checked_labels(labels, output, self.kernels.xp)
        self.classes = output.shape[-1]
        if self.buffer is None or self.buffer.size < output.size or self.buffer.dtype != output.dtype:
            self.buffer = self.kernels.xp.empty(output.size, output.dtype)
        error = self.buffer[: output.size].reshape(output.shape)
        self.kernels.unchecked.softmax_loss.forward(output, labels, error, self.totals)
        self.error = error

    def score_of(self, output: Array, labels: Array) -> Score:
        """Compute the error of a batch, forget all earlier ones and return the score of this batch."""
        self.reset()
        self(output, labels)
        return self.score()

    def reset(self) -> None:
        """Begin a new score."""
        self.totals[...] = 0

    def score(self) -> Score:
        """Return the score of all batches since the last reset; raise MinidlError where a label was out of range."""
        return self._score(self.totals)

    def latest_score(self) -> Score:
        """Return the score without waiting for the device: perhaps that of the last call; raise as ``score``."""
        return self._score(self.read_totals())

    def _score(self, totals: Array) -> Score:
        loss, correct, labelled, wrong = totals.tolist()
        if wrong:
            raise out_of_range(int(wrong), self.classes)
        return Score(loss / max(labelled, 1), correct / max(labelled, 1))
