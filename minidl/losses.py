"""What a net's output is measured by."""

from typing import Any

from minidl.kernels import Kernels
from minidl.kernels.softmax_loss import Score

Array = Any


class SoftmaxCrossEntropy:
    """Mean softmax cross-entropy: L = −mean log p[label] with p = softmax(output); its ``error`` is ∂L/∂output."""

    def __init__(self, kernels: Kernels) -> None:
        self.kernels = kernels
        self.buffer: Array = None
        self.error: Array = None

    def __call__(self, output: Array, labels: Array) -> Score:
        """Return the mean loss, the number of right answers and the number of labels, and compute the error.

        output: (samples, classes), or (samples, y, x, classes) for a label of each pixel; labels: (samples,) or
        (samples, y, x), each in 0 … classes − 1, or negative where there is none: this gives no error and does not
        count. The error holds until the next call.
        """
        if self.buffer is None or self.buffer.size < output.size:
            self.buffer = self.kernels.xp.empty(output.size, output.dtype)
        self.error = self.buffer[: output.size].reshape(output.shape)
        return self.kernels.softmax_loss.forward(output, labels, self.error)
