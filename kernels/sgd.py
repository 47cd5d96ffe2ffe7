"""Stochastic gradient descent with momentum: Algorithm 2, on all tensors of a net.

ΔW are the gradients of the weights W, M their momentum, α the learning rate and ψ the momentum factor.
"""

from collections.abc import Sequence
from typing import Any

from minidl.kernels.parameter_state import ParameterState

Array = Any  # numpy.ndarray or cupy.ndarray
MOMENTS = 1


def step(tensors: Sequence[ParameterState], rate: Array, time: Array, momentum: float, variant: str) -> None:
    """Update every tensor in place, but not its gradients; rate, time: α and the number of steps, of one element.

    The fast versions also make zero of weights and momenta below about 1e-27, with which many processors are slow.
    """
    time += 1
    alpha, psi = rate, momentum
    for tensor in tensors:
        W, dW, (M,) = tensor.weights, tensor.grads, tensor.moments
        if tensor.gc:
            dW = dW - mean(dW)
        dW = dW + tensor.weight_decay * W  # coupled (L2); the paper leaves it to the solver
        if variant == "paper":
            M[...] = psi * M + (1 - psi) * dW
            W[...] = W - alpha * M
        else:  # "dlib"
            M[...] = psi * M - alpha * dW
            W[...] = W + M
        if tensor.wc:
            W[...] = W - mean(W)


def mean(filters: Array) -> Array:
    """Return the mean of each filter, along axis 0."""
    return filters.mean(axis=tuple(range(1, filters.ndim)), keepdims=True)
