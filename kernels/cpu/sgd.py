"""Stochastic gradient descent with momentum (Algorithm 2), on all parameters of a net."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.cpu.loops import current
from minidl.kernels.cpu.update import update
from minidl.kernels.parameter_state import ParameterState

MOMENTS = 1


class Rule(NamedTuple):
    """M = momentum·M + of_gradient·g, W = W + of_moment·M, g = ΔW + decay·W; gc, wc: whether to apply GC and WC."""

    decay: float
    gc: bool
    wc: bool
    momentum: float
    of_gradient: float
    of_moment: float


def step(
    parameters: Sequence[ParameterState],
    learning_rate: NDArray[np.float64],
    steps: NDArray[np.int64],
    momentum: NDArray[np.float64],
    variant: str,
) -> None:
    """Update the weights and moments of every parameter in place.

    learning_rate, steps, momentum: arrays of one element: α, the number of earlier steps, which grows by 1, and ψ. With
    g, the gradient after GC and with the weight decay:

    variant "paper" (Algorithm 2):  M = ψM + (1 − ψ)g,  W = W − αM
    variant "dlib":                 M = ψM − αg,        W = W + M
    """
    steps += 1
    alpha, psi, dampened = float(learning_rate[0]), float(momentum[0]), variant == "paper"
    of_gradient, of_moment = (1 - psi, -alpha) if dampened else (-alpha, 1.0)

    def rule(parameter: ParameterState) -> Rule:
        return Rule(parameter.weight_decay, parameter.gc, parameter.wc, psi, of_gradient, of_moment)

    update(parameters, current().sgd, rule)
