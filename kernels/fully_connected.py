"""Fully connected layer.

    y = x·Wᵀ + b        ∂L/∂x = ∂L/∂y · W        ∂L/∂W = (∂L/∂y)ᵀ · x        ∂L/∂b = Σ over samples of ∂L/∂y

data x (samples, in), error ∂L/∂y (samples, out), weights W and their gradients (out, in), biases b (out,).

>>> y = np.zeros((1, 2))
>>> forward(np.array([[1.0, 2.0]]), np.array([[1.0, 0.0], [10.0, 10.0]]), np.array([0.5, 0.0]), y)
>>> y
array([[ 1.5, 30. ]])
"""

from typing import Any

import numpy as np

Array = Any  # numpy.ndarray or cupy.ndarray


def forward(data: Array, weights: Array, biases: Array, out: Array, relu: bool = False) -> None:
    """Write data · weightsᵀ + biases into ``out`` (samples, out); relu: the maximum of that and 0."""
    out[...] = data @ weights.T + biases
    if relu:
        out[...] = np.maximum(out, 0)


def backward(error: Array, weights: Array, out: Array) -> None:
    """Write error · weights, the error with respect to the data, into ``out`` (samples, in)."""
    out[...] = error @ weights


def comp_grads(error: Array, data: Array, weights_grads: Array, biases_grads: Array) -> None:
    """Write errorᵀ · data into ``weights_grads`` and the error's sum over the samples into ``biases_grads``."""
    weights_grads[...] = error.T @ data
    biases_grads[...] = error.sum(axis=0)
