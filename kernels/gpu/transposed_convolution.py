"""Transposed convolution: the adjoint of a convolution, as in kernels/transposed_convolution.py."""

from typing import Any

import cupy
import numpy as np

from minidl.kernels import transposed_convolution
from minidl.kernels.gpu import bias, convolution, source

Array = Any

TILE, HALF, ROWS = 64, 32, 16  # as in transposed_convolution.cu


class TransposedConvolution(transposed_convolution.TransposedConvolution):
    """The transposed convolution of one geometry; arguments and methods are those of the base class.

    Its forward pass is the convolution's product dgrad, its backward pass fprop, and data and error change places in
    wgrad.
    """

    adjoint_plan = staticmethod(convolution.plan)

    def forward(self, data: Array, weights: Array, biases: Array, out: Array, relu: bool = False) -> None:
        """Write the transposed convolution plus biases into ``out``; relu: the maximum of that and 0."""
        self.adjoint.product("dgrad", data, swap(weights), out, biases, relu)

    def backward(self, error: Array, weights: Array, out: Array) -> None:
        """Write the error with respect to the data into ``out``."""
        self.adjoint.product("fprop", error, swap(weights), out)

    def comp_grads(self, error: Array, data: Array, weights_grads: Array, biases_grads: Array) -> None:
        """Write the gradients of the weights and of the biases."""
        out, y, x, into = weights_grads.shape
        grads = cupy.empty((into, y, x, out), weights_grads.dtype)
        self.adjoint.product("wgrad", error, data, grads)
        swap(grads, weights_grads)
        bias.sums(error, biases_grads)


def swap(weights: Array, out: Array = None) -> Array:
    """Write weights (n, y, x, m), transposed to (m, y, x, n), into ``out`` or a new array, and return that."""
    n, y, x, m = weights.shape
    swapped = cupy.empty((m, y, x, n), weights.dtype) if out is None else out
    grid = (-(-m // TILE), -(-n // TILE), y * x)
    sizes = (np.int32(size) for size in (n, y * x, m))
    source.launch("transposed_convolution", "swap", weights.dtype, grid, (HALF, ROWS), (weights, swapped, *sizes))
    return swapped


plan = TransposedConvolution
