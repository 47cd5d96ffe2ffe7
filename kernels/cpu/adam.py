"""Adam (Algorithm 3; Kingma and Ba 2014), on all parameters of a net."""

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.cpu.loops import current
from minidl.kernels.cpu.update import update
from minidl.kernels.parameter_state import ParameterState

MOMENTS = 2


class Rule(NamedTuple):
    """M = beta1·M + (1 − beta1)g, V = beta2·V + (1 − beta2)g², W = W − step_size·M/(√V + epsilon), g = ΔW + decay·W.

    V is never below ``smallest_square``, so that the root is above 0 even if epsilon is 0. gc, wc: whether to apply GC
    and WC; inside: whether epsilon is added inside the root.
    """

    decay: float
    gc: bool
    wc: bool
    beta1: float
    beta2: float
    step_size: float
    epsilon: float
    inside: bool


def step(
    parameters: Sequence[ParameterState],
    learning_rate: NDArray[np.float64],
    steps: NDArray[np.int64],
    betas: tuple[float, float],
    epsilon: float,
    variant: str,
) -> None:
    """Update the weights and moments of every parameter in place.

    learning_rate, steps: arrays of one element: α, and the number of earlier steps, which grows by 1 to t. With g, the
    gradient after GC and with the weight decay:

        M = ψ₁M + (1 − ψ₁)g,  V = ψ₂V + (1 − ψ₂)g²,  M̂ = M/(1 − ψ₁ᵗ)
    variant "standard":    V̂ = V/(1 − ψ₂ᵗ),    W = W − α·M̂/(√V̂ + ε)      (Kingma and Ba; DLIB)
    variant "as_printed":  V̂ = ψ₂V/(1 − ψ₂ᵗ),  W = W − α·M̂/√(V̂ + ε)      (Algorithm 3 to the letter)
    """
    steps += 1
    beta1, beta2 = betas
    bias1, bias2 = 1 - beta1 ** int(steps[0]), 1 - beta2 ** int(steps[0])
    # V̂ is V times one factor, which is taken out of the root: α·M̂/(√V̂ + ε) = step_size·M/(√V + inner).
    printed = variant == "as_printed"
    factor = beta2 / bias2 if printed else 1 / bias2
    step_size = float(learning_rate[0]) / bias1 / sqrt(factor)
    inner = epsilon / (factor if printed else sqrt(factor))

    def rule(parameter: ParameterState) -> Rule:
        return Rule(parameter.weight_decay, parameter.gc, parameter.wc, beta1, beta2, step_size, inner, printed)

    update(parameters, current().adam, rule)
