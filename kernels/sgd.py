"""Stochastic gradient descent with momentum (Algorithm 2), on all tensors of a net."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.update import Tensor, flush, update

Array = NDArray[np.floating]
MOMENTS = 1


def step(
    tensors: Sequence[Tensor], rate: NDArray[np.float64], time: NDArray[np.int64], momentum: float, variant: str
) -> None:
    """Update the weights of every tensor in place; g is the gradient with its weight decay.

    rate, time: arrays of one element, the learning rate α and the number of earlier steps, which grows by 1.

    variant "paper" (Algorithm 2):  M = ψM + (1 − ψ)g,  W = W − αM
    variant "dlib":                 M = ψM − αg,        W = W + M
    """
    time += 1
    learning_rate, dampened = float(rate[0]), variant == "paper"

    def piece(weights: Array, gradient: Array, spare: Array, moment: Array) -> None:
        moment *= momentum
        gradient *= (1 - momentum) if dampened else -learning_rate
        moment += gradient
        flush(moment)
        np.multiply(moment, -learning_rate if dampened else 1.0, out=spare)
        weights += spare

    update(tensors, piece)
