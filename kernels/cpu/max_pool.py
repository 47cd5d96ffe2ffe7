"""Max pooling without padding: the largest element of each window.

data (samples, y, x, c), output (samples, (y − size)//stride + 1, (x − size)//stride + 1, c). The place of each
maximum is remembered, in one byte for windows up to 16 × 16; of equals it is the first, counted column by column.
"""

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.cpu.loops import current
from minidl.kernels.cpu.program import Program, Recorder
from minidl.kernels.max_pool import output_shape
from minidl.kernels.windows import index_type as argmax_type

__all__ = ["argmax_shapes", "argmax_type", "backward", "forward", "inference", "output_shape"]

Array = NDArray[np.floating]
_inference = Recorder()
Argmax = tuple[NDArray[np.unsignedinteger], NDArray[np.unsignedinteger]]


def argmax_shapes(shape: tuple[int, ...], size: int, stride: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shapes of the two arrays that remember where the maxima are, for data of (samples, y, x, c)."""
    n, _, x, c = shape
    out_y, out_x, _ = output_shape((shape[1], x, c), size, stride)
    return (n, out_y, x, c), (n, out_y, out_x, c)


def forward(data: Array, size: int, stride: int, out: Array, argmax: Argmax) -> None:
    """Write the maxima into ``out`` and their places into ``argmax`` (see ``argmax_shapes`` and ``argmax_type``)."""
    current().max_pool(data, size, stride, out, *argmax)


def inference(data: Array, size: int, stride: int, out: Array) -> None:
    """Write the maxima into ``out``, where nobody asks for their places."""
    _, rows, columns, _ = out.shape

    def write(worker: int, start: int, stop: int) -> list[Program]:
        program, best = Program(), out[start:stop]
        for y, x in np.ndindex(size, size):
            pixels = data[start:stop, y : y + stride * rows : stride, x : x + stride * columns : stride]
            (program.largest if y or x else program.copy)(pixels, best)
        return [program]

    _inference.run(len(data), (data, out), write, variant=(size, stride))


def backward(error: Array, size: int, stride: int, argmax: Argmax, out: Array) -> None:
    """Write each element of the error to the place of the maximum, zero elsewhere, into ``out`` (the data's shape)."""
    current().max_pool_adjoint(error, size, stride, *argmax, out)
