"""Max pooling without padding: the largest element of each window.

data (samples, y, x, c), output (samples, (y − size)//stride + 1, (x − size)//stride + 1, c). Of equal elements the
first one counts, column by column. kernels/max_pool.py has the formulas.
"""

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from minidl.kernels.cpu.loops import current
from minidl.kernels.cpu.program import Program, Recorder

Array = NDArray[np.floating]
_inference = Recorder()
_MIN_PER_THREAD = 1 << 14  # elements; with fewer, waking a thread costs more than it gains


def forward(data: Array, size: int, stride: int, out: Array, buffer: Any) -> Any:
    """Write the maxima into ``out``, and return their places, in arrays of ``buffer``, as the loops need them."""
    return current().max_pool(data, size, stride, out, buffer)


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


def backward(error: Array, size: int, stride: int, argmax: Any, out: Array) -> None:
    """Write each element of the error to the place of the maximum, zero elsewhere, into ``out`` (the data's shape).

    argmax: of ``forward``.
    """
    current().max_pool_adjoint(error, size, stride, argmax, out)
