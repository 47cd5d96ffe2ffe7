"""Adam: Algorithm 3 (Kingma and Ba 2014), on all tensors of a net.

ΔW are the gradients of the weights W, M and V their first and second moments, α the learning rate, ψ₁ and ψ₂ momenta.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl.kernels.parameter_state import ParameterState
from minidl.kernels.sgd import mean

Array = Any  # numpy.ndarray or cupy.ndarray
MOMENTS = 2
Pair = tuple[float, float]


def step(
    tensors: Sequence[ParameterState], rate: Array, time: Array, momenta: Pair, epsilon: float, variant: str
) -> None:
    """Update every tensor in place, but not its gradients; rate, time: α and the number t of steps, of one element.

    The fast versions also make zero of weights and moments below about 1e-27, with which many processors are slow.
    """
    time += 1
    alpha, (psi1, psi2), t = rate, momenta, time
    for tensor in tensors:
        W, dW, (M, V) = tensor.weights, tensor.grads, tensor.moments
        if tensor.gc:
            dW = dW - mean(dW)
        dW = dW + tensor.weight_decay * W  # coupled (L2); the paper leaves it to the solver
        M[...] = psi1 * M + (1 - psi1) * dW
        V[...] = psi2 * V + (1 - psi2) * dW * dW
        M_hat = M / (1 - psi1**t)
        if variant == "standard":  # Kingma and Ba's, and DLIB's
            W[...] = W - alpha * M_hat / (np.sqrt(V / (1 - psi2**t)) + epsilon)
        else:  # "as_printed"
            W[...] = W - alpha * M_hat / np.sqrt(psi2 * V / (1 - psi2**t) + epsilon)
        if tensor.wc:
            W[...] = W - mean(W)
