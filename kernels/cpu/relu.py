"""Rectified linear unit, y = max(x, 0) (Nair and Hinton 2010); kernels/relu.py has its adjoint."""

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.cpu.loops import current
from minidl.kernels.cpu.program import Program, Recorder

Array = NDArray[np.floating]
_forward = Recorder()
_MIN_PER_THREAD = 1 << 15  # elements


def forward(data: Array, out: Array) -> None:
    """Write max(data, 0) into ``out``, which may be ``data`` itself; both of one shape, C-contiguous."""
    x, y = data.reshape(-1), out.reshape(-1)
    in_place = data.ctypes.data == out.ctypes.data

    def write(worker: int, start: int, stop: int) -> list[Program]:
        program = Program()
        if not in_place:
            program.copy(x[start:stop], y[start:stop])
        program.relu(y[None, start:stop])
        return [program]

    _forward.run(x.size, (x, y), write, _MIN_PER_THREAD)


def backward(error: Array, output: Array, out: Array) -> None:
    """Write the error where ``output`` is positive, else zero, into ``out``, which may be ``error`` itself."""
    current().relu_adjoint(error.reshape(-1), output.reshape(-1), out.reshape(-1))
