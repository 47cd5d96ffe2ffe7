"""The fully connected layer's three products.

data (samples, in), error (samples, out), weights and their gradients (out, in), biases (out,). Each product is
shared among the workers along an axis of the weights, so that every core reads only its own part of them.
"""

import numpy as np
from numpy.typing import NDArray

from minidl.kernels import relu
from minidl.kernels.threads import share

Array = NDArray[np.floating]
LEAST = 64  # rows or columns of the weights that are worth a thread


def forward(data: Array, weights: Array, biases: Array, out: Array, rectify: bool = False) -> None:
    """Write data · weightsᵀ + biases into ``out`` (samples, out); rectify: the maximum of that and 0."""

    def work(worker: int, start: int, stop: int) -> None:
        part = out[:, start:stop]
        np.matmul(data, weights[start:stop].T, out=part)
        part += biases[start:stop]

    share(work, weights.shape[0], LEAST)
    if rectify:
        relu.forward(out, out)


def backward(error: Array, weights: Array, out: Array) -> None:
    """Write error · weights, the error with respect to the data, into ``out`` (samples, in)."""

    def work(worker: int, start: int, stop: int) -> None:
        np.matmul(error, weights[:, start:stop], out=out[:, start:stop])

    share(work, weights.shape[1], LEAST)


def comp_grads(error: Array, data: Array, weights_grads: Array, biases_grads: Array) -> None:
    """Write errorᵀ · data into ``weights_grads`` and the error's sum over the samples into ``biases_grads``."""

    def work(worker: int, start: int, stop: int) -> None:
        np.matmul(error[:, start:stop].T, data, out=weights_grads[start:stop])

    share(work, weights_grads.shape[0], LEAST)
    np.sum(error, axis=0, out=biases_grads)
