"""Rectified linear unit."""

from minidl.layer import Array, Layer, Shape


class ReLU(Layer):
    """Rectified linear unit: out = max(data, 0), written over the data where nobody else reads them.

    Where the layer before can rectify as it writes, it does, and nothing is left to do for the way forward.
    """

    kind = "relu"

    def plan(self, shape: Shape) -> Shape:
        """Keep the shape."""
        return shape

    def compute_output(self, data: Array) -> Array:
        """Cut off what is negative."""
        self.output = data if self.in_place or self.rectified else self.buffer("output", data.shape)
        if not self.rectified:
            self.kernels.relu.forward(data, self.output)
        return self.output

    def compute_error(self, error: Array) -> Array:
        """Let the error through where the output is positive."""
        out = self.new_error(error.shape)
        self.kernels.relu.backward(error, self.output, out)
        return out
