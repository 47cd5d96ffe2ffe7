"""Average pooling without padding: the mean of each window, or of each whole plane; kernels/average_pool.py defines it.

data (samples, y, x, c), output (samples, (y − size)//stride + 1, (x − size)//stride + 1, c), or (samples, c).
"""

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.cpu.ones import ones
from minidl.kernels.cpu.program import PerImage, Program, Recorder
from minidl.kernels.cpu.threads import share

Array = NDArray[np.floating]
_means, _global_means = Recorder(), Recorder()
_MIN_PER_THREAD = 1 << 18  # elements; with fewer, waking a thread costs more than it gains


def forward(data: Array, size: int, stride: int, out: Array) -> None:
    """Write the mean of each size × size window into ``out``."""

    def write(worker: int, start: int, stop: int) -> list[Program]:
        program, total = Program(), out[start:stop]
        for y, x in np.ndindex(size, size):
            places = _places(data[start:stop], y, x, stride, total.shape)
            program.copy(places, total, accumulate=(y, x) != (0, 0), factor=1 / size**2)
        return [program]

    _means.run(len(data), (data, out), write, _MIN_PER_THREAD // data[0].size + 1, variant=(size, stride))


def backward(error: Array, size: int, stride: int, out: Array) -> None:
    """Spread each element of the error evenly over its window: the adjoint of forward, written into ``out``."""

    def work(worker: int, start: int, stop: int) -> None:
        images, part = out[start:stop], error[start:stop]
        images[...] = 0
        for y, x in np.ndindex(size, size):
            place = _places(images, y, x, stride, part.shape)
            place += part
        images *= out.dtype.type(1 / size**2)

    share(work, len(error), _MIN_PER_THREAD // out[0].size + 1)


def _places(images: Array, y: int, x: int, stride: int, shape: tuple[int, ...]) -> Array:
    """View the pixel (y, x) of each window."""
    rows, columns = (slice(first, first + stride * n, stride) for first, n in zip((y, x), shape[1:3], strict=True))
    return images[:, rows, columns]


def forward_global(data: Array, out: Array) -> None:
    """Write the mean of each plane into ``out`` (samples, c)."""
    n, y, x, channels = data.shape
    planes, pixels = PerImage(data.reshape(-1, channels), y * x), y * x

    def write(worker: int, start: int, stop: int) -> list[Program]:
        program, mean = Program(1, range(start, stop)), PerImage(out)
        program.product(ones(pixels, out.dtype)[None], planes, mean)
        program.copy(mean, mean, factor=1 / pixels)
        return [program]

    _global_means.run(n, (data, out), write, _MIN_PER_THREAD // (pixels * channels) + 1)


def backward_global(error: Array, out: Array) -> None:
    """Spread each element of the error (samples, c) evenly over its plane of ``out`` (samples, y, x, c)."""
    planes = out.reshape(len(out), -1, out.shape[-1])
    planes[...] = error[:, None]
    planes *= out.dtype.type(1 / planes.shape[1])
