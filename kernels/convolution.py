"""Convolution as three passes: forward, backward, comp_grads.

    out[s, y, x] = biases + Σ_{i, j} data[s, t·y + i − p, t·x + j − p] · weights[:, i, j]ᵀ

with the stride t and the padding p; data outside of the image count as zero. Arrays are channels last: data
(samples, y, x, in), out and error (samples, y, x, out), weights (out, y, x, in), biases (out,).
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from minidl.kernels.errors import MinidlError
from minidl.kernels.windows import Pair, windows

Array = Any  # numpy.ndarray or cupy.ndarray


class Geometry(NamedTuple):
    """Shape of the data and settings of a convolution.

    data_shape is (y, x, in) of one sample, kernel_size the size (y, x) of the filters; stride and padding are one
    number or a pair (y, x). Data outside of the image count as zero.
    """

    data_shape: tuple[int, ...]
    filters: int
    kernel_size: Pair
    stride: int | Pair = 1
    padding: int | Pair = 0
    dtype: DTypeLike = np.float32


class Convolution:
    """The convolution of one geometry; raises MinidlError if its output would be empty."""

    name = "plain"

    def __init__(self, geometry: Geometry) -> None:
        data_shape, filters, self.kernel_size, stride, padding, dtype = geometry
        self.data_shape, self.filters, self.dtype = data_shape, filters, np.dtype(dtype)
        self.stride = (stride, stride) if isinstance(stride, int) else stride
        self.padding = (padding, padding) if isinstance(padding, int) else padding
        y, x = (
            (size + 2 * pad - width) // step + 1
            for size, pad, width, step in zip(data_shape, self.padding, self.kernel_size, self.stride, strict=False)
        )
        if y < 1 or x < 1:
            raise MinidlError(
                f"a convolution with filters of {self.kernel_size[0]}×{self.kernel_size[1]} and a padding of "
                f"{self.padding[0]}×{self.padding[1]} leaves nothing of an image of "
                f"{data_shape[0]}×{data_shape[1]} pixels; take larger images, smaller filters or more padding"
            )
        self.output_shape = (y, x, filters)

    def forward(self, data: Array, weights: Array, biases: Array, out: Array, relu: bool = False) -> None:
        """Write data * weights + biases into ``out`` (samples, y, x, out); relu: the maximum of that and 0."""
        out[...] = biases
        for i, j, pixels in windows(self._pad(data), self.kernel_size, self.stride):
            out += pixels @ weights[:, i, j].T
        if relu:
            out[...] = np.maximum(out, 0)

    def backward(self, error: Array, weights: Array, out: Array) -> None:
        """Write the error with respect to the data into ``out`` (samples, y, x, in): the adjoint of forward.

        out[s, Y, X] = Σ error[s, y, x] · weights[:, i, j]    over all i, j, y, x: t·y + i − p = Y, t·x + j − p = X
        """
        padded = self._pad(np.zeros_like(out))
        for i, j, pixels in windows(padded, self.kernel_size, self.stride):
            pixels += error @ weights[:, i, j]
        (_, y, x, _), (pad_y, pad_x) = out.shape, self.padding
        out[...] = padded[:, pad_y : pad_y + y, pad_x : pad_x + x]

    def comp_grads(self, error: Array, data: Array, weights_grads: Array, biases_grads: Array) -> None:
        """Write the gradients of the weights (out, y, x, in) and of the biases (out,); nothing is accumulated.

        weights_grads[:, i, j] = Σ_{s, y, x} error[s, y, x]ᵀ · data[s, t·y + i − p, t·x + j − p]
        biases_grads           = Σ_{s, y, x} error[s, y, x]
        """
        for i, j, pixels in windows(self._pad(data), self.kernel_size, self.stride):
            weights_grads[:, i, j] = np.tensordot(error, pixels, axes=([0, 1, 2], [0, 1, 2]))
        biases_grads[...] = error.sum(axis=(0, 1, 2))

    def _pad(self, images: Array) -> Array:
        """Return a copy with zeros around every image."""
        pad_y, pad_x = self.padding
        return np.pad(images, ((0, 0), (pad_y, pad_y), (pad_x, pad_x), (0, 0)))


def plan(geometry: Geometry, algorithm: str | None = None) -> Convolution:
    """Return the convolution of this geometry; raise MinidlError for any algorithm but "plain", the only one here."""
    if algorithm not in (None, "plain"):
        raise MinidlError(f"the algorithm {algorithm!r} of a convolution is unknown; use plain")
    return Convolution(geometry)
