"""Transposed convolution: a layer whose forward pass is the adjoint of a convolution.

    out[s, Y, X] = biases + Σ data[s, y, x] · weights[:, i, j]ᵀ    over all i, j, y, x: t·y + i − p = Y, t·x + j − p = X

with the stride t and the padding p. data (samples, y, x, in), output (samples, Y, X, out) with extents
t·(y − 1) + size − 2p, weights (out, size, size, in), biases (out,).

The convolution maps our output to our data. So its backward is our forward, its forward is our backward, and in
comp_grads data and error change places.
"""

from typing import Any

import numpy as np

from minidl.kernels import convolution
from minidl.kernels.errors import MinidlError

Array = Any  # numpy.ndarray or cupy.ndarray


class TransposedConvolution:
    """The transposed convolution of one geometry; stride and padding are one number.

    Raises MinidlError if the padding leaves no output.
    """

    adjoint_plan: Any = staticmethod(convolution.plan)

    def __init__(self, geometry: convolution.Geometry) -> None:
        data_shape, filters, kernel_size, stride, padding, _ = geometry
        assert isinstance(stride, int)
        assert isinstance(padding, int)
        y, x = (stride * (n - 1) + size - 2 * padding for n, size in zip(data_shape, kernel_size, strict=False))
        if y < 1 or x < 1:
            raise MinidlError(
                f"a transposed convolution with filters of {kernel_size[0]}×{kernel_size[1]} and a padding of "
                f"{padding} leaves nothing of an image of {data_shape[0]}×{data_shape[1]} pixels"
            )
        self.output_shape = (y, x, filters)
        self.adjoint = self.adjoint_plan(geometry._replace(data_shape=self.output_shape, filters=data_shape[2]))
        self.name = self.adjoint.name

    def forward(self, data: Array, weights: Array, biases: Array, out: Array, relu: bool = False) -> None:
        """Write the transposed convolution plus biases into ``out``; relu: the maximum of that and 0."""
        self.adjoint.backward(data, _swap(weights), out)
        out += biases
        if relu:
            out[...] = np.maximum(out, 0)

    def backward(self, error: Array, weights: Array, out: Array) -> None:
        """Write the error with respect to the data into ``out``: a convolution of the error.

        out[s, y, x] = Σ_{i, j} error[s, t·y + i − p, t·x + j − p] · weights[:, i, j]
        """
        no_biases = np.zeros_like(weights[0, 0, 0])
        self.adjoint.forward(error, _swap(weights), no_biases, out)

    def comp_grads(self, error: Array, data: Array, weights_grads: Array, biases_grads: Array) -> None:
        """Write the gradients of the weights and of the biases; nothing is accumulated.

        weights_grads[:, i, j] = Σ_{s, y, x} error[s, t·y + i − p, t·x + j − p]ᵀ · data[s, y, x]
        biases_grads           = Σ_{s, Y, X} error[s, Y, X]
        """
        not_needed = np.empty_like(weights_grads[0, 0, 0])
        self.adjoint.comp_grads(data, error, _swap(weights_grads), not_needed)
        biases_grads[...] = error.sum(axis=(0, 1, 2))


def _swap(weights: Array) -> Array:
    """Return a view of weights (out, y, x, in) as those of the convolution, (in, y, x, out)."""
    return weights.transpose(3, 1, 2, 0)


def plan(geometry: convolution.Geometry) -> TransposedConvolution:
    """Return the transposed convolution of this geometry."""
    return TransposedConvolution(geometry)
