"""Fully connected layer on a GPU: its three products are those of a 1×1 convolution on images of one pixel.

Arrays and formulas are those of kernels/fully_connected.py.
"""

from functools import cache
from typing import Any

from numpy.typing import DTypeLike

from minidl.kernels.convolution import Geometry
from minidl.kernels.gpu import bias, convolution, products
from minidl.kernels.gpu.im2col import Im2col

Array = Any


def forward(data: Array, weights: Array, biases: Array, out: Array, relu: bool = False) -> None:
    """Write data · weightsᵀ + biases into ``out`` (samples, out); relu: the maximum of that and 0."""
    _layer(weights).product("fprop", _images(data), _images(weights), _images(out), biases, relu)


def backward(error: Array, weights: Array, out: Array) -> None:
    """Write error · weights, the error with respect to the data, into ``out`` (samples, in)."""
    _layer(weights).product("dgrad", _images(error), _images(weights), _images(out))


def comp_grads(error: Array, data: Array, weights_grads: Array, biases_grads: Array) -> None:
    """Write errorᵀ · data into ``weights_grads`` and the error's sum over the samples into ``biases_grads``."""
    _layer(weights_grads).product("wgrad", _images(data), _images(error), _images(weights_grads))
    bias.sums(error, biases_grads)


def _images(rows: Array) -> Array:
    """View a matrix (n, channels) as images of one pixel, (n, 1, 1, channels)."""
    return rows.reshape(len(rows), 1, 1, -1)


def _layer(weights: Array) -> Im2col:
    return _plan(*weights.shape, weights.dtype, "cudnn" if products.by_cudnn(weights.dtype) else "im2col")


@cache
def _plan(outputs: int, inputs: int, dtype: DTypeLike, algorithm: str) -> Im2col:
    return convolution.plan(Geometry((1, 1, inputs), outputs, (1, 1), dtype=dtype), algorithm)
