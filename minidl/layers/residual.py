"""Residual: the sum of a body and a shortcut."""

from collections.abc import Iterator

from minidl.kernels.errors import MinidlError
from minidl.layer import Array, Layer, Shape
from minidl.layers.container import Container


class Residual(Container):
    """Residual connection (He et al. 2016): out = body(data) + shortcut(data), the shortcut being the data by default.

    As in DLIB, the output has the larger extent of each dimension (height, width and channels), and zeros pad the
    smaller branch: a shortcut needs no convolution to get more channels.
    """

    kind = "add"
    computes = True

    def __init__(self, body: Layer, shortcut: Layer | None = None) -> None:
        super().__init__(body, *([shortcut] if shortcut else []))

    def infer_shape(self, shape: Shape) -> Shape:
        """Take the larger extents of both branches."""
        self.shapes = [child.fit(shape) for child in self.children]
        if len(self.shapes) == 1:
            self.shapes.append(shape)
        if len(self.shapes[0]) != len(self.shapes[1]):
            raise MinidlError(
                f"{self.name} ({self}) got outputs of shape {self.shapes[0]} and {self.shapes[1]} for one sample, "
                "which cannot be added; let both branches end in images, or neither"
            )
        return tuple(max(extents) for extents in zip(*self.shapes, strict=True))

    def forward(self, data: Array) -> Array:
        """Add the outputs of both branches."""
        data = self.accept("data", data, self.input_shape)
        first, *others = [child.forward(data) for child in self.children]
        out = self.new_output(len(data))
        self.kernels.extents.add(first, others[0] if others else data, out)
        return out

    def backpropagate(self, error: Array, need_error: bool = True) -> Array | None:
        """Propagate the error back through both branches, cut to their outputs, and add the results."""
        error = self.accept("an error", error, self.output_shape)
        parts = [self.extend(error, shape) for shape in self.shapes]
        errors = [child.backpropagate(part, need_error) for child, part in zip(self.children, parts, strict=False)]
        if not need_error:
            return None
        out = self.new_error((len(error), *self.input_shape))
        self.kernels.extents.add(errors[0], errors[1] if len(errors) > 1 else parts[1], out)
        return self.at_error(out, self.name)

    def entrances(self) -> Iterator[Layer]:
        """Iterate over the connection and both branches, which get the same data."""
        yield self
        for child in self.children:
            yield from child.entrances()

    def __str__(self) -> str:
        return "add to the shortcut"
