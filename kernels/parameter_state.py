"""Parameter state: one parameter of a net as an optimizer sees it."""

from dataclasses import dataclass
from typing import Any

Array = Any  # numpy.ndarray or cupy.ndarray


@dataclass(eq=False)  # arrays have no single truth value, by which two could be compared
class ParameterState:
    """The weights, gradients and moments of one parameter, and what the update does with them.

    weights, grads: arrays of one shape. moments: the running means of the optimizer, of the same shape.
    weight_decay: its product with the weights is added to the gradient. gc, wc: whether Algorithms 2 and 3 subtract
    the mean of each filter's gradient before the update (GC), and the mean of each filter after it (WC).
    """

    weights: Array
    grads: Array
    moments: tuple[Array, ...]
    weight_decay: float = 0.0
    gc: bool = False
    wc: bool = False
