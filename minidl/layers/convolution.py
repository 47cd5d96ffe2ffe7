"""Convolution: a convolution with a bias."""

from typing import Any

from minidl.layer import Array, Shape
from minidl.layers.product_layer import ProductLayer

KEPT = 8  # algorithms of a layer, one for each size of images


class Convolution(ProductLayer):
    """Convolution: out[s, y, x, o] = Σ data[s, t·y + i − p, t·x + j − p, c]·W[o, i, j, c] + b[o].

    data (samples, y, x, in), weights (out, size, size, in), stride t. DLIB's padding p is the default: size//2 on
    every side for stride 1, none for any other. Backward takes the same products with the error in the place of out:

        ∂L/∂data[s, t·y + i − p, t·x + j − p, c] = Σ error[s, y, x, o]·W[o, i, j, c]    over all that meet there
        ∂L/∂W[o, i, j, c] = Σ error[s, y, x, o]·data[s, t·y + i − p, t·x + j − p, c]    ∂L/∂b[o] = Σ error[s, y, x, o]
    """

    kind = "conv"
    data_axes = ("y", "x", "channels")
    operation = "convolution"  # its name in the kernels

    def __init__(self, filters: int, size: int, stride: int = 1, padding: int | None = None) -> None:
        super().__init__()
        self.filters, self.size, self.stride = self.check_counts(filters=filters, size=size, stride=stride)
        usual = self.size // 2 if self.stride == 1 else 0
        (self.padding,) = self.check_counts(0, padding=usual if padding is None else padding)
        self.algorithms: dict[Shape, Any] = {}  # by the shape of the data
        self.algorithm: Any = None

    def infer_shape(self, shape: Shape) -> Shape:
        """Choose the algorithm for this geometry, and create the weights."""
        if shape not in self.algorithms:
            if len(self.algorithms) >= KEPT:
                del self.algorithms[next(iter(self.algorithms))]
            self.algorithms[shape] = self.choose_algorithm(shape)
        self.algorithm = self.algorithms[shape]
        fan_in = self.size * self.size * shape[-1]
        self.create_parameters((self.filters, self.size, self.size, shape[-1]), fan_in, self.filters)
        return self.algorithm.output_shape

    def choose_algorithm(self, shape: Shape) -> Any:
        """Return the algorithm that the device chooses for data of ``shape``."""
        size = (self.size, self.size)
        geometry = self.kernels.convolution.Geometry(
            shape, self.filters, size, self.stride, self.padding, self.context.dtype
        )
        return getattr(self.kernels, self.operation).plan(geometry)

    def compute_output(self, data: Array) -> Array:
        """Sum the products of each filter with the data that it meets, and add its bias."""
        out = self.new_output(len(data))
        self.algorithm.forward(data, self.weights.in_use, self.biases.in_use, out, self.with_relu)
        return out

    def compute_error(self, error: Array) -> Array:
        """Add each element of the error, times the weights, to the data that it was computed from."""
        out = self.new_error((len(error), *self.input_shape))
        self.algorithm.backward(error, self.weights.in_use, out)
        return out

    def compute_grads(self, error: Array) -> None:
        """Sum the products of the error with the data that each weight meets."""
        self.algorithm.comp_grads(error, self.data, self.weights.grads, self.biases.grads)

    def __str__(self) -> str:
        stride = f" stride {self.stride}" if self.stride > 1 else ""
        algorithm = f" by {self.algorithm.name}" if self.algorithm else ""
        return f"conv {self.size}×{self.size}{stride}, {self.filters}{algorithm}"
