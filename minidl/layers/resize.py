"""Resize: bilinear interpolation to another height and width."""

from minidl.kernels.errors import MinidlError
from minidl.layer import Array, Layer, Shape


class Resize(Layer):
    """Bilinear resizing to ``size`` (y, x), corner pixels onto corner pixels; data (samples, y, x, c)."""

    kind = "resize"
    data_axes = ("y", "x", "channels")

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        if not isinstance(size, tuple | list) or len(size) != 2:
            raise MinidlError(f"Resize needs a size (y, x), such as (32, 32), and not {size!r}")
        self.size = tuple(size)

    def infer_shape(self, shape: Shape) -> Shape:
        """Keep the channels."""
        self.size = self.check_counts(height=self.size[0], width=self.size[1])
        return (*self.size, shape[-1])

    def compute_output(self, data: Array) -> Array:
        """Interpolate the data, unless they already have the size."""
        if self.input_shape == self.output_shape:
            return data
        out = self.new_output(len(data))
        self.kernels.resize.forward(data, out)
        return out

    def compute_error(self, error: Array) -> Array:
        """Distribute each error to the pixels that its output was interpolated from."""
        if self.input_shape == self.output_shape:
            return error
        out = self.new_error((len(error), *self.input_shape))
        self.kernels.resize.backward(error, out)
        return out

    def __str__(self) -> str:
        return f"resize to {self.size[0]}×{self.size[1]}"
