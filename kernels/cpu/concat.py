"""Concatenation of the channels of two arrays; its adjoint splits them again; kernels/concat.py defines both.

Arrays are (samples, y, x, c); only the channels may differ.
"""

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.cpu.program import Program, Recorder
from minidl.kernels.cpu.threads import share

Array = NDArray[np.floating]
_forward = Recorder()


def forward(first: Array, second: Array, out: Array) -> None:
    """Write the channels of ``first``, then those of ``second``, into ``out``."""
    channels = first.shape[-1]

    def write(worker: int, start: int, stop: int) -> list[Program]:
        program = Program()
        program.copy(first[start:stop], out[start:stop, ..., :channels])
        program.copy(second[start:stop], out[start:stop, ..., channels:])
        return [program]

    _forward.run(len(out), (first, second, out), write)


def backward(error: Array, first: Array, second: Array) -> None:
    """Write the error's first channels into ``first``, the others into ``second``: the adjoint of forward."""
    channels = first.shape[-1]

    def work(worker: int, start: int, stop: int) -> None:
        first[start:stop] = error[start:stop, ..., :channels]
        second[start:stop] = error[start:stop, ..., channels:]

    share(work, len(error))
