"""Sequential: layers one after the other."""

from minidl.layer import Array, Shape
from minidl.layers.container import Container


class Sequential(Container):
    """Layers one after the other: forward from first to last, backpropagate from last to first."""

    kind = "sequential"

    def infer_shape(self, shape: Shape) -> Shape:
        """Fit each layer to the output shape of the previous layer."""
        for child in self.children:
            shape = child.fit(shape)
        return shape

    def forward(self, data: Array) -> Array:
        """Run the data through all layers."""
        for child in self.children:
            data = child.forward(data)
        return data

    def backpropagate(self, error: Array, need_error: bool = True) -> Array | None:
        """Run the error through all layers, the last one first."""
        back = error
        for child in reversed(self.children[1:]):
            back = child.backpropagate(back)
        first = self.children[0].backpropagate(back, need_error)
        return self.normalize_error(first, error) if need_error else None
