"""Parameter state: one parameter of a net as an optimizer sees it."""

from dataclasses import dataclass
from typing import Any

Array = Any  # numpy.ndarray or cupy.ndarray


@dataclass
class ParameterState:
    """The weights, gradients and moments of one parameter, and what the update does with them.

    weights, grads: arrays of one shape. moments: the running means of the optimizer, of that shape as well.
    weight_decay: the factor of the weights that is added to the gradient. gc, wc: whether Algorithms 2 and 3
    subtract the mean of each filter's gradient before, and of each filter after, the update.
    """

    weights: Array
    grads: Array
    moments: tuple[Array, ...]
    weight_decay: float = 0.0
    gc: bool = False
    wc: bool = False
