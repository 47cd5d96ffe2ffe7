"""Rectified linear unit, y = max(x, 0) (Nair and Hinton 2010)."""

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.cpu.loops import current

Array = NDArray[np.floating]


def forward(data: Array, out: Array) -> None:
    """Write max(data, 0) into ``out``, which may be ``data`` itself; both of one shape, C-contiguous."""
    current().relu(data.reshape(-1), out.reshape(-1))


def backward(error: Array, output: Array, out: Array) -> None:
    """Write the error where ``output`` is positive, else zero, into ``out``, which may be ``error`` itself."""
    current().relu_adjoint(error.reshape(-1), output.reshape(-1), out.reshape(-1))
