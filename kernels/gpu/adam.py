"""Adam (Algorithm 3; Kingma and Ba 2014) on a GPU: see kernels/adam.py and adam.cu."""

from collections.abc import Sequence
from typing import Any

import cupy
import numpy as np

from minidl.kernels.gpu.source import THREADS, launch
from minidl.kernels.gpu.update import tables
from minidl.kernels.parameter_state import ParameterState
from minidl.kernels.subnormal import least_square

Array = Any
MOMENTS = 2


def step(
    tensors: Sequence[ParameterState],
    rate: Array,
    time: Array,
    momenta: tuple[float, float],
    epsilon: float,
    variant: str,
) -> None:
    """Update the weights of every tensor in place; g is the gradient with its weight decay.

    rate, time: arrays of one element, the learning rate α and the number t of earlier steps, which grows by 1. The
    formulas are those of kernels/adam.py; gradients stay as they are, also with GC.
    """
    if not tensors:
        return
    of_tensors, of_pieces, pieces = tables(tensors)
    dtype, printed, settings = tensors[0].weights.dtype, np.bool_(variant == "as_printed"), cupy.empty(2)
    args = (rate, time, *map(np.float64, (*momenta, epsilon)), printed, settings)
    launch("adam", "begin", dtype, 1, 1, args)
    factors = (dtype.type(factor) for factor in (*momenta, *(1 - momentum for momentum in momenta)))
    args = (of_tensors, of_pieces, settings, *factors, dtype.type(least_square(dtype)), printed)
    launch("adam", "step", dtype, pieces, THREADS, args)
