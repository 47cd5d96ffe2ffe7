"""Convolution by im2col and matrix products of cuBLAS; see kernels/cpu/im2col.py for the formulas."""

from math import prod
from typing import Any

import cupy
import numpy as np

from minidl.kernels.convolution import Convolution, Geometry
from minidl.kernels.gpu import bias, cublas, source

Array = Any

CHUNK_BYTES = 1 << 28  # of columns at a time
WARP, ROWS = 32, 8  # threads of a block of ``gather``: along a row of a window, and along the output pixels


class Im2col(Convolution):
    """Convolution by im2col, in chunks of the columns; arguments and methods are those of Convolution.

    ``product`` computes one of the three products; other algorithms override it.
    """

    name = "im2col and cuBLAS"

    def __init__(self, geometry: Geometry) -> None:
        super().__init__(geometry)
        self.window = prod(self.kernel_size) * self.data_shape[2]
        # A 1×1 convolution, for which the data themselves are the columns.
        self.pointwise = (*self.kernel_size, *self.stride, *self.padding) == (1, 1, 1, 1, 0, 0)
        self.chunk = max(1, CHUNK_BYTES // (self.window * self.dtype.itemsize))

    def forward(self, data: Array, weights: Array, biases: Array, out: Array, relu: bool = False) -> None:
        """Write data * weights + biases into ``out`` (samples, y, x, out); relu: the maximum of that and 0."""
        self.product("fprop", data, weights, out, biases, relu)

    def backward(self, error: Array, weights: Array, out: Array) -> None:
        """Write the error with respect to the data into ``out`` (samples, y, x, in)."""
        self.product("dgrad", error, weights, out)

    def comp_grads(self, error: Array, data: Array, weights_grads: Array, biases_grads: Array) -> None:
        """Write the gradients of the weights (out, y, x, in) and of the biases (out,)."""
        self.product("wgrad", data, error, weights_grads)
        bias.sums(error, biases_grads)

    def product(
        self, operation: str, first: Array, second: Array, out: Array, biases: Array = None, relu: bool = False
    ) -> None:
        """Write fprop(data, weights), dgrad(error, weights) or wgrad(data, error) into ``out``, plus biases, if any.

        relu: write the maximum of that and 0. A call with biases is the first one of a layer in a step, see bf16.py.
        """
        pixels = (out if operation == "fprop" else first if operation == "dgrad" else second).reshape(-1, self.filters)
        weights = (out if operation == "wgrad" else second).reshape(self.filters, -1)
        images = out if operation == "dgrad" else first
        chunk = len(pixels) if self.pointwise else self.chunk
        columns = images.reshape(-1, self.window) if self.pointwise else self._memory(min(chunk, len(pixels)))
        for start in range(0, len(pixels), chunk):
            part = pixels[start : start + chunk]
            windows = columns[: len(part)]
            if operation != "dgrad" and not self.pointwise:
                self.gather(images, start, windows)
            if operation == "fprop":
                cublas.multiply(windows, weights, part, transpose_b=True)
            elif operation == "wgrad":
                cublas.multiply(part, windows, weights, transpose_a=True, add=start > 0)
            else:
                cublas.multiply(part, weights, windows)
                if not self.pointwise:
                    self.scatter(windows, start, images)
        if biases is not None:
            bias.add(biases, out, relu)

    def _memory(self, pixels: int) -> Array:
        """Return memory for the windows of some pixels; it returns to CuPy's pool after the call."""
        return cupy.empty((pixels, self.window), self.dtype)

    def gather(self, data: Array, start: int, columns: Array) -> None:
        """Write the windows of the output pixels from ``start`` on into ``columns``."""
        shape = -(-len(columns) // ROWS), (WARP, ROWS)
        area = np.int64(start), np.int64(len(columns))
        self._launch("gather", shape, self._unit(data, columns), data, columns, *area)

    def scatter(self, columns: Array, start: int, out: Array) -> None:
        """Add up windows at their places in ``out``, the adjoint of ``gather``; chunks must come one after another.

        Images that begin in this chunk are overwritten.
        """
        of_image = self.output_shape[0] * self.output_shape[1]
        first, last = start // of_image, -(-(start + len(columns)) // of_image)
        # A chunk adds to an image that began in an earlier chunk, and overwrites the images that begin in it.
        y, x, channels = self.data_shape
        middle, unit = first + (start % of_image > 0), self._unit(columns, out)
        for image, end, more in ((first, middle, 1), (middle, last, 0)):
            shape = source.over_pixels((end - image) * y, x, channels // unit)
            area = np.int64(start), np.int64(len(columns)), np.int64(image * y), np.int32(more)
            self._launch("scatter", shape, unit, columns, out, *area)

    def _unit(self, *arrays: Array) -> int:
        """Return how many channels a thread takes."""
        return source.lanes(self.data_shape[2], *arrays)

    def _launch(self, kernel: str, shape: tuple[Any, Any], unit: int, *arguments: Any) -> None:
        (y, x, channels), (out_y, out_x, _) = self.data_shape, self.output_shape
        name = "vector" if unit > 1 else "one"
        numbers = (y, x, channels // unit, out_y, out_x, *self.kernel_size, *self.stride, *self.padding)
        source.launch("im2col", f"{kernel}_{name}", self.dtype, *shape, (*arguments, *source.ints(*numbers)))
