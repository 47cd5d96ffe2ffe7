"""Transposed convolution: a layer whose forward pass is the adjoint of a convolution.

data (samples, y, x, in), output (samples, Y, X, out) with Y = stride·(y − 1) + size − 2·padding, weights (out, size,
size, in), biases (out,). The convolution maps our output to our data. So its backward is our forward, its forward is
our backward, and in comp_grads data and error change places. kernels/transposed_convolution.py has the formulas.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minidl.kernels import transposed_convolution
from minidl.kernels.convolution import Geometry
from minidl.kernels.cpu import convolution
from minidl.kernels.cpu.constants import Kept, constant, is_constant
from minidl.kernels.cpu.loops import current
from minidl.kernels.cpu.scratch import carve
from minidl.kernels.cpu.threads import share

Array = NDArray[Any]


class TransposedConvolution(transposed_convolution.TransposedConvolution):
    """The transposed convolution of one geometry; arguments and methods are those of the definition."""

    adjoint_plan = staticmethod(convolution.plan)

    def __init__(self, geometry: Geometry) -> None:
        super().__init__(geometry)
        self.none = np.zeros(geometry.data_shape[2], geometry.dtype)  # the biases of the adjoint
        self._not_needed = np.empty_like(self.none)  # their gradients
        self._kept = Kept()

    def forward(self, data: Array, weights: Array, biases: Array, out: Array, relu: bool = False) -> None:
        """Write the transposed convolution plus biases into ``out``; relu: the maximum of that and 0."""
        swapped = (
            self._kept.of(weights, lambda given: constant(_swap(given))) if is_constant(weights) else _swap(weights)
        )
        self.adjoint.backward(data, swapped, out)
        pixels = out.reshape(1, -1, out.shape[-1])
        current().affine(pixels, np.ones_like(biases)[None, None], biases[None, None], pixels, relu)

    def backward(self, error: Array, weights: Array, out: Array) -> None:
        """Write the error with respect to the data into ``out``."""
        self.adjoint.forward(error, _swap(weights), self.none, out)

    def comp_grads(self, error: Array, data: Array, weights_grads: Array, biases_grads: Array) -> None:
        """Write the gradients of the weights and of the biases."""
        out, y, x, into = weights_grads.shape
        (grads,) = carve("transposed weights", weights_grads.dtype, (into, y, x, out))
        self.adjoint.comp_grads(data, error, grads, self._not_needed)
        weights_grads[...] = grads.transpose(3, 1, 2, 0)
        pixels = error.reshape(1, -1, error.shape[-1])
        biases_grads[...] = current().sums(pixels)[0]


def _swap(weights: Array) -> Array:
    """Return weights (out, y, x, in) as those of the convolution, (in, y, x, out), in scratch memory."""
    out, y, x, into = weights.shape
    (swapped,) = carve("transposed weights", weights.dtype, (into, y, x, out))

    def work(worker: int, start: int, stop: int) -> None:
        swapped[start:stop] = weights[..., start:stop].transpose(3, 1, 2, 0)

    share(work, into, 64)
    return swapped


plan = TransposedConvolution
