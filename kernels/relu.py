"""The rectified linear unit, y = max(x, 0) (Nair and Hinton 2010)."""

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.loops import current
from minidl.kernels.threads import share

Array = NDArray[np.floating]
LEAST = 1 << 19  # elements that are worth a thread
PIECE = 1 << 20  # elements; with smaller ones, two threads mostly wait for the lock of the interpreter


def forward(data: Array, out: Array) -> None:
    """Write max(data, 0) into ``out``, which may be ``data`` itself; both of one shape, C-contiguous."""
    x, y = data.reshape(-1), out.reshape(-1)
    loops = current()

    def work(worker: int, start: int, stop: int) -> None:
        loops.relu(x[start:stop], y[start:stop])

    share(work, x.size, LEAST)


def backward(error: Array, output: Array, out: Array) -> None:
    """Write the error where ``output`` is positive, else zero, into ``out``, which may be ``error`` itself."""
    e, y, dx = error.reshape(-1), output.reshape(-1), out.reshape(-1)
    loops = current()

    def work(worker: int, start: int, stop: int) -> None:
        for i in range(start, stop, PIECE):
            j = min(i + PIECE, stop)
            loops.relu_adjoint(worker, e[i:j], y[i:j], dx[i:j])

    share(work, e.size, LEAST)
