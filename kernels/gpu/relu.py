"""Rectified linear unit, y = max(x, 0), on a GPU: see kernels/relu.py and relu.cu."""

from typing import Any

import numpy as np

from minidl.kernels.gpu.source import THREADS, cover, launch

Array = Any


def forward(data: Array, out: Array) -> None:
    """Write max(data, 0) into ``out``, which may be ``data`` itself; both of one shape, C-contiguous."""
    args = (data, out, np.int64(data.size))
    launch("relu", "forward", data.dtype, cover(data.size, data.dtype), THREADS, args)


def backward(error: Array, output: Array, out: Array) -> None:
    """Write the error where ``output`` is positive, else zero, into ``out``, which may be ``error`` itself."""
    args = (error, output, out, np.int64(error.size))
    launch("relu", "backward", error.dtype, cover(error.size, error.dtype), THREADS, args)
