"""FullyConnected: each output is a weighted sum of all inputs, plus a bias."""

from minidl.layer import Array, Shape
from minidl.layers.product_layer import ProductLayer


class FullyConnected(ProductLayer):
    """Fully connected: out[s, o] = Σ data[s, i]·W[o, i] + b[o]; data (samples, in), weights (out, in)."""

    kind = "fc"
    data_axes = ("in",)

    def __init__(self, outputs: int) -> None:
        super().__init__()
        (self.outputs,) = self.check_counts(outputs=outputs)

    def infer_shape(self, shape: Shape) -> Shape:
        """Create one weight for each pair of an input and an output."""
        (inputs,) = shape
        self.create_parameters((self.outputs, inputs), inputs, self.outputs)
        return (self.outputs,)

    def compute_output(self, data: Array) -> Array:
        """Return data · Wᵀ + b."""
        out = self.new_output(len(data))
        self.kernels.fully_connected.forward(data, self.weights.in_use, self.biases.in_use, out, self.with_relu)
        return out

    def compute_error(self, error: Array) -> Array:
        """Return ∂L/∂data = error · W."""
        out = self.new_error((len(error), *self.input_shape))
        self.kernels.fully_connected.backward(error, self.weights.in_use, out)
        return out

    def compute_grads(self, error: Array) -> None:
        """Write ∂L/∂W = errorᵀ · data and ∂L/∂b, the sum of the error over the samples."""
        self.kernels.fully_connected.comp_grads(error, self.data, self.weights.grads, self.biases.grads)

    def __str__(self) -> str:
        return f"fully connected, {self.outputs}"
