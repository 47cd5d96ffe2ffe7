"""The plain convolution: the reference of the faster ways, and what all of them have in common."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from minidl.kernels import relu
from minidl.kernels.errors import MinidlError

Array = NDArray[Any]
Pair = tuple[int, int]


class Geometry(NamedTuple):
    """What a convolution is planned for.

    data_shape is (y, x, in) of one sample, mask the size (y, x) of the weights' masks; stride and padding are one
    number or a pair (y, x). Data outside of the image count as zero.
    """

    data_shape: tuple[int, int, int]
    filters: int
    mask: Pair
    stride: int | Pair = 1
    padding: int | Pair = 0
    dtype: DTypeLike = np.float32


class Convolution:
    """The plain convolution of one geometry, and what all ways to compute it have in common.

    out[s, y, x, o] = biases[o] + Σ_{i, j, c} weights[o, i, j, c] · data[s, y·t + i − p, x·t + j − p, c]

    with the stride t and the padding p. Raises MinidlError where no output is left.
    """

    path = "plain"

    def __init__(self, geometry: Geometry) -> None:
        data_shape, filters, mask, stride, padding, dtype = geometry
        self.data_shape = data_shape
        self.filters = filters
        self.mask = mask
        self.stride = (stride, stride) if isinstance(stride, int) else stride
        self.padding = (padding, padding) if isinstance(padding, int) else padding
        self.dtype = np.dtype(dtype)
        y, x = (
            (size + 2 * pad - width) // step + 1
            for size, pad, width, step in zip(data_shape, self.padding, mask, self.stride, strict=False)
        )
        if y < 1 or x < 1:
            raise MinidlError(
                f"a convolution with masks of {mask[0]}×{mask[1]} and a padding of {self.padding[0]}×"
                f"{self.padding[1]} leaves nothing of an image of {data_shape[0]}×{data_shape[1]} pixels"
            )
        self.output_shape = (y, x, filters)

    def forward(self, data: Array, weights: Array, biases: Array, out: Array, rectify: bool = False) -> None:
        """Write data * weights + biases into ``out`` (samples, y, x, out); rectify: the maximum of that and 0."""
        padded = self._pad(data)
        out[...] = biases
        for i, j in np.ndindex(self.mask):
            out += padded[self._shifted(i, j)] @ weights[:, i, j, :].T
        if rectify:
            relu.forward(out, out)

    def backward(self, error: Array, weights: Array, out: Array) -> None:
        """Write the error with respect to the data into ``out`` (samples, y, x, in); the adjoint of forward.

        Where forward multiplies a shifted slice of the data by a matrix, the error times its transpose is added to
        this slice.
        """
        padded = self._pad(np.zeros_like(out))
        for i, j in np.ndindex(self.mask):
            padded[self._shifted(i, j)] += error @ weights[:, i, j, :]
        out[...] = padded[self._inside()]

    def comp_grads(self, error: Array, data: Array, weights_grads: Array, biases_grads: Array) -> None:
        """Write the gradients of the weights (out, y, x, in) and of the biases (out,); nothing is accumulated.

        weights_grads[:, i, j, :] = Σ over samples and pixels of the error's outer products with the shifted data
        """
        padded = self._pad(data)
        for i, j in np.ndindex(self.mask):
            weights_grads[:, i, j, :] = np.tensordot(error, padded[self._shifted(i, j)], axes=([0, 1, 2],) * 2)
        biases_grads[...] = error.sum(axis=(0, 1, 2))

    def _pad(self, data: Array) -> Array:
        """Return a copy of the data with zeros around every image."""
        pad_y, pad_x = self.padding
        return np.pad(data, ((0, 0), (pad_y, pad_y), (pad_x, pad_x), (0, 0)))

    def _inside(self) -> tuple[slice, ...]:
        """Return where the images lie in the padded images."""
        (y, x, _), (pad_y, pad_x) = self.data_shape, self.padding
        return np.s_[:, pad_y : pad_y + y, pad_x : pad_x + x]

    def _shifted(self, i: int, j: int) -> tuple[slice, ...]:
        """Return the pixels of the padded images that mask position (i, j) meets, one for each output pixel."""
        (y, x, _), (step_y, step_x) = self.output_shape, self.stride
        return np.s_[:, i : i + step_y * y : step_y, j : j + step_x * x : step_x]
