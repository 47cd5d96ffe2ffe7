"""What a net's output is measured by."""

from typing import Any

from minidl.kernels import Kernels

Array = Any


class SoftmaxCrossEntropy:
    """Mean softmax cross-entropy: L = −mean log p[label] with p = softmax(output); its ``error`` is ∂L/∂output."""

    def __init__(self, kernels: Kernels) -> None:
        self.kernels = kernels
        self.error: Array = None

    def __call__(self, output: Array, labels: Array) -> tuple[float, int]:
        """Return the mean loss and the number of right answers, and compute the error.

        output: (samples, classes); labels: (samples,), each in 0 … classes − 1. The error holds until the next call.
        """
        if self.error is None or self.error.shape != output.shape:
            self.error = self.kernels.xp.empty_like(output)
        return self.kernels.softmax_loss.forward(output, labels, self.error)
