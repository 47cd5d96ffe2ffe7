"""Average pooling without padding: the mean of each window, or of each whole plane.

    y[s, y, x, c]        = mean of data[s, t·y + i, t·x + j, c] over i, j < size, with the stride t
    ∂L/∂data[s, Y, X, c] = Σ ∂L/∂y[s, y, x, c]/size² over the windows (y, x) that contain the pixel (Y, X)

data (samples, y, x, c), output (samples, (y − size)//stride + 1, (x − size)//stride + 1, c), or (samples, c).
"""

from typing import Any

from minidl.kernels.windows import windows

Array = Any  # numpy.ndarray or cupy.ndarray


def forward(data: Array, size: int, stride: int, out: Array) -> None:
    """Write the mean of each size × size window into ``out``."""
    out[...] = sum(pixels for _, _, pixels in windows(data, (size, size), (stride, stride))) / size**2


def backward(error: Array, size: int, stride: int, out: Array) -> None:
    """Spread each element of the error evenly over its window: the adjoint of forward, written into ``out``."""
    out[...] = 0
    for _, _, pixels in windows(out, (size, size), (stride, stride)):
        pixels += error / size**2


def forward_global(data: Array, out: Array) -> None:
    """Write the mean of each plane into ``out`` (samples, c)."""
    out[...] = data.mean(axis=(1, 2))


def backward_global(error: Array, out: Array) -> None:
    """Spread each element of the error (samples, c) evenly over its plane of ``out`` (samples, y, x, c)."""
    _, y, x, _ = out.shape
    out[...] = error[:, None, None] / (y * x)
