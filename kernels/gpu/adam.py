"""Adam (Algorithm 3; Kingma and Ba 2014) on a GPU: see kernels/adam.py and adam.cu."""

from collections.abc import Sequence
from typing import Any

import cupy
import numpy as np

from minidl.kernels.gpu.source import THREADS, launch
from minidl.kernels.gpu.update import tables
from minidl.kernels.parameter_state import ParameterState
from minidl.kernels.subnormal import smallest_square

Array = Any
MOMENTS = 2


def step(
    parameters: Sequence[ParameterState],
    learning_rate: Array,
    steps: Array,
    betas: tuple[float, float],
    epsilon: float,
    variant: str,
) -> None:
    """Update the weights and moments of every parameter in place, by the formulas of kernels/adam.py.

    learning_rate, steps: arrays of one element: α, and the number t of earlier steps, which grows by 1. Gradients do
    not change, even with GC.
    """
    if not parameters:
        return
    of_parameters, of_pieces, pieces = tables(parameters)
    dtype, printed, settings = parameters[0].weights.dtype, np.bool_(variant == "as_printed"), cupy.empty(2)
    args = (learning_rate, steps, *map(np.float64, (*betas, epsilon)), printed, settings)
    launch("adam", "begin", dtype, 1, 1, args)
    factors = (dtype.type(factor) for factor in (*betas, *(1 - beta for beta in betas)))
    args = (of_parameters, of_pieces, settings, *factors, dtype.type(smallest_square(dtype)), printed)
    launch("adam", "step", dtype, pieces, THREADS, args)
