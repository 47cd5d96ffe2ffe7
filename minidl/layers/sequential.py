"""Layers one after the other."""

from minidl.layer import Array, Shape
from minidl.layers.container import Container


class Sequential(Container):
    """Layers one after the other: forward runs down the list, backpropagation up."""

    kind = "sequential"

    def plan(self, shape: Shape) -> Shape:
        """Fit each layer to the output's shape of the one before."""
        for before, child in zip((None, *self.children), self.children, strict=False):
            child.in_place = before is not None and before.output_is_spare
            shape = child.fit(shape)
        self.output_is_spare = child.output_is_spare
        return shape

    def forward(self, data: Array) -> Array:
        """Run the data through all layers."""
        for child in self.children:
            data = child.forward(data)
        return data

    def backpropagate(self, error: Array, need_error: bool = True) -> Array | None:
        """Run the error through all layers, the last one first."""
        for child in reversed(self.children[1:]):
            error = child.backpropagate(error)
        return self.children[0].backpropagate(error, need_error)
