"""Adam (Algorithm 3; Kingma and Ba 2014), on all tensors of a net."""

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.cpu.loops import current
from minidl.kernels.cpu.update import update
from minidl.kernels.parameter_state import ParameterState

Array = NDArray[np.floating]
MOMENTS = 2


class Rule(NamedTuple):
    """M = first·M + (1 − first)g, V = second·V + (1 − second)g², W = W − size·M/(√V + epsilon), g = ΔW + decay·W.

    V is at least ``least_square``, so that the root is above 0 however small ε is. gc, wc: with GC and WC or without;
    inside: whether ε stands inside the root.
    """

    decay: float
    gc: bool
    wc: bool
    first: float
    second: float
    size: float
    epsilon: float
    inside: bool


def step(
    tensors: Sequence[ParameterState],
    rate: NDArray[np.float64],
    time: NDArray[np.int64],
    momenta: tuple[float, float],
    epsilon: float,
    variant: str,
) -> None:
    """Update the weights of every tensor in place; g is the gradient with its weight decay.

    rate, time: arrays of one element, the learning rate α and the number t of earlier steps, which grows by 1.

        M = ψ₁M + (1 − ψ₁)g,  V = ψ₂V + (1 − ψ₂)g²,  M̂ = M/(1 − ψ₁ᵗ)
    variant "standard":    V̂ = V/(1 − ψ₂ᵗ),    W = W − α·M̂/(√V̂ + ε)      (Kingma and Ba; DLIB)
    variant "as_printed":  V̂ = ψ₂V/(1 − ψ₂ᵗ),  W = W − α·M̂/√(V̂ + ε)      (Algorithm 3 to the letter)
    """
    time += 1
    first, second = momenta
    first_bias, second_bias = 1 - first ** int(time[0]), 1 - second ** int(time[0])
    # V̂ is V times one factor, which is taken out of the root: α·M̂/(√V̂ + ε) = size·M/(√V + inner).
    printed = variant == "as_printed"
    factor = second / second_bias if printed else 1 / second_bias
    size = float(rate[0]) / first_bias / sqrt(factor)
    inner = epsilon / (factor if printed else sqrt(factor))

    def rule(tensor: ParameterState) -> Rule:
        return Rule(tensor.weight_decay, tensor.gc, tensor.wc, first, second, size, inner, printed)

    update(tensors, current().adam, rule)
