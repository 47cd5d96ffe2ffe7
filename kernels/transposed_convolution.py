"""Transposed convolution: the adjoint of a convolution from its output's size to its data's, as a layer of its own.

data (samples, y, x, in), output (samples, Y, X, out) with Y = stride·(y − 1) + size − 2·padding, weights (out, size,
size, in), biases (out,). The convolution has this output as its data and this data as its output, so its backward is
our forward, its forward our backward, and in comp_grads data and error change places.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minidl.kernels import convolution
from minidl.kernels.convolution import Geometry
from minidl.kernels.errors import MinidlError
from minidl.kernels.loops import current
from minidl.kernels.scratch import cut
from minidl.kernels.threads import share

Array = NDArray[Any]


class TransposedConvolution:
    """The transposed convolution of one geometry.

    out[s, Y, X, o] = biases[o] + Σ weights[o, i, j, c] · data[s, y, x, c],   Y = stride·y + i − padding, X alike

    Stride and padding are one number. Raises MinidlError where the padding leaves no output.
    """

    adjoint_plan: Any = staticmethod(convolution.plan)

    def __init__(self, geometry: Geometry) -> None:
        data_shape, filters, mask, stride, padding, dtype = geometry
        assert isinstance(stride, int)
        assert isinstance(padding, int)
        y, x = (stride * (n - 1) + size - 2 * padding for n, size in zip(data_shape, mask, strict=False))
        if y < 1 or x < 1:
            raise MinidlError(
                f"a transposed convolution with masks of {mask[0]}×{mask[1]} and a padding of {padding} leaves nothing "
                f"of an image of {data_shape[0]}×{data_shape[1]} pixels"
            )
        self.output_shape = (y, x, filters)
        self.adjoint = self.adjoint_plan(Geometry(self.output_shape, data_shape[2], mask, stride, padding, dtype))
        self.path = self.adjoint.path
        self.none = np.zeros(data_shape[2], dtype)  # the convolution has biases, its adjoint needs none of them

    def forward(self, data: Array, weights: Array, biases: Array, out: Array, rectify: bool = False) -> None:
        """Write the transposed convolution plus biases into ``out``; rectify: the maximum of that and 0."""
        self.adjoint.backward(data, _swap(weights), out)
        pixels = out.reshape(1, -1, out.shape[-1])
        current().line(pixels, np.ones_like(biases)[None, None], biases[None, None], pixels, rectify)

    def backward(self, error: Array, weights: Array, out: Array) -> None:
        """Write the error with respect to the data into ``out``."""
        self.adjoint.forward(error, _swap(weights), self.none, out)

    def comp_grads(self, error: Array, data: Array, weights_grads: Array, biases_grads: Array) -> None:
        """Write the gradients of the weights and of the biases."""
        out, y, x, into = weights_grads.shape
        (grads,) = cut("transposed weights", weights_grads.dtype, (into, y, x, out))
        self.adjoint.comp_grads(data, error, grads, np.empty_like(self.none))
        weights_grads[...] = grads.transpose(3, 1, 2, 0)
        pixels = error.reshape(1, -1, error.shape[-1])
        biases_grads[...] = current().sums(pixels)[0]


def _swap(weights: Array) -> Array:
    """Return the weights as the convolution has them, (in, y, x, out), in scratch memory."""
    out, y, x, into = weights.shape
    (swapped,) = cut("transposed weights", weights.dtype, (into, y, x, out))

    def work(worker: int, start: int, stop: int) -> None:
        swapped[start:stop] = weights[..., start:stop].transpose(3, 1, 2, 0)

    share(work, into, 64)
    return swapped


plan = TransposedConvolution
