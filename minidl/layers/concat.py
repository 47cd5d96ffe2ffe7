"""Concat: the connection of a U-net."""

from minidl.layer import Array, Layer, Shape
from minidl.layers.container import Container
from minidl.layers.resize import Resize


class Concat(Container):
    """U connection (Ronneberger et al. 2015): out = the channels of the data, then those of body(data).

    The body's output is resized to the data's height and width. In a U-net, the body of the outermost connection
    contains the next connection, and so on.
    """

    kind = "concat"
    data_axes = ("y", "x", "channels")
    computes = True

    def __init__(self, body: Layer) -> None:
        self.body, self.resize = body, Resize((0, 0))
        super().__init__(body, self.resize)

    def infer_shape(self, shape: Shape) -> Shape:
        """Add up the channels."""
        y, x, channels = shape
        self.resize.size = (y, x)
        self.body_shape = self.resize.fit(self.body.fit(shape))
        return y, x, channels + self.body_shape[-1]

    def forward(self, data: Array) -> Array:
        """Concatenate the channels of the data and of the body's output."""
        data = self.accept("data", data, self.input_shape)
        out = self.new_output(len(data))
        self.kernels.concat.forward(data, self.resize.forward(self.body.forward(data)), out)
        return out

    def backpropagate(self, error: Array, need_error: bool = True) -> Array | None:
        """Propagate the body's channels of the error back through it, and add the data's channels of the error."""
        error = self.accept("an error", error, self.output_shape)
        own = self.new_error((len(error), *self.input_shape))
        part = self.new_error((len(error), *self.body_shape))
        self.kernels.concat.backward(error, own, part)
        back = self.body.backpropagate(self.resize.backpropagate(part), need_error)
        if not need_error:
            return None
        self.kernels.extents.add(own, back, own)
        return self.at_error(own, self.name)

    def __str__(self) -> str:
        return "concatenate with the input"
