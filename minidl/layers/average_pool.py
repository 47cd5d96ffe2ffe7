"""AveragePool, GlobalAveragePool: the mean of each window, or of each plane."""

from minidl.layer import Array, Layer, Shape
from minidl.layers.pool import Pool


class AveragePool(Pool):
    """Average pooling: out[s, y, x, c] = mean of the size × size window of data at (t·y, t·x), stride t."""

    kind = "avgpool"

    def compute_output(self, data: Array) -> Array:
        """Take the mean of each window."""
        out = self.new_output(len(data))
        self.kernels.average_pool.forward(data, self.size, self.stride, out)
        return out

    def compute_error(self, error: Array) -> Array:
        """Spread each error over its window in equal parts, error/size²; they add up where windows overlap."""
        out = self.new_error((len(error), *self.input_shape))
        self.kernels.average_pool.backward(error, self.size, self.stride, out)
        return out

    def __str__(self) -> str:
        return f"average pool {self.size}×{self.size}, stride {self.stride}"


class GlobalAveragePool(Layer):
    """Global average pooling: out[s, c] = mean of data over the whole plane of y and x."""

    kind = "avgpool"
    data_axes = ("y", "x", "channels")

    def infer_shape(self, shape: Shape) -> Shape:
        """Keep only the channels."""
        return shape[-1:]

    def compute_output(self, data: Array) -> Array:
        """Take the mean of each plane."""
        out = self.new_output(len(data))
        self.kernels.average_pool.forward_global(data, out)
        return out

    def compute_error(self, error: Array) -> Array:
        """Spread each error over its plane in equal parts."""
        out = self.new_error((len(error), *self.input_shape))
        self.kernels.average_pool.backward_global(error, out)
        return out

    def __str__(self) -> str:
        return "global average pool"
