"""What SGD and Adam share: a loop over the parameters of a net."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.parameter_state import ParameterState

Array = NDArray[np.floating]


def update(tensors: Sequence[ParameterState], loop: Callable[..., None], rule: Callable[[ParameterState], Any]) -> None:
    """Update each tensor in place by ``loop(rule(tensor), weights, grads, *moments)``, arrays of filters (n, length).

    They are whole filters where these have means to be subtracted, single elements otherwise. The weight decay is added
    to the gradient after GC (coupled L2).

    The loops make zero of what is nearly subnormal, see subnormal.py.
    """
    for tensor in tensors:
        length = tensor.weights[0].size if tensor.gc or tensor.wc else 1
        arrays = tensor.weights, tensor.grads, *tensor.moments
        loop(rule(tensor), *(array.reshape(-1, length) for array in arrays))
