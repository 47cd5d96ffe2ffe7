"""Layers one after the other."""

from collections.abc import Iterator

from minidl.layer import Array, Context, Layer, Parameter, Shape


class Sequential(Layer):
    """Layers one after the other: forward runs down the list, backpropagation up."""

    kind = "sequential"

    def __init__(self, *children: Layer) -> None:
        super().__init__()
        self.children = children

    def setup(self, shape: Shape, context: Context) -> Shape:
        """Set up each layer with the output's shape of the one before."""
        self.input_shape = tuple(shape)
        for child in self.children:
            shape = child.setup(shape, context)
        self.output_shape = shape
        return shape

    def forward(self, data: Array) -> Array:
        """Run the data through all layers."""
        for child in self.children:
            data = child.forward(data)
        return data

    def backpropagate(self, error: Array, need_error: bool = True) -> Array | None:
        """Run the error through all layers, the last one first; each computes its gradients on the way."""
        for child in reversed(self.children[1:]):
            error = child.backpropagate(error)
        return self.children[0].backpropagate(error, need_error)

    def layers(self) -> Iterator[Layer]:
        """Iterate over the layers of all children."""
        for child in self.children:
            yield from child.layers()

    def parameters(self) -> list[Parameter]:
        """Return what all children learn."""
        return [parameter for child in self.children for parameter in child.parameters()]

    def train(self) -> None:
        """Prepare all children for training."""
        for child in self.children:
            child.train()

    def eval(self) -> None:
        """Prepare all children for inference."""
        for child in self.children:
            child.eval()
