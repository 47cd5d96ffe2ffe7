"""Stochastic gradient descent with momentum: Algorithm 2, on all parameters of a net.

ΔW are the gradients of the weights W, M their momentum, α the learning rate and ψ the momentum factor. The CPU's fast
version sets weights and M below about 1e-27 (float32) to zero; subnormal.py says why.
"""

from collections.abc import Sequence
from typing import Any

from minidl.kernels.parameter_state import ParameterState

Array = Any  # numpy.ndarray or cupy.ndarray
MOMENTS = 1


def step(
    parameters: Sequence[ParameterState], learning_rate: Array, steps: Array, momentum: Array, variant: str
) -> None:
    """Update every parameter in place, but not its gradients; learning_rate, steps, momentum: (1,), α, t and ψ."""
    steps += 1
    alpha, psi = learning_rate, momentum
    for parameter in parameters:
        W, dW, (M,) = parameter.weights, parameter.grads, parameter.moments
        if parameter.gc:
            dW = dW - mean(dW)
        dW = dW + parameter.weight_decay * W  # coupled (L2); the paper leaves it to the solver
        if variant == "paper":
            M[...] = psi * M + (1 - psi) * dW
            W[...] = W - alpha * M
        else:  # "dlib"
            M[...] = psi * M - alpha * dW
            W[...] = W + M
        if parameter.wc:
            W[...] = W - mean(W)


def mean(filters: Array) -> Array:
    """Return the mean of each filter, along axis 0, in float64 (equations 2 and 4)."""
    return filters.mean(axis=tuple(range(1, filters.ndim)), dtype=float, keepdims=True)
