"""Stochastic gradient descent with momentum (Algorithm 2) on a GPU: see kernels/sgd.py and sgd.cu."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl.kernels.gpu.source import THREADS, launch
from minidl.kernels.gpu.update import tables
from minidl.kernels.parameter_state import ParameterState

Array = Any
MOMENTS = 1


def step(
    parameters: Sequence[ParameterState], learning_rate: Array, steps: Array, momentum: Array, variant: str
) -> None:
    """Update the weights and moments of every parameter in place, by the formulas of kernels/sgd.py.

    learning_rate, steps, momentum: arrays of one element: α, the number of earlier steps, which grows by 1, and ψ.
    Gradients do not change, even with GC.
    """
    if not parameters:
        return
    of_parameters, of_pieces, pieces = tables(parameters)
    dtype = parameters[0].weights.dtype
    args = (of_parameters, of_pieces, learning_rate, steps, momentum, np.bool_(variant == "dlib"))
    launch("sgd", "step", dtype, pieces, THREADS, args)
