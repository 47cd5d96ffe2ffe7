"""AnySize: images of any size for a net that needs certain sizes."""

from minidl.kernels.errors import MinidlError
from minidl.layer import Array, Layer, Shape
from minidl.layers.container import Container


class AnySize(Container):
    """A body whose output gets its data's height and width, for images of any size.

    The body takes ``least`` pixels along each axis, plus any multiple of ``step``. Images of other sizes are padded
    with zeros at the bottom and on the right up to the next such size. The output is cut back to the images' size, or
    padded with zeros if it is too small. When the size of the images changes, all layers are fitted to it again, with
    the same parameters.
    """

    kind = "any size"
    data_axes = ("y", "x", "channels")

    def __init__(self, body: Layer, least: int, step: int) -> None:
        super().__init__(body)
        self.body = body
        self.least, self.step = self.check_counts(least=least, step=step)

    def infer_shape(self, shape: Shape) -> Shape:
        """Fit the body to the padded size."""
        y, x = (self.least + self.step * max(0, -(-(n - self.least) // self.step)) for n in shape[:2])
        self.padded_shape = (y, x, *shape[2:])
        self.body_shape = self.body.fit(self.padded_shape)
        if len(self.body_shape) != len(shape):
            raise MinidlError(
                f"{self.name} ({self}) has a body with an output of shape {self.body_shape} for one sample, but needs "
                "an output for every pixel; let the body end in images, or take it out of AnySize"
            )
        return (*shape[:2], *self.body_shape[2:])

    def forward(self, data: Array) -> Array:
        """Pad the data, run the body and cut its output."""
        data = self.kernels.array(data, self.context.dtype)
        if data.ndim == 4 and data.shape[-1] == self.input_shape[-1] and data.shape[1:] != self.input_shape:
            known = self.input_shape
            try:
                self.fit(data.shape[1:])
            except MinidlError:
                self.fit(known)  # after an error, the layers are as before
                raise
        data = self.accept("data", data, self.input_shape)
        output = self.body.forward(self._cut_or_pad("data", data, self.padded_shape))
        return self._cut_or_pad("output", output, self.output_shape)

    def backpropagate(self, error: Array, need_error: bool = True) -> Array | None:
        """Pad the error with zeros, run it through the body and cut what comes back."""
        error = self.accept("an error", error, self.output_shape)
        back = self.body.backpropagate(self.extend(error, self.body_shape), need_error)
        return self.normalize_error(self.extend(back, self.input_shape), error) if need_error else None

    def _cut_or_pad(self, name: str, array: Array, shape: Shape) -> Array:
        if array.shape[1:] == shape:
            return array
        out = self.buffer(name, (len(array), *shape))
        self.kernels.extents.copy(array, out)
        return out
