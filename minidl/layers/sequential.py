"""Layers one after the other."""

from minidl.layer import Array, Shape
from minidl.layers.container import Container
from minidl.layers.relu import ReLU


class Sequential(Container):
    """Layers one after the other: forward runs down the list, backpropagation up."""

    kind = "sequential"

    def plan(self, shape: Shape) -> Shape:
        """Fit each layer to the output's shape of the one before, and tell it what its neighbours allow or ask for."""
        neighbours = zip((None, *self.children), self.children, (*self.children[1:], None), strict=False)
        for before, child, after in neighbours:
            child.in_place = before is not None and before.output_is_spare
            child.rectified = before is not None and before.rectify
            # Nothing is known of a kind of ReLU that is one's own.
            child.rectify = hasattr(child.compute_output, "rectifies") and type(after) is ReLU
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
        back = self.children[0].backpropagate(error, need_error)
        return self.at_error(back, self.name) if need_error else None
