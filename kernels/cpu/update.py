"""Update of all parameters of a net: what SGD and Adam have in common."""

from collections.abc import Callable, Sequence
from typing import Any

from minidl.kernels.parameter_state import ParameterState


def update(
    parameters: Sequence[ParameterState], loop: Callable[..., None], rule: Callable[[ParameterState], Any]
) -> None:
    """Update each parameter in place by ``loop(rule(parameter), weights, grads, *moments)``.

    The arrays are viewed as (n, length). With GC or WC, which subtract the mean of each filter, a row is a whole
    filter, otherwise a single element. The loop adds the weight decay to the gradient after GC (coupled L2), and sets
    nearly subnormal numbers to zero, see subnormal.py.
    """
    for parameter in parameters:
        length = parameter.weights[0].size if parameter.gc or parameter.wc else 1
        arrays = parameter.weights, parameter.grads, *parameter.moments
        loop(rule(parameter), *(array.reshape(-1, length) for array in arrays))
