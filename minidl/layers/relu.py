"""ReLU: the rectified linear unit."""

from minidl.layer import Array, Layer, Shape


class ReLU(Layer):
    """Rectified linear unit: out = max(data, 0)."""

    kind = "relu"

    def __init__(self) -> None:
        super().__init__()
        self.output: Array = None  # of the last forward

    def infer_shape(self, shape: Shape) -> Shape:
        """Keep the shape."""
        return shape

    def compute_output(self, data: Array) -> Array:
        """Replace negative elements by 0."""
        self.output = self.new_output(len(data))
        if self.writes_over is None or not self.writes_over.with_relu:  # else the layer before has done it
            self.kernels.relu.forward(data, self.output)
        return self.output

    def compute_error(self, error: Array) -> Array:
        """Keep the error where the output is positive, and write 0 elsewhere."""
        out = self.new_error(error.shape)
        self.kernels.relu.backward(error, self.output, out)
        return out
