"""Adam: Algorithm 3 (Kingma and Ba 2014), on all parameters of a net.

    g = ΔW − mean(ΔW) + λ·W                   with the mean only for GC
    M = ψ₁·M + (1 − ψ₁)·g                     M̂ = M/(1 − ψ₁ᵗ)
    V = ψ₂·V + (1 − ψ₂)·g²                    V̂ = V/(1 − ψ₂ᵗ)
    W = W − α·M̂/(√V̂ + ε)                      variant "standard"; "as_printed": W = W − α·M̂/√(ψ₂·V̂ + ε)
    W = W − mean(W)                           only for WC

ΔW are the gradients of the weights W, M and V their first and second moments, α the learning rate, ψ₁ and ψ₂ the betas,
λ the weight decay, t the number of this step; ``mean`` is the mean of each filter.
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
    parameters: Sequence[ParameterState], learning_rate: Array, steps: Array, betas: Pair, epsilon: float, variant: str
) -> None:
    """Update every parameter in place, but not its gradients; learning_rate, steps: α and t, of one element each.

    The fast versions keep V at 1.2e-37 or above (float32), so that it is never zero or subnormal. The CPU's fast
    version also sets weights and M below about 1e-27 to zero; subnormal.py says why.
    """
    steps += 1
    alpha, (psi1, psi2), t = learning_rate, betas, steps
    for parameter in parameters:
        W, dW, (M, V) = parameter.weights, parameter.grads, parameter.moments
        if parameter.gc:
            dW = dW - mean(dW)
        dW = dW + parameter.weight_decay * W  # coupled (L2); the paper leaves it to the solver
        M[...] = psi1 * M + (1 - psi1) * dW
        V[...] = psi2 * V + (1 - psi2) * dW * dW
        M_hat = M / (1 - psi1**t)
        if variant == "standard":  # Kingma and Ba's, and DLIB's
            W[...] = W - alpha * M_hat / (np.sqrt(V / (1 - psi2**t)) + epsilon)
        else:  # "as_printed"
            W[...] = W - alpha * M_hat / np.sqrt(psi2 * V / (1 - psi2**t) + epsilon)
        if parameter.wc:
            W[...] = W - mean(W)
