"""What a net's output is measured by."""

from typing import Any, NamedTuple

import numpy as np

from minidl.kernels import Kernels

Array = Any


class Score(NamedTuple):
    """The mean loss and the accuracy (0 … 1) of everything that has a label: samples, or pixels of samples."""

    loss: float
    accuracy: float


class SoftmaxCrossEntropy:
    """Mean softmax cross-entropy: L = −mean log p[label] with p = softmax(output); its ``error`` is ∂L/∂output.

    The sums behind the score stay on the device until somebody asks for it.
    """

    def __init__(self, kernels: Kernels) -> None:
        self.kernels = kernels
        self.buffer: Array = None
        self.error: Array = None
        self.totals = kernels.xp.zeros(3, np.float64)

    def __call__(self, output: Array, labels: Array) -> None:
        """Compute the error of a batch and add the batch to the score.

        output: (samples, classes), or (samples, y, x, classes) for a label of each pixel; labels: (samples,) or
        (samples, y, x), each in 0 … classes − 1, or negative where there is none: this gives no error and does not
        count. The error holds until the next call.
        """
        if self.buffer is None or self.buffer.size < output.size:
            self.buffer = self.kernels.xp.empty(output.size, output.dtype)
        self.error = self.buffer[: output.size].reshape(output.shape)
        self.kernels.softmax_loss.forward(output, labels, self.error, self.totals)

    def alone(self, output: Array, labels: Array) -> Score:
        """Compute the error of a batch, forget all earlier ones and return the score of this batch."""
        self.reset()
        self(output, labels)
        return self.score()

    def reset(self) -> None:
        """Begin a new score."""
        self.totals[...] = 0

    def score(self) -> Score:
        """Return the score of all batches since the last reset."""
        loss, right, labelled = self.totals.tolist()
        return Score(loss / max(labelled, 1), right / max(labelled, 1))
