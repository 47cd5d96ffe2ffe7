"""Convolution with a bias."""

from typing import Any

from minidl.layer import Array, Layer, Shape, rectifies

SIZES = 8  # of images for which a layer remembers how to compute


class Convolution(Layer):
    """Convolution: out[s, y, x, o] = Σ data[s, t·y + i − p, t·x + j − p, c]·W[o, i, j, c] + b[o].

    data (samples, y, x, in), weights (out, size, size, in), stride t. DLIB's padding p is the default: size//2 on
    every side for stride 1, none for any other.
    """

    kind = "conv"
    output_is_spare = True
    operation = "convolution"  # of the kernels

    def __init__(self, filters: int, size: int, stride: int = 1, padding: int | None = None) -> None:
        super().__init__()
        self.filters, self.size, self.stride = filters, size, stride
        self.padding = padding if padding is not None else (size // 2 if stride == 1 else 0)
        self.ways: dict[Shape, Any] = {}
        self.convolution: Any = None

    def plan(self, shape: Shape) -> Shape:
        """Choose the way to compute for this geometry."""
        if shape not in self.ways:
            if len(self.ways) >= SIZES:
                del self.ways[next(iter(self.ways))]
            self.ways[shape] = self.way(shape)
        self.convolution = self.ways[shape]
        if self.weights is None:
            fan_in = self.size * self.size * shape[-1]
            self.create_parameters((self.filters, self.size, self.size, shape[-1]), fan_in, self.filters)
        return self.convolution.output_shape

    def way(self, shape: Shape) -> Any:
        """Return the way to compute for data of ``shape``."""
        mask = (self.size, self.size)
        geometry = self.kernels.convolution.Geometry(
            shape, self.filters, mask, self.stride, self.padding, self.context.dtype
        )
        return getattr(self.kernels, self.operation).plan(geometry)

    @rectifies
    def compute_output(self, data: Array) -> Array:
        """Correlate the data with each filter."""
        out = self.buffer("output", (len(data), *self.output_shape))
        self.convolution.forward(data, self.weights_in_use, self.biases.value, out, self.rectify)
        return out

    def compute_error(self, error: Array) -> Array:
        """Spread each element of the error over the data that made it."""
        out = self.new_error((len(error), *self.input_shape))
        self.convolution.backward(error, self.weights_in_use, out)
        return out

    def compute_grads(self, error: Array) -> None:
        """Correlate the data with the error."""
        self.convolution.comp_grads(error, self.data, self.weights.grads, self.biases.grads)

    def __str__(self) -> str:
        stride = f" stride {self.stride}" if self.stride > 1 else ""
        way = f" by {self.convolution.name}" if self.convolution else ""
        return f"conv {self.size}×{self.size}{stride}, {self.filters}{way}"
