"""Max pooling without padding: the largest element of each window.

data (samples, y, x, c), output (samples, (y − size)//stride + 1, (x − size)//stride + 1, c). The place of each maximum
is stored, in one byte for windows up to 16 × 16; of equal elements it is the first, counted column by column.
kernels/max_pool.py has the formulas.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from minidl.kernels.cpu.loops import current
from minidl.kernels.cpu.program import Program, Recorder
from minidl.kernels.max_pool import output_shape
from minidl.kernels.windows import index_type as argmax_type

__all__ = ["argmax_shapes", "argmax_type", "backward", "forward", "inference", "output_shape"]

Array = NDArray[np.floating]
_inference = Recorder()
_MIN_PER_THREAD = 1 << 14  # elements; with fewer, waking a thread costs more than it gains
Argmax = tuple[NDArray[np.unsignedinteger], NDArray[np.unsignedinteger]]


def argmax_shapes(shape: tuple[int, ...], size: int, stride: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shapes of the two arrays that remember where the maxima are, for data of (samples, y, x, c).

    The loops in NumPy look for the maximum of each column of a window, and then of these maxima. The first array has
    the row of the former, the second the column of the latter. Compiled loops use only the second one, for both.
    """
    n, _, x, c = shape
    out_y, out_x, _ = output_shape((shape[1], x, c), size, stride)
    return (n, out_y, x, c), (n, out_y, out_x, c)


def forward(data: Array, size: int, stride: int, out: Array, argmax: Argmax) -> None:
    """Write the maxima into ``out`` and their places into ``argmax`` (see ``argmax_shapes`` and ``argmax_type``)."""
    current().max_pool(data, size, stride, out, *argmax)


def inference(data: Array, size: int, stride: int, out: Array) -> None:
    """Write the maxima into ``out``, without their positions.

    The workers share the images, or the rows of a single one.
    """
    windows = sliding_window_view(data, (size, size), axis=(1, 2))[:, ::stride, ::stride].transpose(0, 1, 2, 4, 5, 3)
    axis = 0 if len(data) > 1 else 1

    def write(worker: int, start: int, stop: int) -> list[Program]:
        program, some = Program(), (slice(None),) * axis + (slice(start, stop),)
        program.largest(windows[some], out[some])
        return [program]

    count = out.shape[axis]
    _inference.run(count, (data, out), write, _MIN_PER_THREAD * count // data.size + 1, variant=(size, stride))


def backward(error: Array, size: int, stride: int, argmax: Argmax, out: Array) -> None:
    """Write each element of the error to the place of the maximum, zero elsewhere, into ``out`` (the data's shape)."""
    current().max_pool_adjoint(error, size, stride, *argmax, out)
